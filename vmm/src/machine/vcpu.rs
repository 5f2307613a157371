// SPDX-License-Identifier: Apache-2.0 OR MIT
//! vCPU threads: run the guest, and answer what it does that KVM cannot.

use super::bus::Bus;
use super::end::{EndLatch, MachineEnd};
use super::error::MachineError;
use super::exits::{Access, Exits};
use super::run_page::{self, ImmediateExit};
use crate::devices::PowerRequest;
use kvm_bindings::{
    KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION, KVM_SYSTEM_EVENT_CRASH,
    KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN,
};
use kvm_ioctls::{VcpuExit, VcpuFd};
use nix::libc::{self, c_int, c_void, siginfo_t};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

/// What every vCPU thread needs.
#[derive(Clone)]
pub struct VcpuContext {
    pub bus: Arc<Bus>,
    pub exits: Arc<Exits>,
    pub end: Arc<EndLatch>,
}

pub struct Vcpus(Vec<(JoinHandle<()>, ImmediateExit)>);

impl Vcpus {
    /// Starts a thread for each vCPU. They run until the end has come, which
    /// is at once if one of them cannot be started.
    pub fn start(vcpus: Vec<VcpuFd>, context: &VcpuContext) -> Vcpus {
        let mut threads = Vec::new();
        for (id, vcpu) in (0..).zip(vcpus) {
            match spawn(id, vcpu, context.clone()) {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    let what = "start a vCPU's thread";
                    context.end.report(Err(MachineError::Host { what, source }));
                }
            }
        }
        Vcpus(threads)
    }

    /// Waits until all vCPUs have noticed that the end has come.
    pub fn join(self) {
        for (thread, exit) in self.0 {
            // The signal makes a guest that runs exit, the flag one that is just entered.
            exit.ask();
            let _ = thread.kill(SIGRTMIN());
            let _ = thread.join();
        }
    }
}

fn spawn(
    id: u8,
    vcpu: VcpuFd,
    context: VcpuContext,
) -> io::Result<(JoinHandle<()>, ImmediateExit)> {
    register_signal_handler(SIGRTMIN(), interrupt)?;
    let vcpu = Arc::new(Mutex::new(vcpu));
    let exit = ImmediateExit::new(&vcpu);
    let end = Arc::clone(&context.end);
    let body = move || run(id, &mut vcpu.lock(), &context);
    Ok((end.spawn(format!("vcpu{id}"), body)?, exit))
}

/// Does nothing: the signal has done its work by interrupting KVM_RUN.
extern "C" fn interrupt(_signal: c_int, _info: *mut siginfo_t, _context: *mut c_void) {}

fn run(id: u8, vcpu: &mut VcpuFd, context: &VcpuContext) {
    while !context.end.has_come() {
        match step(vcpu, context) {
            Ok(None) => {}
            Ok(Some(ending)) => context.end.report(Ok(ending)),
            Err(mut reason) => {
                if let Ok(regs) = vcpu.get_regs() {
                    reason.push_str(&format!(" at rip {:#x}", regs.rip));
                }
                context.end.report(Err(MachineError::Vcpu { vcpu: id, reason }));
            }
        }
    }
}

/// Runs the guest until its next exit and answers it.
///
/// One internal error of KVM's is wrong. A guest cannot touch a device while an event is being
/// delivered to it, and KVM gives up on one that seems to. On AMD it believes so whenever the
/// type of a last event is set in EXITINTINFO, without regard to the valid bit; QEMU's nested
/// SVM leaves the type of an exception that the guest took by itself. The first access to a
/// device after a page fault then looks like one during delivery. The event was delivered and
/// the access was not made, so the vCPU just has to go on, and the entry clears the leftover.
///
/// A guest that really does this meets the same exit for ever. There is no telling it from one
/// that rings the same doorbell after many page faults; it can be stopped like any other.
fn step(vcpu: &mut VcpuFd, context: &VcpuContext) -> Result<Option<MachineEnd>, String> {
    let exit = match vcpu.run() {
        Ok(exit) => exit,
        Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => return Ok(None),
        Err(error) => return Err(format!("KVM_RUN failed: {error}")),
    };
    let (bus, exits) = (&context.bus, &context.exits);
    let ended = |how| Ok(Some(how));
    match exit {
        VcpuExit::IoIn(port, _) => {
            exits.count(Access::PortRead, port.into());
            let (size, data) = run_page::port_access(vcpu);
            bus.read_port(port, size, data);
        }
        VcpuExit::IoOut(port, _) => {
            exits.count(Access::PortWrite, port.into());
            let (size, data) = run_page::port_access(vcpu);
            match bus.write_port(port, size, data) {
                None => {}
                Some(PowerRequest::PowerOff) => return ended(MachineEnd::PowerOff),
                Some(PowerRequest::Reset) => return ended(MachineEnd::Reset),
                Some(PowerRequest::Panicked) => context.end.note_panic(),
            }
        }
        VcpuExit::MmioRead(address, data) => {
            exits.count(Access::MemoryRead, address);
            bus.read_memory(address, data);
        }
        VcpuExit::MmioWrite(address, data) => {
            exits.count(Access::MemoryWrite, address);
            bus.write_memory(address, data);
        }
        VcpuExit::Shutdown => return ended(MachineEnd::TripleFault),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _) => return ended(MachineEnd::PowerOff),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _) => return ended(MachineEnd::Reset),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_CRASH, _) => return ended(MachineEnd::Panic),
        VcpuExit::Hlt | VcpuExit::Intr | VcpuExit::IrqWindowOpen => exits.count_other(),
        VcpuExit::InternalError => {
            exits.count_other();
            return match run_page::internal_error(vcpu) {
                (KVM_INTERNAL_ERROR_DELIVERY_EV, _) => Ok(None),
                // The guest's own fault: its kernel has run into a BAR, or to where nothing is.
                (KVM_INTERNAL_ERROR_EMULATION, _) => {
                    let rip = vcpu.get_regs().map_or(0, |regs| regs.rip);
                    ended(MachineEnd::NotRunnable { rip })
                }
                (kind, data) => Err(format!("KVM cannot go on (internal error {kind}, {data:x?})")),
            };
        }
        VcpuExit::FailEntry(reason, _) => {
            return Err(format!("the processor refused to enter the guest ({reason:#x})"));
        }
        other => return Err(format!("unexpected exit {other:?}")),
    }
    Ok(None)
}
