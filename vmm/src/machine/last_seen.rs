// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the vCPUs of a machine were when it was stopped, for people who ask why it hung.

use super::error::MachineError;
use super::saved::msrs;
use kvm_bindings::{KVM_MP_STATE_HALTED, KVM_MP_STATE_RUNNABLE};
use kvm_ioctls::VcpuFd;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Offsets of the local APIC's first words of 32 vectors (SDM 3A, table 12-1).
const IN_SERVICE: usize = 0x100;
const REQUESTED: usize = 0x200;
/// From one word of vectors to the next.
const STRIDE: usize = 0x10;
const INTERRUPTS_ON: u64 = 1 << 9;

/// A line for each vCPU that was stopped.
#[derive(Default)]
pub struct LastSeen(Mutex<BTreeMap<u8, String>>);

impl LastSeen {
    /// Looks at a vCPU that does not run any more.
    pub fn note(&self, id: u8, vcpu: &VcpuFd) {
        if let Ok(text) = describe(vcpu) {
            self.0.lock().insert(id, text);
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().iter().map(|(id, text)| format!("vCPU {id}: {text}")).collect()
    }
}

fn describe(vcpu: &VcpuFd) -> Result<String, MachineError> {
    let registers = vcpu.get_regs().map_err(MachineError::kvm("tell a vCPU's registers"))?;
    let cr3 = vcpu.get_sregs().map_err(MachineError::kvm("tell a vCPU's special registers"))?.cr3;
    let apic = vcpu.get_lapic().map_err(MachineError::kvm("tell a vCPU's local APIC"))?;
    let state = vcpu.get_mp_state().map_err(MachineError::kvm("tell a vCPU's activity"))?;
    let activity = match state.mp_state {
        KVM_MP_STATE_RUNNABLE => "runs",
        KVM_MP_STATE_HALTED => "halted",
        _ => "not started",
    };
    let interrupts = if registers.rflags & INTERRUPTS_ON == 0 { "off" } else { "on" };
    // The bindings have the page as signed characters.
    let page: Vec<u8> = apic.regs.iter().map(|byte| byte.cast_unsigned()).collect();
    Ok(format!(
        "{activity} at rip {:#x}, rsp {:#x}, cr3 {cr3:#x}, interrupts {interrupts}; \
         requested {:02x?}, in service {:02x?}; {}",
        registers.rip,
        registers.rsp,
        vectors(&page, REQUESTED),
        vectors(&page, IN_SERVICE),
        timer(vcpu)?,
    ))
}

/// The vectors that are set in eight words of the local APIC.
fn vectors(page: &[u8], first: usize) -> Vec<usize> {
    let is_set = |vector: &usize| {
        let at = first + vector / 32 * STRIDE + vector % 32 / 8;
        page.get(at).is_some_and(|byte| byte >> (vector % 8) & 1 == 1)
    };
    (0..256).filter(is_set).collect()
}

fn timer(vcpu: &VcpuFd) -> Result<String, MachineError> {
    Ok(match msrs::read(vcpu, &[msrs::TSC, msrs::TSC_DEADLINE])?[..] {
        [_, deadline] if deadline.data == 0 => "no timer armed".to_owned(),
        [now, deadline] => {
            format!("timer {} cycles from now", deadline.data.wrapping_sub(now.data).cast_signed())
        }
        _ => "no timer".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_read_from_words_of_32() {
        let mut page = vec![0; 0x400];
        // 0x20, 0x21 and 0xec.
        page[REQUESTED + STRIDE] = 0b11;
        page[REQUESTED + 7 * STRIDE + 1] = 1 << 4;
        assert_eq!(vectors(&page, REQUESTED), [0x20, 0x21, 0xec]);
        assert_eq!(vectors(&page, IN_SERVICE), [0; 0]);
    }
}
