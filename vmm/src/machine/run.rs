// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine from its first instruction to its last byte of output.

use super::debugger::Debugger;
use super::end::{EndWatcher, MachineEnd};
use super::error::MachineError;
use super::event_loop::EventLoop;
use super::handle::Handle;
use super::memory::Slots;
use super::saved::{Hardware, SaveError};
use super::standstill::StandstillWatcher;
use super::vcpu::{VcpuContext, Vcpus};
use crate::accelerator::DoorbellLine;
use crate::devices::serial::SerialLine;
use crate::devices::virtio::console::Console;
use crate::gdb::Invitation;
use kvm_ioctls::VcpuFd;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use vm_memory::GuestMemoryMmap;

/// A machine that is built and ready to run.
pub struct Machine {
    pub(super) vcpus: Vec<VcpuFd>,
    pub(super) context: VcpuContext,
    pub(super) serial: SerialLine,
    pub(super) console: Console,
    pub(super) hardware: Hardware,
    pub(super) memory: Arc<GuestMemoryMmap>,
    pub(super) handle: Handle,
    pub(super) invitation: Option<Arc<Invitation>>,
    pub(super) _slots: Slots,
}

impl Machine {
    /// A hold on it, for other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs the guest until it ends and its output is written. The event loop
    /// is on this thread; vCPUs and the accelerator have their own.
    pub fn run(self) -> Result<MachineEnd, MachineError> {
        let Handle { end, accelerator, standstill, .. } = self.handle;
        let serial = Rc::new(RefCell::new(self.serial));
        let console = Rc::new(RefCell::new(self.console));
        let mut events = EventLoop::new()?;
        events.add(EndWatcher(Arc::clone(&end)));
        events.add(StandstillWatcher(Arc::clone(&standstill)));
        if let Some(accelerator) = &accelerator {
            events.add(DoorbellLine(Arc::clone(accelerator)));
        }
        events.add(Rc::clone(&serial));
        events.add(Rc::clone(&console));

        let start = |(name, body)| {
            let started = end.spawn(name, body).map_err(|source| {
                let what = "start a thread of the accelerator";
                end.report(Err(MachineError::Host { what, source }));
            });
            started.ok()
        };
        let loops = accelerator.iter().flat_map(|accelerator| accelerator.loops());
        let engines: Vec<_> = loops.filter_map(start).collect();
        let waits = self.invitation.as_ref().is_some_and(|invitation| invitation.wait);
        if waits {
            self.context.pause.begin();
        }
        let vcpus = Vcpus::start(self.vcpus, &self.context);
        let debugger = self.invitation.and_then(|invitation| {
            let memory = Arc::clone(&self.memory);
            Debugger::new(&vcpus, &self.context, memory).start(invitation)
        });
        while !end.has_come() {
            if let Err(error) = events.run_until(|| end.has_come() || standstill.is_asked_for()) {
                end.report(Err(error));
            }
            if standstill.is_asked_for() {
                vcpus.paused(|vcpus| {
                    standstill.grant(|| {
                        let settled = events.settle()?;
                        if end.has_come() {
                            return Err(SaveError::Ended);
                        }
                        if !settled {
                            return Err(SaveError::Busy("event loop"));
                        }
                        self.hardware.save(vcpus, &serial.borrow(), &console.borrow())
                    });
                });
            }
        }
        standstill.close();
        // A vCPU may be waiting for the device, so that goes first.
        accelerator.iter().for_each(|accelerator| accelerator.stop());
        vcpus.join();
        if let Some(debugger) = debugger {
            debugger.take_leave(&self.context.hits);
        }
        for engine in engines {
            let _ = engine.join();
        }
        let ending = match end.outcome()? {
            MachineEnd::Reset if self.hardware.panic_port.was_found() => MachineEnd::Reboot,
            ending => ending,
        };
        console.borrow_mut().begin_flush();
        events.run_until(|| {
            let flushed = console.borrow().is_flushed() && serial.borrow().is_flushed();
            flushed || end.stop_wanted()
        })?;
        Ok(ending)
    }
}
