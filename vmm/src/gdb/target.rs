// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine in the words of the crate that speaks the protocol.

use super::debuggee::{Action, Debuggee, Hit};
use super::traps::{Reason, Trap, Traps};
use super::{memory, registers};
use crate::output::tell;
use gdbstub::common::{Signal, Tid};
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps,
    SwBreakpoint, SwBreakpointOps, WatchKind,
};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use gdbstub_arch::x86::X86_64_SSE;
use gdbstub_arch::x86::reg::X86_64CoreRegs;
use nix::errno::Errno;
use std::convert::Infallible;

/// Why all CPUs stand still, for GDB.
pub type StopReason = MultiThreadStopReason<u64>;

/// A machine with a debugger.
pub struct Debugged<'a> {
    pub debuggee: &'a dyn Debuggee,
    traps: Traps,
    /// What each CPU does, or did last.
    actions: Vec<Action>,
    /// What it does that is not named, when the machine goes on next.
    others: Action,
    named: Vec<(usize, Action)>,
}

impl<'a> Debugged<'a> {
    pub fn new(debuggee: &'a dyn Debuggee) -> Debugged<'a> {
        let actions = vec![Action::Run; debuggee.cpus()];
        let (traps, others, named) = (Traps::default(), Action::Run, Vec::new());
        Debugged { debuggee, traps, actions, others, named }
    }

    /// Lets the machine go on as it last did.
    pub fn go_on(&self) {
        self.debuggee.go_on(&self.traps, &self.actions);
    }

    /// Lets it go on as if there had never been a debugger.
    pub fn let_go(self) {
        self.debuggee.go_on(&Traps::default(), &vec![Action::Run; self.actions.len()]);
    }

    /// Why all stand still, if that is for the debugger and not for the guest.
    pub fn reason(&self, hit: Hit) -> Option<StopReason> {
        let steps = self.actions.get(hit.cpu) == Some(&Action::Step);
        let tid = tid(hit.cpu);
        Some(match self.traps.reason(hit.dr6, steps)? {
            Reason::Stepped => StopReason::SignalWithThread { tid, signal: Signal::SIGTRAP },
            Reason::Trap(Trap::Code { hardware: true, .. }) => StopReason::HwBreak(tid),
            Reason::Trap(Trap::Code { .. }) => StopReason::SwBreak(tid),
            Reason::Trap(Trap::Data { address: addr, kind, .. }) => {
                StopReason::Watch { tid, kind, addr }
            }
        })
    }

    fn add(&mut self, trap: Trap) -> TargetResult<bool, Self> {
        let full = self.traps.is_full();
        if !full {
            return Ok(self.traps.add(trap));
        }
        tell("farfault: a processor has no more than 4 breakpoints and watchpoints");
        Err(error(Errno::ENOSPC))
    }
}

/// Threads are counted from 1.
fn tid(cpu: usize) -> Tid {
    Tid::MIN.saturating_add(cpu)
}

fn cpu(tid: Tid) -> usize {
    tid.get() - 1
}

fn error(errno: Errno) -> TargetError<Infallible> {
    TargetError::Errno(u8::try_from(errno as i32).unwrap_or(u8::MAX))
}

impl Target for Debugged<'_> {
    type Arch = X86_64_SSE;
    type Error = Infallible;

    fn base_ops(&mut self) -> BaseOps<'_, X86_64_SSE, Infallible> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Debugged<'_> {
    fn read_registers(&mut self, to: &mut X86_64CoreRegs, tid: Tid) -> TargetResult<(), Self> {
        registers::to_gdb(&self.debuggee.registers(cpu(tid))?, to);
        Ok(())
    }

    fn write_registers(&mut self, from: &X86_64CoreRegs, tid: Tid) -> TargetResult<(), Self> {
        let mut registers = self.debuggee.registers(cpu(tid))?;
        registers::from_gdb(from, &mut registers);
        Ok(self.debuggee.set_registers(cpu(tid), &registers)?)
    }

    fn read_addrs(&mut self, at: u64, data: &mut [u8], tid: Tid) -> TargetResult<usize, Self> {
        match memory::read(self.debuggee, cpu(tid), at, data) {
            0 if !data.is_empty() => Err(error(Errno::EFAULT)),
            len => Ok(len),
        }
    }

    fn write_addrs(&mut self, at: u64, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        memory::write(self.debuggee, cpu(tid), at, data).map_err(|_| error(Errno::EFAULT))
    }

    fn list_active_threads(&mut self, found: &mut dyn FnMut(Tid)) -> Result<(), Infallible> {
        (0..self.actions.len()).map(tid).for_each(found);
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl ThreadExtraInfo for Debugged<'_> {
    fn thread_extra_info(&self, tid: Tid, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let text = format!("CPU {}: {}", cpu(tid), self.debuggee.state(cpu(tid)));
        let len = text.len().min(buffer.len());
        buffer[..len].copy_from_slice(&text.as_bytes()[..len]);
        Ok(len)
    }
}

/// A guest has no signals to be given.
impl MultiThreadResume for Debugged<'_> {
    fn clear_resume_actions(&mut self) -> Result<(), Infallible> {
        self.others = Action::Run;
        self.named.clear();
        Ok(())
    }

    fn set_resume_action_continue(
        &mut self,
        tid: Tid,
        _signal: Option<Signal>,
    ) -> Result<(), Infallible> {
        self.named.push((cpu(tid), Action::Run));
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Infallible> {
        self.actions.fill(self.others);
        for (cpu, action) in &self.named {
            if let Some(place) = self.actions.get_mut(*cpu) {
                *place = *action;
            }
        }
        self.go_on();
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadSingleStep for Debugged<'_> {
    fn set_resume_action_step(
        &mut self,
        tid: Tid,
        _signal: Option<Signal>,
    ) -> Result<(), Infallible> {
        self.named.push((cpu(tid), Action::Step));
        Ok(())
    }
}

impl MultiThreadSchedulerLocking for Debugged<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), Infallible> {
        self.others = Action::StandStill;
        Ok(())
    }
}

impl Breakpoints for Debugged<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Debugged<'_> {
    fn add_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        self.add(Trap::Code { address, hardware: false })
    }

    fn remove_sw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.traps.remove(Trap::Code { address, hardware: false }))
    }
}

impl HwBreakpoint for Debugged<'_> {
    fn add_hw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        self.add(Trap::Code { address, hardware: true })
    }

    fn remove_hw_breakpoint(&mut self, address: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.traps.remove(Trap::Code { address, hardware: true }))
    }
}

impl HwWatchpoint for Debugged<'_> {
    fn add_hw_watchpoint(
        &mut self,
        address: u64,
        bytes: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        self.add(Trap::Data { address, bytes, kind })
    }

    fn remove_hw_watchpoint(
        &mut self,
        address: u64,
        bytes: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        Ok(self.traps.remove(Trap::Data { address, bytes, kind }))
    }
}
