// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The page-table walk.
//!
//! RULE 3, here: *nothing in a table can lead outside guest memory or device memory,
//! or make the walk run on*. Each level is visited once, whatever the entries say, so a
//! table that contains itself ends as a malformed entry; each address is checked
//! against the memory that it is of before it is used. What is wrong is said with a
//! reason and the level, and nothing of it is kept.

use crate::dma::{DmaFault, Permits};
pub use crate::ram::PAGE;
use crate::ram::{Ram, Slice};
use crate::tlb::{Array, Owner, level_shift};
use farfault_abi::context::{CONTEXT_ROOT, CONTEXT_VALID, Context};
use farfault_abi::fault::{
    REASON_CONTEXT, REASON_MALFORMED, REASON_NOT_PRESENT, REASON_PERMISSION, REASON_UNREACHABLE,
};
use farfault_abi::pte::{
    PT_ENTRIES, PT_LEVELS, PTE_ADDRESS, PTE_ATOMIC, PTE_DEVICE, PTE_LEAF, PTE_READ, PTE_SOFTWARE,
    PTE_VALID, PTE_WRITE,
};
use std::sync::atomic::Ordering;
use vm_memory::Bytes;

const TOP: usize = PT_LEVELS as usize - 1;

/// Where contexts are found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contexts {
    /// DMA address of the table.
    pub base: u64,
    pub entries: u32,
}

impl Contexts {
    pub fn bytes(&self) -> u64 {
        u64::from(self.entries) * Context::SIZE as u64
    }
}

/// Why a walk ended without a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkFault {
    /// REASON value.
    pub reason: u32,
    /// Level at which it ended.
    pub level: usize,
    /// What the IOMMU refused on the way.
    pub dma: Option<DmaFault>,
}

/// An access that a walk is for.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    pub va: u64,
    /// What it needs.
    pub wanted: Permits,
    /// Whether it takes a leaf that says so.
    pub atomic: bool,
    /// Whether it is made if it can be, or is only thought of.
    pub made: bool,
}

/// A valid leaf, or as much of it as lies in one piece of memory.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'m> {
    /// The memory it maps.
    pub slice: Slice<'m>,
    /// Its size, as a level.
    pub level: usize,
    /// What it and the IOMMU permit.
    pub permits: Permits,
}

impl WalkFault {
    fn new(reason: u32, level: usize) -> Self {
        Self { reason, level, dma: None }
    }

    /// Whether the tables themselves are wrong, not just without the page.
    pub fn is_broken_table(&self) -> bool {
        matches!(self.reason, REASON_MALFORMED | REASON_UNREACHABLE)
    }
}

/// Finds the leaf of an access; `tables` remembers last-level tables on the way.
#[inline]
pub fn walk<'m>(
    memory: &Ram<'m>,
    contexts: Contexts,
    tables: &mut Array<Slice<'m>>,
    owner: Owner,
    aim: Aim,
) -> Result<Leaf<'m>, WalkFault> {
    let va = aim.va;
    if let Some(table) = tables.lookup(owner, va) {
        return leaf(memory, entry(table, va, 0)?, aim, 0);
    }
    let mut table = root(memory, contexts, owner.pasid)?;
    for level in (1..=TOP).rev() {
        let pte = entry(&reach(memory, table, PAGE, level)?, va, level)?;
        if pte & PTE_LEAF != 0 {
            return leaf(memory, pte, aim, level);
        }
        table = next_table(pte, level)?;
    }
    let last = reach(memory, table, PAGE, 0)?;
    tables.fill(owner, va, last);
    leaf(memory, entry(&last, va, 0)?, aim, 0)
}

fn root(memory: &Ram<'_>, contexts: Contexts, pasid: u32) -> Result<u64, WalkFault> {
    let none = WalkFault::new(REASON_CONTEXT, TOP);
    if pasid >= contexts.entries {
        return Err(none);
    }
    let address = contexts.base + u64::from(pasid) * Context::SIZE as u64;
    let slice = reach(memory, address, Context::SIZE as u64, TOP)?;
    let [root, reserved] = [0, 8].map(|at| slice.load(at, Ordering::Acquire).unwrap_or(0u64));
    if root & CONTEXT_VALID == 0 {
        return Err(none);
    }
    if root & !(CONTEXT_VALID | CONTEXT_ROOT) != 0 || reserved != 0 {
        return Err(WalkFault::new(REASON_MALFORMED, TOP));
    }
    Ok(root & CONTEXT_ROOT)
}

/// The valid entry for `va` of a table at `level`.
#[inline]
fn entry(table: &Slice<'_>, va: u64, level: usize) -> Result<u64, WalkFault> {
    let index = (va >> level_shift(level)) as usize & (PT_ENTRIES as usize - 1);
    let unreachable = WalkFault::new(REASON_UNREACHABLE, level);
    let pte = table.load::<u64>(index * 8, Ordering::Acquire).map_err(|_| unreachable)?;
    if pte & PTE_VALID == 0 { Err(WalkFault::new(REASON_NOT_PRESENT, level)) } else { Ok(pte) }
}

fn next_table(pte: u64, level: usize) -> Result<u64, WalkFault> {
    if pte & !(PTE_VALID | PTE_SOFTWARE | PTE_ADDRESS) != 0 {
        return Err(WalkFault::new(REASON_MALFORMED, level));
    }
    Ok(pte & PTE_ADDRESS)
}

#[inline]
fn leaf<'m>(memory: &Ram<'m>, pte: u64, aim: Aim, level: usize) -> Result<Leaf<'m>, WalkFault> {
    const BITS: u64 = PTE_VALID | PTE_READ | PTE_WRITE | PTE_LEAF | PTE_DEVICE | PTE_ATOMIC;
    const KNOWN: u64 = BITS | PTE_SOFTWARE | PTE_ADDRESS;
    let frame = pte & PTE_ADDRESS;
    let size = 1u64 << level_shift(level);
    if pte & PTE_LEAF == 0 || pte & !KNOWN != 0 || level == TOP || !frame.is_multiple_of(size) {
        return Err(WalkFault::new(REASON_MALFORMED, level));
    }
    let mut unreachable = WalkFault::new(REASON_UNREACHABLE, level);
    let permits = Permits { read: pte & PTE_READ != 0, write: pte & PTE_WRITE != 0 };
    if !permits.cover(aim.wanted) || (aim.atomic && pte & PTE_ATOMIC == 0) {
        return Err(WalkFault::new(REASON_PERMISSION, level));
    }
    let find = match pte & PTE_DEVICE {
        0 => Ram::reach,
        _ => Ram::reach_device,
    };
    // A large leaf may lie across two mappings of the hosting, be scattered by the IOMMU, or go
    // beyond the end of memory: then it is used in the largest piece that is whole.
    for level in (0..=level).rev() {
        let piece = 1u64 << level_shift(level);
        let address = frame + (aim.va & (size - 1) & !(piece - 1));
        match find(memory, address, piece, aim.wanted) {
            Ok((slice, reach)) => return Ok(Leaf { slice, level, permits: permits.and(reach) }),
            // An access that is only thought of is refused by nobody.
            Err(memory) => unreachable.dma = memory.fault.filter(|_| aim.made),
        }
    }
    Err(unreachable)
}

/// A structure that the device reads on the way, inside a page.
#[inline]
fn reach<'m>(
    memory: &Ram<'m>,
    address: u64,
    length: u64,
    level: usize,
) -> Result<Slice<'m>, WalkFault> {
    match memory.reach(address, length, Permits::READ) {
        Ok((slice, _)) => Ok(slice),
        Err(memory) => Err(WalkFault { reason: REASON_UNREACHABLE, level, dma: memory.fault }),
    }
}
