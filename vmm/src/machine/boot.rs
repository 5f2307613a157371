// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The state in which the first vCPU enters a kernel by the 64-bit boot
//! protocol: long mode, flat segments, the first GiB mapped one to one.

use super::error::MachineError;
use super::layout::{GDT, PAGE_TABLES, ZERO_PAGE};
use kvm_bindings::{Msrs, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Selectors that the protocol asks for.
const CODE: u16 = 0x10;
const DATA: u16 = 0x18;

const CR0_PROTECTED_PAGED: u64 = 1 | 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LONG_MODE: u64 = 1 << 8 | 1 << 10;

const PAGE: u64 = 4096;
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE: u64 = 1 << 7;

const MSR_MTRR_DEFAULT_TYPE: u32 = 0x2ff;
/// Write-back, and MTRRs enabled so that a kernel believes it.
const MTRR_WRITE_BACK: u64 = 1 << 11 | 6;

/// Makes the tables that [`enter`] refers to.
pub fn write_tables(memory: &GuestMemoryMmap) -> Result<(), MachineError> {
    let gdt = [0, 0, descriptor(&code()), descriptor(&data())];
    let write = |value: u64, address: u64| {
        memory
            .write_obj(value, GuestAddress(address))
            .map_err(|_| MachineError::Internal("the boot tables lie outside memory"))
    };
    for (slot, descriptor) in (0..).zip(gdt) {
        write(descriptor, GDT + 8 * slot)?;
    }
    let (directory, large_pages) = (PAGE_TABLES + PAGE, PAGE_TABLES + 2 * PAGE);
    write(directory | PRESENT_WRITABLE, PAGE_TABLES)?;
    write(large_pages | PRESENT_WRITABLE, directory)?;
    for slot in 0..512 {
        write(slot << 21 | LARGE | PRESENT_WRITABLE, large_pages + 8 * slot)?;
    }
    Ok(())
}

/// Lets a vCPU begin at `entry`.
pub fn enter(vcpu: &VcpuFd, entry: u64) -> Result<(), MachineError> {
    let what = "set a vCPU's registers";
    let mut sregs = vcpu.get_sregs().map_err(MachineError::kvm(what))?;
    set_segments(&mut sregs);
    sregs.gdt.base = GDT;
    sregs.gdt.limit = 4 * 8 - 1;
    sregs.cr0 |= CR0_PROTECTED_PAGED;
    sregs.cr3 = PAGE_TABLES;
    sregs.cr4 |= CR4_PAE;
    sregs.efer |= EFER_LONG_MODE;
    vcpu.set_sregs(&sregs).map_err(MachineError::kvm(what))?;
    let regs = kvm_regs { rflags: 2, rip: entry, rsi: ZERO_PAGE, ..Default::default() };
    vcpu.set_regs(&regs).map_err(MachineError::kvm(what))
}

/// Makes code and data segments those of the protocol.
pub fn set_segments(sregs: &mut kvm_sregs) {
    sregs.cs = code();
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data(), data(), data(), data(), data());
}

/// Sets what firmware would set on every vCPU.
pub fn set_msrs(vcpu: &VcpuFd) -> Result<(), MachineError> {
    let entry =
        kvm_msr_entry { index: MSR_MTRR_DEFAULT_TYPE, data: MTRR_WRITE_BACK, ..Default::default() };
    let msrs = Msrs::from_entries(&[entry])
        .map_err(|_| MachineError::Internal("too many MSRs at once"))?;
    // A KVM without this MSR has no MTRRs to be misread.
    vcpu.set_msrs(&msrs).map_err(MachineError::kvm("set a vCPU's MSRs"))?;
    Ok(())
}

fn code() -> kvm_segment {
    kvm_segment { selector: CODE, type_: 0xb, l: 1, db: 0, ..flat() }
}

fn data() -> kvm_segment {
    kvm_segment { selector: DATA, type_: 0x3, l: 0, db: 1, ..flat() }
}

fn flat() -> kvm_segment {
    kvm_segment { base: 0, limit: 0xffff_ffff, present: 1, s: 1, g: 1, ..Default::default() }
}

/// A segment as the descriptor table has it.
fn descriptor(segment: &kvm_segment) -> u64 {
    let limit = u64::from(segment.limit >> 12);
    let access =
        u64::from(segment.type_ | segment.s << 4 | segment.dpl << 5 | segment.present << 7);
    let flags = u64::from(segment.l << 1 | segment.db << 2 | segment.g << 3);
    let base = segment.base;
    limit & 0xffff
        | (base & 0xff_ffff) << 16
        | access << 40
        | (limit >> 16 & 0xf) << 48
        | flags << 52
        | (base >> 24 & 0xff) << 56
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_the_ones_of_the_protocol() {
        assert_eq!(descriptor(&code()), 0x00af_9b00_0000_ffff);
        assert_eq!(descriptor(&data()), 0x00cf_9300_0000_ffff);
    }

    #[test]
    fn the_first_gib_is_mapped_one_to_one() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        write_tables(&memory).unwrap();
        let read = |address: u64| memory.read_obj::<u64>(GuestAddress(address)).unwrap();
        let directory = read(PAGE_TABLES) & !0xfff;
        let large_pages = read(directory) & !0xfff;
        for slot in [0, 1, 511] {
            assert_eq!(read(large_pages + 8 * slot), slot << 21 | 0x83);
        }
    }
}
