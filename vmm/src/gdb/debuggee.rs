// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a debugger asks of a machine.

use super::traps::Traps;
use kvm_bindings::{kvm_fpu, kvm_regs, kvm_sregs};
use std::io;
use std::os::fd::BorrowedFd;

/// What a CPU is to do when its machine goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Run,
    /// One instruction.
    Step,
    StandStill,
}

/// A CPU has met a debug exception, and with it all stand still or soon will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    pub cpu: usize,
    /// Why, as DR6 has it.
    pub dr6: u64,
}

/// What a CPU has in its registers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registers {
    pub general: kvm_regs,
    pub float: kvm_fpu,
    /// Nobody changes these.
    pub system: kvm_sregs,
}

/// A machine that is looked at. Unless it says so, a method wants the CPU to stand still.
pub trait Debuggee {
    /// CPUs are known by their numbers, from 0.
    fn cpus(&self) -> usize;
    /// Has all CPUs stand still, if they do not.
    fn halt(&self);
    /// Lets all go on, an action for each.
    fn go_on(&self, traps: &Traps, actions: &[Action]);
    /// Gives a debug exception to the guest, whose own it is, when the CPU goes on.
    fn give_back(&self, hit: Hit);
    /// Hits since this was last asked, also while CPUs run.
    fn take_hits(&self) -> Vec<Hit>;
    /// Readable when there is a hit or the end has come.
    fn bell(&self) -> BorrowedFd<'_>;
    /// Whether the machine is at its end.
    fn has_ended(&self) -> bool;
    /// Ends it.
    fn kill(&self);
    fn registers(&self, cpu: usize) -> io::Result<Registers>;
    fn set_registers(&self, cpu: usize, registers: &Registers) -> io::Result<()>;
    /// What the CPU does, in a word.
    fn state(&self, cpu: usize) -> &'static str;
    /// Of its registers, those that page tables hang on.
    fn system(&self, cpu: usize) -> io::Result<kvm_sregs>;
    /// Reads RAM at a physical address.
    fn read(&self, physical: u64, data: &mut [u8]) -> io::Result<()>;
    fn write(&self, physical: u64, data: &[u8]) -> io::Result<()>;
}
