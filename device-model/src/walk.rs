// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The page-table walk.
//!
//! RULE 3, here: *nothing in a table can lead outside guest memory or make the
//! walk run on.* Each level is visited once, whatever the entries say, so a
//! table that contains itself ends as a malformed entry; each address is checked
//! against guest memory before it is used. What is wrong is said with a reason
//! and the level, and nothing of it is kept.

use std::sync::atomic::Ordering;

use farfault_abi::context::{CONTEXT_ROOT, CONTEXT_VALID, Context};
use farfault_abi::fault::{
    REASON_CONTEXT, REASON_MALFORMED, REASON_NOT_PRESENT, REASON_UNREACHABLE,
};
use farfault_abi::pte::{
    PT_ENTRIES, PT_LEVELS, PTE_ADDRESS, PTE_DEVICE, PTE_LEAF, PTE_READ, PTE_SOFTWARE, PTE_VALID,
    PTE_WRITE,
};
use vm_memory::Bytes;

use crate::ram::{Ram, Slice};
use crate::tlb::{Array, Owner, level_shift};

/// Bytes of a page, and of a table.
pub const PAGE: u64 = 4096;
const TOP: usize = PT_LEVELS as usize - 1;

/// Where contexts are found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contexts {
    /// DMA address of the table.
    pub base: u64,
    /// Entries of it.
    pub entries: u32,
}

/// Why a walk ended without a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkFault {
    /// REASON value.
    pub reason: u32,
    /// Level at which it ended.
    pub level: usize,
}

/// What a leaf permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permits {
    /// It may be read.
    pub read: bool,
    /// It may be written.
    pub write: bool,
}

/// A valid leaf.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'m> {
    /// The memory it maps, all of it.
    pub slice: Slice<'m>,
    /// Its size, as a level.
    pub level: usize,
    /// What it permits.
    pub permits: Permits,
}

impl WalkFault {
    fn new(reason: u32, level: usize) -> Self {
        Self { reason, level }
    }

    /// Whether the tables themselves are wrong, not just without the page.
    pub fn is_broken_table(&self) -> bool {
        matches!(self.reason, REASON_MALFORMED | REASON_UNREACHABLE)
    }
}

/// Finds the leaf of `va`; `tables` remembers last-level tables on the way.
#[inline]
pub fn walk<'m>(
    memory: &Ram<'m>,
    contexts: Contexts,
    tables: &mut Array<Slice<'m>>,
    (pasid, owner): (u32, Owner),
    va: u64,
) -> Result<Leaf<'m>, WalkFault> {
    if let Some(table) = tables.lookup(owner, va) {
        return leaf(memory, entry(table, va, 0)?, va, 0);
    }
    let mut table = root(memory, contexts, pasid)?;
    for level in (1..=TOP).rev() {
        let pte = entry(&reach(memory, table, PAGE, level)?, va, level)?;
        if pte & PTE_LEAF != 0 {
            return leaf(memory, pte, va, level);
        }
        table = next_table(pte, level)?;
    }
    let last = reach(memory, table, PAGE, 0)?;
    tables.fill(owner, va, last);
    leaf(memory, entry(&last, va, 0)?, va, 0)
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
fn leaf<'m>(memory: &Ram<'m>, pte: u64, va: u64, level: usize) -> Result<Leaf<'m>, WalkFault> {
    const KNOWN: u64 =
        PTE_VALID | PTE_READ | PTE_WRITE | PTE_LEAF | PTE_DEVICE | PTE_SOFTWARE | PTE_ADDRESS;
    let frame = pte & PTE_ADDRESS;
    let size = 1u64 << level_shift(level);
    if pte & PTE_LEAF == 0 || pte & !KNOWN != 0 || level == TOP || !frame.is_multiple_of(size) {
        return Err(WalkFault::new(REASON_MALFORMED, level));
    }
    if pte & PTE_DEVICE != 0 {
        // There is no device memory in this device.
        return Err(WalkFault::new(REASON_UNREACHABLE, level));
    }
    let permits = Permits { read: pte & PTE_READ != 0, write: pte & PTE_WRITE != 0 };
    match reach(memory, frame, size, level) {
        Ok(slice) => Ok(Leaf { slice, level, permits }),
        // A large leaf may lie across two mappings of the hosting: use the page of it that is asked for.
        Err(_) if level > 0 => {
            let page = frame + (va & (size - 1) & !(PAGE - 1));
            Ok(Leaf { slice: reach(memory, page, PAGE, level)?, level: 0, permits })
        }
        Err(fault) => Err(fault),
    }
}

#[inline]
fn reach<'m>(
    memory: &Ram<'m>,
    address: u64,
    length: u64,
    level: usize,
) -> Result<Slice<'m>, WalkFault> {
    memory.slice(address, length).ok_or(WalkFault::new(REASON_UNREACHABLE, level))
}
