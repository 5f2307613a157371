// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Something is done while one allocation fails.

use crate::symbols::Symbols;
use farfault_guest_programs::Failure;
use farfault_guest_programs::kernel_files::{number, write};
use farfault_guest_programs::ktap::{Outcome, expect};
use farfault_guest_programs::memory::memory_file;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// What a refusal says that is for want of memory, whoever is told: an ioctl, another system
/// call, or a command.
const CLEAR: &[&str] = &["ENOMEM", "EAGAIN", "os error 12", "no memory for the device's access"];
/// The same of a probe: the kernel has no memory for a region and says EBUSY
/// (`__request_region()`), for a type of memory EINVAL (`memtype_reserve()`), for the interrupts'
/// domain ENODEV (`__pci_enable_msix_range()`), or for as many of them as are needed ENOSPC
/// (`pci_alloc_irq_vectors()`).
const CLEAR_OF_PROBE: &[&str] =
    &["os error 12", "os error 16", "os error 19", "os error 22", "os error 28"];

/// How a round ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a clear error.
    Refused,
    /// As if no allocation had failed.
    Done,
    /// No allocation has failed.
    NoneLeft,
}

const ENDS: [End; 3] = [End::Refused, End::Done, End::NoneLeft];

pub struct Round<'s> {
    pub number: u32,
    pub symbols: &'s Symbols,
    /// Where the child says how it ended.
    told: File,
}

impl<'s> Round<'s> {
    /// In which the `number`-th allocation fails.
    pub fn new(number: u32, symbols: &'s Symbols) -> Result<Self, Failure> {
        Ok(Self { number, symbols, told: memory_file(0)? })
    }

    /// Does `work` while an allocation of this thread's fails; and once more if it was refused.
    pub fn of(&self, work: impl FnMut() -> Outcome) -> Result<End, Failure> {
        self.of_task("/proc/thread-self", CLEAR, work)
    }

    /// The same of a work that has the driver probe the device.
    pub fn of_probe(&self, work: impl FnMut() -> Outcome) -> Result<End, Failure> {
        self.of_task("/proc/thread-self", CLEAR_OF_PROBE, work)
    }

    /// The same with one of the thread that serves the device's faults.
    pub fn of_service(&self, work: impl FnMut() -> Outcome) -> Result<End, Failure> {
        self.of_task(&service()?, CLEAR, work)
    }

    fn of_task(
        &self,
        task: &str,
        clear: &[&str],
        mut work: impl FnMut() -> Outcome,
    ) -> Result<End, Failure> {
        let nth = format!("{task}/fail-nth");
        write(&nth, &self.number.to_string())?;
        let result = work();
        let left = number(&nth)?;
        write(&nth, "0")?;
        let end = match result {
            Ok(()) if left > 0 => End::NoneLeft,
            Ok(()) => End::Done,
            Err(why) if left > 0 => return Err(why),
            Err(why) => {
                let clear = clear.iter().any(|words| why.to_string().contains(words));
                expect(&format!("'{why}' is for want of memory"), clear)?;
                work().map_err(|why| format!("when there is memory again: {why}"))?;
                End::Refused
            }
        };
        let told = ENDS.iter().position(|one| *one == end).map(|place| [place as u8]);
        self.told.write_all_at(&told.unwrap_or_default(), 0)?;
        Ok(end)
    }

    /// How it ended, for who has waited for the child.
    pub fn end(&self) -> Result<End, Failure> {
        let mut place = [0];
        self.told.read_exact_at(&mut place, 0)?;
        ENDS.get(usize::from(place[0])).copied().ok_or_else(|| "the child said nothing".into())
    }
}

/// The thread that serves the device's faults for this process; it is called as the device.
fn service() -> Result<String, Failure> {
    for thread in fs::read_dir("/proc/self/task")? {
        let thread = thread?.path();
        if fs::read_to_string(thread.join("comm"))?.starts_with("farfault") {
            return Ok(thread.display().to_string());
        }
    }
    Err("no thread of this process serves the device's faults".into())
}
