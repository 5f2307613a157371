// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A CPU's registers as KVM has them, and as GDB does.

use super::debuggee::Registers;
use gdbstub_arch::x86::reg::X86_64CoreRegs;
use kvm_bindings::{kvm_fpu, kvm_regs};

/// The lower half of a word of 64 bits.
fn low(word: u64) -> u32 {
    (word & u64::from(u32::MAX)) as u32
}

fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

fn joined(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Two bits for each register of the FPU: all are set if that is empty.
fn tag_word(in_use: u8) -> u32 {
    (0..8).filter(|index| in_use >> index & 1 == 0).map(|index| 3 << (2 * index)).sum()
}

fn in_use(tag_word: u32) -> u8 {
    (0..8).filter(|index| tag_word >> (2 * index) & 3 != 3).map(|index| 1 << index).sum()
}

/// For GDB.
pub fn to_gdb(registers: &Registers, to: &mut X86_64CoreRegs) {
    let Registers { general, float, system } = registers;
    let kvm_regs { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, .. } = *general;
    let kvm_regs { r13, r14, r15, rip, rflags, .. } = *general;
    to.regs = [rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15];
    to.rip = rip;
    to.eflags = low(rflags);
    let selectors = [system.cs, system.ss, system.ds, system.es, system.fs, system.gs];
    let [cs, ss, ds, es, fs, gs] = selectors.map(|segment| u32::from(segment.selector));
    let segments = &mut to.segments;
    (segments.cs, segments.ss, segments.ds) = (cs, ss, ds);
    (segments.es, segments.fs, segments.gs) = (es, fs, gs);
    for (st, from) in to.st.iter_mut().zip(&float.fpr) {
        st.copy_from_slice(&from[..10]);
    }
    to.fpu.fctrl = float.fcw.into();
    to.fpu.fstat = float.fsw.into();
    to.fpu.ftag = tag_word(float.ftwx);
    (to.fpu.fiseg, to.fpu.fioff) = (high(float.last_ip), low(float.last_ip));
    (to.fpu.foseg, to.fpu.fooff) = (high(float.last_dp), low(float.last_dp));
    to.fpu.fop = float.last_opcode.into();
    to.xmm = float.xmm.map(u128::from_le_bytes);
    to.mxcsr = float.mxcsr;
}

/// From GDB. What of them GDB does not know, and what nobody changes, stays as it is.
pub fn from_gdb(from: &X86_64CoreRegs, registers: &mut Registers) {
    let Registers { general, float, .. } = registers;
    let [rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15] = from.regs;
    let rflags = joined(high(general.rflags), from.eflags);
    let rip = from.rip;
    *general = kvm_regs {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip,
        rflags,
    };
    let mut fpr = float.fpr;
    for (to, st) in fpr.iter_mut().zip(&from.st) {
        to[..10].copy_from_slice(st);
    }
    // These have 16 bits.
    let [fcw, fsw, last_opcode] = [from.fpu.fctrl, from.fpu.fstat, from.fpu.fop].map(|x| x as u16);
    *float = kvm_fpu {
        fpr,
        fcw,
        fsw,
        ftwx: in_use(from.fpu.ftag),
        last_opcode,
        last_ip: joined(from.fpu.fiseg, from.fpu.fioff),
        last_dp: joined(from.fpu.foseg, from.fpu.fooff),
        xmm: from.xmm.map(u128::to_le_bytes),
        mxcsr: from.mxcsr,
        ..*float
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Registers {
        let mut some = Registers::default();
        let general = &mut some.general;
        (general.rax, general.rbp, general.rsp, general.r15) = (1, 2, 3, 4);
        (general.rip, general.rflags) = (0xffff_ffff_8100_0000, 0x1_0000_0246);
        (some.system.cs.selector, some.system.gs.selector) = (0x10, 0x2b);
        let float = &mut some.float;
        float.fpr[7][..10].copy_from_slice(&[7; 10]);
        (float.fcw, float.fsw, float.ftwx, float.last_opcode) = (0x37f, 0x3800, 0x81, 0x5d9);
        (float.last_ip, float.last_dp) = (0x1234_5678_9abc_def0, 5);
        (float.xmm[15], float.mxcsr) = ([9; 16], 0x1f80);
        some
    }

    #[test]
    fn gdb_finds_each_register_in_its_place() {
        let mut gdb = X86_64CoreRegs::default();
        to_gdb(&some(), &mut gdb);
        assert_eq!((gdb.regs[0], gdb.regs[6], gdb.regs[7], gdb.regs[15]), (1, 2, 3, 4));
        assert_eq!((gdb.rip, gdb.eflags), (0xffff_ffff_8100_0000, 0x246));
        assert_eq!((gdb.segments.cs, gdb.segments.gs), (0x10, 0x2b));
        assert_eq!((gdb.st[7], gdb.fpu.ftag), ([7; 10], 0x3ffc));
        assert_eq!((gdb.fpu.fiseg, gdb.fpu.fioff), (0x1234_5678, 0x9abc_def0));
        assert_eq!(gdb.xmm[15], u128::from_le_bytes([9; 16]));
    }

    #[test]
    fn what_gdb_writes_back_is_what_it_has_read() {
        let mut gdb = X86_64CoreRegs::default();
        to_gdb(&some(), &mut gdb);
        let mut back = some();
        from_gdb(&gdb, &mut back);
        assert_eq!(back, some());
        gdb.regs[7] = 17;
        from_gdb(&gdb, &mut back);
        assert_eq!(back.general, kvm_regs { rsp: 17, ..some().general });
    }
}
