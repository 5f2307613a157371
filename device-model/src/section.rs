// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A section: the bounded stretch in which an engine uses translations.
//!
//! It keeps RULE 1 (`space.rs`) by its shape. It owns the guards of gate and
//! space; the slices it gives out borrow from it, so the compiler lets none
//! outlive it; it offers nothing that blocks. What is refused in it is recorded and
//! told of afterwards. All operands of a piece are translated together, in this one
//! section, before any byte of it is written.
//!
//! It is bounded: what is done in it is charged, and after [`SECTION_BYTES`]
//! bytes, or as many small accesses as cost the same, it is spent. The worst page
//! table changes nothing of that: each operand of an access is walked for once at most,
//! which takes five reads of tables and, behind an IOMMU, three questions more than
//! there are reads.

use crate::access::Access;
use crate::access_counters::Counting;
use crate::atomic::Atomics;
use crate::faulty::Verdict;
use crate::gate::Plane;
use crate::mmu::Mmu;
use crate::ram::{Slice, nothing};
use crate::refusal::{Refusal, RefusalCause};
use crate::space::{SpaceState, Spaces, VA_END};
use crate::sync::RwLockReadGuard;
use crate::tlb::Owner;
use crate::walk::{Aim, PAGE, WalkFault, walk};
use farfault_abi::fault::REASON_NOT_PRESENT;
use std::sync::atomic::Ordering;
use vm_memory::Bytes;

/// Most bytes that are copied in a section. Taking a lock waits for all stores
/// before it: with half as many, scattered copies lose a tenth of their speed.
pub const SECTION_BYTES: u64 = 128 << 10;
/// What an access costs at least, so that a section has at most 128 of them.
const SMALL: u64 = SECTION_BYTES / 128;

/// An access that has no translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    pub address: u64,
    pub access: Access,
    /// REASON value.
    pub reason: u32,
    /// Level at which the walk ended.
    pub level: usize,
}

/// A run of addresses that an operand occupies.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    pub address: u64,
    /// What is done there.
    pub access: Access,
}

/// Most pieces that are translated at a time.
const BATCH: usize = 32;

/// Pieces that have been translated together.
pub struct Batch<'s, const N: usize> {
    pieces: [[Slice<'s>; N]; BATCH],
    count: usize,
    /// What ended it early, after its pieces.
    pub fault: Option<PageFault>,
}

impl<'s, const N: usize> Batch<'s, N> {
    pub fn pieces(&self) -> impl Iterator<Item = &[Slice<'s>; N]> {
        self.pieces.iter().take(self.count)
    }
}

pub struct Section<'s, 'm> {
    mmu: &'s mut Mmu<'m>,
    owner: Owner,
    left: u64,
    counting: Option<Counting>,
    // Guards last: they are dropped after everything above.
    _space: RwLockReadGuard<'s, SpaceState>,
    plane: RwLockReadGuard<'s, Plane>,
}

impl<'s, 'm> Section<'s, 'm> {
    /// Begins one of `pasid` behind the gate.
    pub fn open(
        mmu: &'s mut Mmu<'m>,
        plane: RwLockReadGuard<'s, Plane>,
        spaces: &'s Spaces,
        pasid: u32,
    ) -> Self {
        let space = spaces.of(pasid).enter();
        mmu.follow(&plane.unmapped);
        mmu.tlb.catch_up(Spaces::index(pasid), &space.log);
        mmu.tally.sections += 1;
        let (owner, counting) = (Owner::new(pasid), space.counting(pasid));
        Self { mmu, owner, left: SECTION_BYTES, counting, _space: space, plane }
    }

    /// Whether something was refused in it.
    pub fn has_refused(&self) -> bool {
        !self.mmu.refusals.is_empty()
    }

    /// Whether it is time to end.
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// What has been done in it, in bytes.
    pub fn cost(&self) -> u64 {
        SECTION_BYTES - self.left
    }

    /// Counts a descriptor that is completed.
    pub fn count_descriptor(&mut self, well: bool) {
        self.mmu.tally.descriptors += u64::from(well);
        self.mmu.tally.descriptors_failed += u64::from(!well);
    }

    fn charge(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes.max(SMALL));
    }

    /// Translates the next piece of several operands that run side by side:
    /// slices of equal length, at least 1 and at most `limit` (not 0).
    pub fn piece<const N: usize>(
        &mut self,
        operands: [Operand; N],
        limit: u64,
    ) -> Result<[Slice<'_>; N], PageFault> {
        self.cut(operands, limit)
    }

    /// Translates up to [`BATCH`] pieces, none longer than `longest` and
    /// altogether at most `limit` (not 0), as far as the section goes.
    ///
    /// Translating one by one between copies costs a third of their speed: the
    /// loads of a walk wait behind the stores of the copy before it.
    pub fn batch<const N: usize>(
        &mut self,
        mut operands: [Operand; N],
        longest: u64,
        mut limit: u64,
    ) -> Batch<'_, N> {
        let mut batch = Batch { pieces: [[nothing(); N]; BATCH], count: 0, fault: None };
        for piece in &mut batch.pieces {
            if limit == 0 || self.is_spent() {
                break;
            }
            match self.cut(operands, limit.min(longest)) {
                Ok(slices) => *piece = slices,
                Err(fault) => {
                    batch.fault = Some(fault);
                    break;
                }
            }
            let length = piece.first().map_or(0, |slice| slice.len() as u64);
            operands.iter_mut().for_each(|operand| operand.address += length);
            limit -= length;
            batch.count += 1;
        }
        batch
    }

    #[inline]
    fn cut<const N: usize>(
        &mut self,
        operands: [Operand; N],
        limit: u64,
    ) -> Result<[Slice<'m>; N], PageFault> {
        // At least a page, also when a section is spent: a word is read whole.
        let mut length = limit.min(self.left.max(1).next_multiple_of(PAGE));
        let mut slices = [nothing(); N];
        for (slice, operand) in slices.iter_mut().zip(&operands) {
            *slice = self.translate(*operand)?;
            length = length.min(slice.len() as u64);
        }
        self.charge(length);
        for (operand, slice) in operands.iter().zip(&slices) {
            self.count(*operand, length, slice);
        }
        Ok(slices.map(|slice| slice.subslice(0, length as usize).unwrap_or(slice)))
    }

    #[inline]
    fn count(&mut self, operand: Operand, bytes: u64, slice: &Slice<'_>) {
        let Operand { address, access } = operand;
        let (read, written) = (u64::from(access.reads()), u64::from(access.writes()));
        let own = u64::from(self.mmu.memory.is_device(slice));
        let tally = &mut self.mmu.tally;
        tally.bytes_read += bytes * read;
        tally.bytes_written += bytes * written;
        tally.device_bytes_read += bytes * read * own;
        tally.device_bytes_written += bytes * written * own;
        if let Some(counting) = self.counting.filter(|_| own == 0) {
            self.mmu.accesses.note(counting, access, address, bytes);
        }
    }

    /// The u64 at each of `addresses`, which need not be aligned. Inlined, so
    /// that what it gives can go from load to load in a register.
    #[inline(always)]
    pub fn loads<const N: usize>(&mut self, addresses: [u64; N]) -> Result<[u64; N], PageFault> {
        let mut values = [0; N];
        for (value, address) in values.iter_mut().zip(addresses) {
            let Some(hit) = self.load_hit(address) else { return self.loads_slowly(addresses) };
            *value = hit;
        }
        if self.mmu.memory.has_device() || self.counting.is_some() {
            addresses.iter().for_each(|address| self.count_load(*address));
        }
        self.mmu.tally.tlb_hits += N as u64;
        self.mmu.tally.bytes_read += 8 * N as u64;
        self.left = self.left.saturating_sub(SMALL * N as u64);
        Ok(values)
    }

    #[inline(always)]
    fn load_hit(&self, address: u64) -> Option<u64> {
        let page = self.mmu.tlb.lookup_page(self.owner, address)?;
        page.load((address % PAGE) as usize, Ordering::Relaxed).ok()
    }

    /// Counts where a load went: to device memory, or to which block of system memory.
    fn count_load(&mut self, address: u64) {
        let page = self.mmu.tlb.lookup_page(self.owner, address);
        let own = page.is_some_and(|page| self.mmu.memory.is_device(page));
        self.mmu.tally.device_bytes_read += 8 * u64::from(own);
        if let Some(counting) = self.counting.filter(|_| !own) {
            self.mmu.accesses.note(counting, Access::READ, address, 8);
        }
    }

    #[inline(never)]
    fn loads_slowly<const N: usize>(&mut self, addresses: [u64; N]) -> Result<[u64; N], PageFault> {
        let mut values = [0; N];
        for (value, address) in values.iter_mut().zip(addresses) {
            *value = self.load_slowly(address)?;
            self.remember_page(address);
        }
        Ok(values)
    }

    /// Has the next load from the page at `address` find it, whatever leaf it is of.
    fn remember_page(&mut self, address: u64) {
        let start = address & !(PAGE - 1);
        if let Some(leaf) = self.mmu.tlb.lookup(self.owner, start, false)
            && let Some(rest) = from(leaf, start)
            && let Ok(page) = rest.subslice(0, PAGE as usize)
        {
            self.mmu.tlb.fill(self.owner, start, 0, false, page);
        }
    }

    /// By bytes, as it may cross a page; aligned it is one access all the same.
    fn load_slowly(&mut self, address: u64) -> Result<u64, PageFault> {
        let mut bytes = [0; 8];
        let mut at = 0;
        while at < bytes.len() {
            let operand = Operand { address: address + at as u64, access: Access::READ };
            let [slice] = self.piece([operand], (bytes.len() - at) as u64)?;
            if slice.len() == 8
                && let Ok(value) = slice.load::<u64>(0, Ordering::Relaxed)
            {
                return Ok(value);
            }
            at += slice.copy_to(&mut bytes[at..]);
        }
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads a structure that does not cross a page.
    pub fn read<const N: usize>(&mut self, address: u64) -> Result<[u8; N], PageFault> {
        self.charge(N as u64);
        let mut bytes = [0; N];
        self.translate(Operand { address, access: Access::READ })?.copy_to(&mut bytes);
        Ok(bytes)
    }

    /// Writes a structure that does not cross a page.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), PageFault> {
        self.charge(bytes.len() as u64);
        self.translate(Operand { address, access: Access::WRITE })?.copy_from(bytes);
        Ok(())
    }

    /// Reads an aligned u32 that orders what is read after it.
    pub fn load_acquire(&mut self, address: u64) -> Result<u32, PageFault> {
        self.charge(4);
        let operand = Operand { address, access: Access::READ };
        let slice = self.translate(operand)?;
        slice.load(0, Ordering::Acquire).map_err(|_| operand.fault(REASON_NOT_PRESENT, 0))
    }

    /// Writes an aligned u32 or u64 after everything that was written before it.
    pub fn store_release<T: vm_memory::AtomicAccess>(
        &mut self,
        address: u64,
        value: T,
    ) -> Result<(), PageFault> {
        self.charge(8);
        let operand = Operand { address, access: Access::WRITE };
        let slice = self.translate(operand)?;
        slice.store(value, 0, Ordering::Release).map_err(|_| operand.fault(REASON_NOT_PRESENT, 0))
    }

    /// Adds to the aligned u64 at `address` in one step; its old value. The TLB does not know
    /// which leaves permit that, so where it takes a permission the leaf is looked up.
    pub fn fetch_add(&mut self, address: u64, addend: u64) -> Result<Option<u64>, PageFault> {
        self.charge(8);
        let atomics = self.mmu.atomics;
        let slice = match atomics {
            Atomics::System => self.translate(Operand { address, access: Access::MODIFY })?,
            Atomics::Own(_) => self.miss(Operand { address, access: Access::ATOMIC }, true)?,
        };
        self.count(Operand { address, access: Access::MODIFY }, 8, &slice);
        Ok(atomics.fetch_add(&slice, addend))
    }

    /// What becomes of a copy from and to some place.
    pub fn judge_copy(&mut self, operands: [Operand; 2]) -> Result<Verdict, PageFault> {
        if !self.mmu.faulty.is_any() {
            return Ok(Verdict::Made);
        }
        let mut device = false;
        for operand in operands {
            let slice = self.translate(operand)?;
            device |= self.mmu.memory.is_device(&slice);
        }
        Ok(if device { self.mmu.faulty.judge() } else { Verdict::Made })
    }

    /// Whether an access would fault, without making it.
    pub fn probe(&mut self, operand: Operand) -> Option<PageFault> {
        self.charge(SMALL);
        match self.hit(operand) {
            Some(_) => None,
            None => self.miss(operand, false).err(),
        }
    }

    /// What `operand` leads to, as far as its leaf reaches.
    #[inline]
    fn translate(&mut self, operand: Operand) -> Result<Slice<'m>, PageFault> {
        match self.hit(operand) {
            Some(slice) => Ok(slice),
            None => self.miss(operand, true),
        }
    }

    #[inline]
    fn hit(&mut self, operand: Operand) -> Option<Slice<'m>> {
        let slice = self.mmu.tlb.lookup(self.owner, operand.address, operand.access.writes())?;
        self.mmu.tally.tlb_hits += 1;
        from(slice, operand.address)
    }

    /// Walks for an access, which is `made` if it can be.
    #[inline(never)]
    fn miss(&mut self, operand: Operand, made: bool) -> Result<Slice<'m>, PageFault> {
        let Operand { address, access } = operand;
        if address >= VA_END {
            return Err(operand.fault(REASON_NOT_PRESENT, 3));
        }
        self.mmu.tally.tlb_misses += 1;
        self.mmu.tally.walks += 1;
        let contexts = self.plane.setup.contexts;
        let aim = Aim { va: address, wanted: access.wants(), atomic: access.is_atomic(), made };
        let Mmu { memory, tlb, .. } = &mut *self.mmu;
        let leaf = walk(memory, contexts, &mut tlb.tables, self.owner, aim)
            .map_err(|fault| self.refuse(operand, &fault))?;
        // A write may be half of a read-write access the next time.
        if leaf.permits.read {
            self.mmu.tlb.fill(self.owner, address, leaf.level, access.writes(), leaf.slice);
        }
        from(&leaf.slice, address).ok_or_else(|| operand.fault(REASON_NOT_PRESENT, 0))
    }

    fn refuse(&mut self, operand: Operand, fault: &WalkFault) -> PageFault {
        let WalkFault { reason, level, dma } = *fault;
        if fault.is_broken_table() {
            self.mmu.tally.table_faults += 1;
            let table = Refusal::at(RefusalCause::Table { reason, level }, operand.address);
            self.mmu.refusals.push(Refusal { pasid: Some(self.owner.pasid), dma, ..table });
        }
        operand.fault(reason, level)
    }
}

/// The rest of a leaf's slice from `address` on.
fn from<'m>(slice: &Slice<'m>, address: u64) -> Option<Slice<'m>> {
    // Leaves are powers of two long and aligned to their length.
    slice.offset(address as usize & slice.len().wrapping_sub(1)).ok()
}

impl Operand {
    fn fault(&self, reason: u32, level: usize) -> PageFault {
        PageFault { address: self.address, access: self.access, reason, level }
    }
}
