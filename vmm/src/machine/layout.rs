// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's physical address map.
//!
//! ```text
//! 0x0000_0000  RAM, with what the boot protocol wants below 640 KiB
//! 0xc000_0000  PCI memory window (32 bits)
//! 0xe000_0000  ECAM of bus 0
//! 0xfec0_0000  I/O APIC, IOMMU, local APICs, KVM's own pages
//! 4 GiB        the rest of RAM
//! above        persistent memory, each piece at a multiple of 1 GiB
//! above        PCI memory window (64 bits)
//! ```

use std::ops::Range;

/// Where RAM stops to make room below 4 GiB.
pub const LOW_RAM_END: u64 = 0xc000_0000;
/// Where RAM goes on.
pub const HIGH_RAM: u64 = 1 << 32;

/// The window for BARs below 4 GiB.
pub const PCI_WINDOW_32: Range<u64> = 0xc000_0000..0xe000_0000;
/// Persistent memory begins at a multiple of this: it shares no section of the
/// kernel's memory map with RAM, and pages of any size fit.
const PMEM_ALIGNMENT: u64 = 1 << 30;
/// Bytes of the window for BARs above RAM.
const PCI_WINDOW_64_SIZE: u64 = 64 << 30;

/// Configuration space of bus 0.
pub const ECAM: u64 = 0xe000_0000;
pub const IO_APIC: u32 = 0xfec0_0000;
/// The IOMMU's registers, where boards have them.
pub const IOMMU: u64 = 0xfed9_0000;
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// Four pages that KVM may use itself.
pub const KVM_PAGES: u64 = 0xfeff_c000;

/// Bytes of the smallest page.
pub const PAGE: u64 = 4096;

/// Structures of the 64-bit boot protocol.
pub const GDT: u64 = 0x500;
/// Page tables for the jump into the kernel: one page, then one each level.
pub const PAGE_TABLES: u64 = 0x9000;
/// Boot parameters ("zero page").
pub const ZERO_PAGE: u64 = 0x7000;
pub const COMMAND_LINE: u64 = 0x2_0000;
/// Longest command line with its final zero, as long as Linux takes it.
pub const COMMAND_LINE_SIZE: usize = 2048;
/// ACPI tables, in the BIOS area where a guest also looks for the first one.
pub const ACPI: Range<u64> = 0xe_0000..0x10_0000;
/// First byte that is not usable RAM below 1 MiB.
pub const LOW_MEMORY_END: u64 = 0x9_fc00;
/// Where kernels are loaded.
pub const HIGH_MEMORY: u64 = 0x10_0000;

/// RAM of `memory` bytes, around the hole.
pub fn ram(memory: u64) -> Vec<Range<u64>> {
    let low = memory.min(LOW_RAM_END);
    let ranges = [0..low, HIGH_RAM..HIGH_RAM + (memory - low)];
    ranges.into_iter().filter(|range| !range.is_empty()).collect()
}

/// Persistent memory of `sizes` above `memory` bytes of RAM.
pub fn pmem(memory: u64, sizes: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
    let mut top = ram(memory).last().map_or(HIGH_RAM, |range| range.end.max(HIGH_RAM));
    let place = |size| {
        let start = top.next_multiple_of(PMEM_ALIGNMENT);
        top = start + size;
        start..top
    };
    sizes.into_iter().map(place).collect()
}

/// The window for BARs above all memory, which ends at `top`.
pub fn pci_window_64(top: u64) -> Range<u64> {
    let base = top.max(HIGH_RAM).next_multiple_of(PCI_WINDOW_64_SIZE);
    base..base + PCI_WINDOW_64_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn little_memory_is_one_range() {
        for memory in [GIB, 3 * GIB] {
            let ranges = ram(memory);
            assert_eq!((ranges.len(), ranges[0].clone()), (1, 0..memory));
        }
    }

    #[test]
    fn more_memory_goes_on_above_4_gib() {
        assert_eq!(ram(3 * GIB + 1), [0..3 * GIB, 4 * GIB..4 * GIB + 1]);
        assert_eq!(ram(64 * GIB), [0..3 * GIB, 4 * GIB..65 * GIB]);
    }

    #[test]
    fn persistent_memory_is_above_ram() {
        assert_eq!(pmem(GIB, [GIB / 2, GIB]), [4 * GIB..9 * GIB / 2, 5 * GIB..6 * GIB]);
        assert_eq!(pmem(4 * GIB + 1, [GIB]).first(), Some(&(6 * GIB..7 * GIB)));
        assert!(pmem(GIB, []).is_empty());
    }

    #[test]
    fn nothing_overlaps() {
        for memory in [GIB / 8, 3 * GIB, 4 * GIB, 64 * GIB] {
            let mut ranges = ram(memory);
            ranges.extend(pmem(memory, [GIB / 16, 64 * GIB, 3 * GIB]));
            let top = ranges.last().expect("memory").end;
            ranges.push(PCI_WINDOW_32);
            ranges.push(ECAM..ECAM + crate::pci::ECAM_SIZE);
            ranges.push(IO_APIC.into()..u64::from(IO_APIC) + 0x1000);
            ranges.push(IOMMU..IOMMU + crate::iommu::SIZE);
            ranges.push(LOCAL_APIC.into()..u64::from(LOCAL_APIC) + 0x1000);
            ranges.push(KVM_PAGES..KVM_PAGES + 0x4000);
            ranges.push(pci_window_64(top));
            ranges.sort_by_key(|range| range.start);
            assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "{ranges:x?}");
        }
    }
}
