// SPDX-License-Identifier: Apache-2.0 OR MIT
//! vCPU threads: run the guest, and answer what it does that KVM cannot.

use super::bus::Bus;
use super::end::{EndLatch, MachineEnd};
use super::error::MachineError;
use super::exits::{Access, Exits};
use super::hits::Hits;
use super::last_seen::LastSeen;
use super::pause::{Member, Pause};
use super::run_page::{self, ImmediateExit};
use crate::devices::PowerRequest;
use kvm_bindings::{
    KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION, KVM_SYSTEM_EVENT_CRASH,
    KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN,
};
use kvm_ioctls::{VcpuExit, VcpuFd};
use nix::libc::{self, c_int, c_void, siginfo_t};
use parking_lot::{Mutex, MutexGuard};
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
    pub pause: Arc<Pause>,
    pub last_seen: Arc<LastSeen>,
    /// What a debugger has asked for.
    pub hits: Arc<Hits>,
}

/// vCPUs that run.
#[derive(Clone)]
pub struct Vcpus {
    running: Vec<Arc<Running>>,
    pub pause: Arc<Pause>,
}

struct Running {
    /// Until it is joined.
    thread: Mutex<Option<JoinHandle<()>>>,
    exit: ImmediateExit,
    /// Locked while it runs.
    vcpu: Arc<Mutex<VcpuFd>>,
}

impl Vcpus {
    /// Starts a thread for each vCPU. They run until the end has come, which
    /// is at once if one of them cannot be started.
    pub fn start(vcpus: Vec<VcpuFd>, context: &VcpuContext) -> Vcpus {
        let mut running = Vec::new();
        for (id, vcpu) in (0..).zip(vcpus) {
            match spawn(id, vcpu, context.clone()) {
                Ok(vcpu) => running.push(Arc::new(vcpu)),
                Err(source) => {
                    let what = "start a vCPU's thread";
                    context.end.report(Err(MachineError::Host { what, source }));
                }
            }
        }
        Vcpus { running, pause: Arc::clone(&context.pause) }
    }

    /// Calls `body` with all vCPUs while none of them runs. Each has completed its last
    /// access by then: KVM does so when it is entered the next time, and leaves at once.
    pub fn paused<R>(&self, body: impl FnOnce(&[&VcpuFd]) -> R) -> R {
        self.halt();
        let locked: Vec<_> = self.running.iter().map(|running| running.vcpu.lock()).collect();
        let result = body(&locked.iter().map(|vcpu| &**vcpu).collect::<Vec<_>>());
        for vcpu in locked {
            // Only for the guest's watchdogs, and nothing to a guest without kvm-clock.
            let _ = vcpu.kvmclock_ctrl();
        }
        self.pause.end();
        result
    }

    /// Has all vCPUs stand still until the pause ends.
    pub fn halt(&self) {
        self.pause.begin();
        self.running.iter().for_each(|vcpu| vcpu.interrupt());
        self.pause.await_all();
    }

    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// One of them, if there is such a one. It has to stand still.
    pub fn get(&self, id: usize) -> Option<MutexGuard<'_, VcpuFd>> {
        self.running.get(id).map(|running| running.vcpu.lock())
    }

    /// Waits until all vCPUs have noticed that the end has come.
    pub fn join(self) {
        self.pause.close();
        for vcpu in self.running {
            vcpu.interrupt();
            let thread = vcpu.thread.lock().take();
            let _ = thread.map(JoinHandle::join);
        }
    }
}

impl Running {
    /// Has it leave its guest.
    fn interrupt(&self) {
        // The signal makes a guest that runs exit, the flag one that is just entered.
        self.exit.ask();
        let _ = self.thread.lock().as_ref().map(|thread| thread.kill(SIGRTMIN()));
    }
}

fn spawn(id: u8, vcpu: VcpuFd, context: VcpuContext) -> io::Result<Running> {
    register_signal_handler(SIGRTMIN(), interrupt)?;
    let vcpu = Arc::new(Mutex::new(vcpu));
    let exit = ImmediateExit::new(&vcpu);
    let (end, member, shared) =
        (Arc::clone(&context.end), context.pause.join(id), Arc::clone(&vcpu));
    let body = move || run(id, &mut shared.lock(), &context, &member);
    let thread = end.spawn(format!("vcpu{id}"), body)?;
    Ok(Running { thread: Mutex::new(Some(thread)), exit, vcpu })
}

/// Does nothing: the signal has done its work by interrupting KVM_RUN.
extern "C" fn interrupt(_signal: c_int, _info: *mut siginfo_t, _context: *mut c_void) {}

fn run(id: u8, vcpu: &mut MutexGuard<VcpuFd>, context: &VcpuContext, member: &Member) {
    // A debugger may want to see the first instruction.
    MutexGuard::unlocked(vcpu, || member.stay());
    while !context.end.has_come() {
        match step(vcpu, context) {
            Ok(Stepped::On) => {}
            Ok(Stepped::Interrupted) => {
                // In this order: who asks has said before what for, and that is looked at next.
                run_page::withdraw(vcpu);
                MutexGuard::unlocked(vcpu, || member.stay());
            }
            Ok(Stepped::Trapped { dr6 }) => {
                context.pause.begin();
                context.hits.note(id, dr6);
                MutexGuard::unlocked(vcpu, || member.stay());
            }
            Ok(Stepped::Ended(ending)) => context.end.report(Ok(ending)),
            Err(mut reason) => {
                if let Ok(regs) = vcpu.get_regs() {
                    reason.push_str(&format!(" at rip {:#x}", regs.rip));
                }
                context.end.report(Err(MachineError::Vcpu { vcpu: id, reason }));
            }
        }
    }
    if context.end.stop_wanted() {
        context.last_seen.note(id, vcpu);
    }
}

/// What came of running the guest.
enum Stepped {
    On,
    /// A signal has come; nothing of what the guest did is left to be completed.
    Interrupted,
    /// It has met what a debugger waits for.
    Trapped {
        dr6: u64,
    },
    Ended(MachineEnd),
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
fn step(vcpu: &mut VcpuFd, context: &VcpuContext) -> Result<Stepped, String> {
    let exit = match vcpu.run() {
        Ok(exit) => exit,
        Err(error) if error.errno() == libc::EINTR => return Ok(Stepped::Interrupted),
        Err(error) if error.errno() == libc::EAGAIN => return Ok(Stepped::On),
        Err(error) => return Err(format!("KVM_RUN failed: {error}")),
    };
    let (bus, exits) = (&context.bus, &context.exits);
    let ended = |how| Ok(Stepped::Ended(how));
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
        VcpuExit::Debug(met) => return Ok(Stepped::Trapped { dr6: met.dr6 }),
        VcpuExit::Shutdown => return ended(MachineEnd::TripleFault),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _) => return ended(MachineEnd::PowerOff),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _) => return ended(MachineEnd::Reset),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_CRASH, _) => return ended(MachineEnd::Panic),
        VcpuExit::Hlt | VcpuExit::Intr | VcpuExit::IrqWindowOpen => exits.count_other(),
        VcpuExit::InternalError => {
            exits.count_other();
            return match run_page::internal_error(vcpu) {
                (KVM_INTERNAL_ERROR_DELIVERY_EV, _) => Ok(Stepped::On),
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
    Ok(Stepped::On)
}
