// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a CPU finds a virtual address, by its page table.
//!
//! KVM can tell that, too (KVM_TRANSLATE), but not of a process's pages while the kernel that is
//! looked at is kept from them (SMAP).

use kvm_bindings::kvm_sregs;
use std::io;

const PAGING: u64 = 1 << 31;
const FIVE_LEVELS: u64 = 1 << 12;
/// In EFER: long mode.
const LONG: u64 = 1 << 10;
const PRESENT: u64 = 1;
/// The entry is a leaf, also if it is of a higher table.
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The physical address, if there is one. `read` reads a word of physical memory.
pub fn translate(
    system: &kvm_sregs,
    address: u64,
    read: impl Fn(u64) -> io::Result<u64>,
) -> io::Result<u64> {
    let nowhere = || io::Error::from(io::ErrorKind::AddrNotAvailable);
    if system.cr0 & PAGING == 0 {
        return Ok(address);
    }
    if system.efer & LONG == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let levels = if system.cr4 & FIVE_LEVELS == 0 { 4 } else { 5 };
    let unused = 64 - (12 + 9 * levels);
    if (address << unused).cast_signed() >> unused != address.cast_signed() {
        return Err(nowhere());
    }
    let mut table = system.cr3 & ADDRESS;
    for level in (0..levels).rev() {
        let shift = 12 + 9 * level;
        let entry = read(table + (address >> shift & 511) * 8)?;
        if entry & PRESENT == 0 {
            return Err(nowhere());
        }
        table = entry & ADDRESS;
        if level == 0 || (level <= 2 && entry & LARGE != 0) {
            let within = (1 << shift) - 1;
            return Ok(table & !within | address & within);
        }
    }
    Err(nowhere())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MODULE: u64 = 0xffff_ffff_c020_1234;

    fn long_mode(cr4: u64) -> kvm_sregs {
        kvm_sregs { cr0: PAGING, cr3: 0x1018, cr4, efer: LONG, ..kvm_sregs::default() }
    }

    /// The same in tables: a kernel's module by a small page, its text by a large one, and a
    /// page of 1 GiB.
    fn found(system: &kvm_sregs, address: u64) -> Option<u64> {
        let entry = |table: u64, index: u64| table + 8 * index;
        let no_execute = 1 << 63;
        let memory = BTreeMap::from([
            (entry(0x1000, 511), 0x2003),
            (entry(0x2000, 511), 0x3063),
            (entry(0x3000, 1), 0x4063 | no_execute),
            (entry(0x4000, 1), 0x1234_5063 | no_execute),
            (entry(0x3000, 0), 0x4000_0000 | 0x10e3),
            (entry(0x2000, 0), 0x8_c000_00e3),
        ]);
        translate(system, address, |at| Ok(memory.get(&at).copied().unwrap_or(0))).ok()
    }

    #[test]
    fn pages_of_all_sizes_are_found() {
        let system = long_mode(0);
        assert_eq!(found(&system, MODULE), Some(0x1234_5234));
        assert_eq!(found(&system, 0xffff_ffff_c001_2345), Some(0x4001_2345));
        assert_eq!(found(&system, 0xffff_ff80_0001_2345), Some(0x8_c001_2345));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let system = long_mode(0);
        for address in [0, 0xffff_ffff_c020_2000, 0x0000_ffff_c020_1234, 0x7fff_ffff_f000] {
            assert_eq!(found(&system, address), None, "{address:#x}");
        }
        // The tables end a level earlier than the processor's.
        assert_eq!(found(&long_mode(FIVE_LEVELS), MODULE), None);
    }

    #[test]
    fn without_paging_addresses_are_physical() {
        assert_eq!(found(&kvm_sregs::default(), 0xfff0), Some(0xfff0));
        let legacy = kvm_sregs { cr0: PAGING, ..kvm_sregs::default() };
        assert_eq!(found(&legacy, 0xfff0), None);
    }
}
