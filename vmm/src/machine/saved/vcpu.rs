// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A vCPU as a value, in the order that KVM's documentation and its callers have found out.
//!
//! Read: asking for the state of multiprocessing accepts what is pending, which changes other
//! state, so it comes first. A timer may expire meanwhile, and KVM then has its interrupt in the
//! local APIC and forgets its deadline, so the MSRs come before the APIC: the guest may see one
//! interrupt too many, and none too few.
//!
//! Set: the deadline is a time of the TSC, in a mode of the APIC, so it comes behind both.
#![allow(unsafe_code)] // KVM_SET_XSAVE reads as much as the kernel says.

use super::msrs;
use crate::machine::error::MachineError;
use kvm_bindings::{
    kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_sregs,
    kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::VcpuFd;
use serde::{Deserialize, Serialize};

/// All but its CPUID, which the machine's description has, and its TSC.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedVcpu {
    mp_state: kvm_mp_state,
    regs: kvm_regs,
    sregs: kvm_sregs,
    xsave: Box<kvm_xsave>,
    xcrs: kvm_xcrs,
    debug: kvm_debugregs,
    msrs: Vec<kvm_msr_entry>,
    lapic: kvm_lapic_state,
    events: kvm_vcpu_events,
}

impl SavedVcpu {
    /// A vCPU that does not run, with those MSRs of a list that it has.
    pub fn of(vcpu: &VcpuFd, list: &[u32]) -> Result<SavedVcpu, MachineError> {
        let failed = || MachineError::kvm("tell a vCPU's state");
        let list: Vec<u32> = list.iter().copied().filter(|index| *index != msrs::TSC).collect();
        Ok(SavedVcpu {
            mp_state: vcpu.get_mp_state().map_err(failed())?,
            regs: vcpu.get_regs().map_err(failed())?,
            sregs: vcpu.get_sregs().map_err(failed())?,
            xsave: Box::new(vcpu.get_xsave().map_err(failed())?),
            xcrs: vcpu.get_xcrs().map_err(failed())?,
            debug: vcpu.get_debug_regs().map_err(failed())?,
            msrs: msrs::read(vcpu, &list)?,
            lapic: vcpu.get_lapic().map_err(failed())?,
            events: vcpu.get_vcpu_events().map_err(failed())?,
        })
    }

    /// Makes a new vCPU, which has its CPUID and its TSC, what this one was.
    pub fn put_into(&self, vcpu: &VcpuFd) -> Result<(), MachineError> {
        let failed = || MachineError::restore("a vCPU's state");
        vcpu.set_mp_state(self.mp_state).map_err(failed())?;
        vcpu.set_regs(&self.regs).map_err(failed())?;
        vcpu.set_sregs(&self.sregs).map_err(failed())?;
        // SAFETY: no feature whose state takes more than these 4096 bytes is switched on in
        // this process.
        unsafe { vcpu.set_xsave(&self.xsave) }.map_err(failed())?;
        vcpu.set_xcrs(&self.xcrs).map_err(failed())?;
        vcpu.set_debug_regs(&self.debug).map_err(failed())?;
        vcpu.set_lapic(&self.lapic).map_err(failed())?;
        msrs::restore(vcpu, &self.msrs)?;
        vcpu.set_vcpu_events(&self.events).map_err(failed())?;
        // Only for the guest's watchdogs, and nothing to a guest without kvm-clock.
        let _ = vcpu.kvmclock_ctrl();
        Ok(())
    }
}
