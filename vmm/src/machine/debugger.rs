// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine as a debugger sees it: KVM's part of debugging a guest.

use super::end::{EndLatch, MachineEnd};
use super::error::MachineError;
use super::hits::Hits;
use super::vcpu::{VcpuContext, Vcpus};
use crate::gdb::{self, Action, Debuggee, Hit, Invitation, Registers, Traps};
use kvm_bindings::{
    KVM_GUESTDBG_BLOCKIRQ, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_INJECT_DB, KVM_GUESTDBG_SINGLESTEP,
    KVM_GUESTDBG_USE_HW_BP, KVM_MP_STATE_HALTED, KVM_MP_STATE_RUNNABLE, kvm_guest_debug,
    kvm_guest_debug_arch, kvm_sregs,
};
use kvm_ioctls::VcpuFd;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// How long a debugger may take to hear that the machine has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// A machine that runs.
pub struct Debugger {
    vcpus: Vcpus,
    memory: Arc<GuestMemoryMmap>,
    hits: Arc<Hits>,
    end: Arc<EndLatch>,
}

/// Disconnected when the last debugger has been served.
pub struct Serving(Receiver<()>);

impl Debugger {
    pub fn new(vcpus: &Vcpus, context: &VcpuContext, memory: Arc<GuestMemoryMmap>) -> Debugger {
        let (hits, end) = (Arc::clone(&context.hits), Arc::clone(&context.end));
        Debugger { vcpus: vcpus.clone(), memory, hits, end }
    }

    /// Serves debuggers on a thread of their own.
    pub fn start(self, invitation: Arc<Invitation>) -> Option<Serving> {
        let (over, serving) = mpsc::sync_channel(0);
        let end = Arc::clone(&self.end);
        let started = end.spawn("debugger".to_owned(), move || {
            gdb::serve(&invitation, &self);
            drop(over);
        });
        if let Err(source) = started {
            end.report(Err(MachineError::Host { what: "start the debugger's thread", source }));
            return None;
        }
        Some(Serving(serving))
    }

    fn vcpu<R>(
        &self,
        cpu: usize,
        ask: impl FnOnce(&VcpuFd) -> Result<R, kvm_ioctls::Error>,
    ) -> io::Result<R> {
        let vcpu = self.vcpus.get(cpu).ok_or(io::ErrorKind::NotFound)?;
        Ok(ask(&vcpu)?)
    }
}

impl Serving {
    /// Lets a debugger know that the machine has ended.
    pub fn take_leave(self, hits: &Hits) {
        hits.ring();
        let _ = self.0.recv_timeout(FAREWELL);
    }
}

impl Debuggee for Debugger {
    fn cpus(&self) -> usize {
        self.vcpus.count()
    }

    fn halt(&self) {
        self.vcpus.halt();
    }

    fn go_on(&self, traps: &Traps, actions: &[Action]) {
        let mut held = 0;
        for (cpu, action) in actions.iter().enumerate() {
            if *action == Action::StandStill {
                held |= 1 << cpu;
            }
            // A vCPU that cannot be debugged runs as it is.
            let _ = self.vcpu(cpu, |vcpu| {
                // Only for the guest's watchdogs, and nothing to a guest without kvm-clock.
                let _ = vcpu.kvmclock_ctrl();
                vcpu.set_guest_debug(&debugging(traps, *action))
            });
        }
        self.vcpus.pause.end_but_for(held);
    }

    fn give_back(&self, hit: Hit) {
        let _ = self.vcpu(hit.cpu, |vcpu| {
            let mut registers = vcpu.get_debug_regs()?;
            registers.dr6 = hit.dr6;
            vcpu.set_debug_regs(&registers)?;
            let control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB;
            vcpu.set_guest_debug(&kvm_guest_debug { control, ..kvm_guest_debug::default() })
        });
    }

    fn take_hits(&self) -> Vec<Hit> {
        self.hits.take()
    }

    fn bell(&self) -> BorrowedFd<'_> {
        self.hits.bell()
    }

    fn has_ended(&self) -> bool {
        self.end.has_come()
    }

    fn kill(&self) {
        self.end.report(Ok(MachineEnd::Killed));
    }

    fn registers(&self, cpu: usize) -> io::Result<Registers> {
        self.vcpu(cpu, |vcpu| {
            let (general, float, system) = (vcpu.get_regs()?, vcpu.get_fpu()?, vcpu.get_sregs()?);
            Ok(Registers { general, float, system })
        })
    }

    fn set_registers(&self, cpu: usize, registers: &Registers) -> io::Result<()> {
        self.vcpu(cpu, |vcpu| {
            vcpu.set_regs(&registers.general)?;
            vcpu.set_fpu(&registers.float)
        })
    }

    fn state(&self, cpu: usize) -> &'static str {
        match self.vcpu(cpu, VcpuFd::get_mp_state).map(|state| state.mp_state) {
            Ok(KVM_MP_STATE_RUNNABLE) => "runs",
            Ok(KVM_MP_STATE_HALTED) => "halted",
            _ => "not started",
        }
    }

    fn system(&self, cpu: usize) -> io::Result<kvm_sregs> {
        self.vcpu(cpu, VcpuFd::get_sregs)
    }

    fn read(&self, physical: u64, data: &mut [u8]) -> io::Result<()> {
        self.memory.read_slice(data, GuestAddress(physical)).map_err(io::Error::other)
    }

    fn write(&self, physical: u64, data: &[u8]) -> io::Result<()> {
        self.memory.write_slice(data, GuestAddress(physical)).map_err(io::Error::other)
    }
}

/// What KVM is asked for. A step is not to end in an interrupt's handler.
fn debugging(traps: &Traps, action: Action) -> kvm_guest_debug {
    let mut control = 0;
    if !traps.is_empty() {
        control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    }
    if action == Action::Step {
        control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ;
    }
    let arch = kvm_guest_debug_arch { debugreg: traps.debug_registers() };
    kvm_guest_debug { control, pad: 0, arch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_nobody_looks_at_has_its_own_debug_registers() {
        assert_eq!(debugging(&Traps::default(), Action::Run).control, 0);
        let step = debugging(&Traps::default(), Action::Step);
        assert_eq!(step.control & KVM_GUESTDBG_USE_HW_BP, 0);
        assert_ne!(step.control & KVM_GUESTDBG_BLOCKIRQ, 0);
    }
}
