// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What ends while a fault is held up at a stage of its service that is known: a
//! process, its file, the driver. Nothing may stay, and nobody may wait for ever.
#![allow(unsafe_code, reason = "gives the device memory that it will not be done with")]

use crate::processes::Trial;
use farfault_client::raw::descriptor as abi;
use farfault_guest_programs::children::{Child, Signpost, exit_now};
use farfault_guest_programs::counters::{self, await_gauges, gauges};
use farfault_guest_programs::ktap::{Outcome, expect};
use farfault_guest_programs::memory::{PAGE, Region};
use farfault_guest_programs::raw_queue::{self, RawQueue};
use farfault_guest_programs::{Failure, commands, kernel_files};
use nix::errno::Errno;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

pub const TRIALS: &[Trial] = &[
    Trial { name: "ends_when_posted", run: |_, _| at("posted") },
    Trial { name: "ends_when_drained", run: |_, _| at("drained") },
    Trial { name: "ends_when_ready", run: |_, _| at("ready") },
    Trial { name: "ends_when_taken", run: |_, _| at("taken") },
    Trial { name: "ends_when_found", run: |_, _| at("found") },
    Trial { name: "ends_when_served", run: |_, _| at("served") },
];

/// How often each ending is tried, however many changes are asked for: it takes no luck to
/// meet a stage.
const ROUNDS: u64 = 4;
const PAGES: usize = 16;
/// How long a fault may take to come to its stage.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to a process whose fault is held up.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Killed,
    Exits,
    Execs,
    Closes,
    Unbound,
    /// The fault goes on, and all is well.
    GoesOn,
}

const ENDINGS: [Ending; 6] =
    [Ending::Killed, Ending::Exits, Ending::Execs, Ending::Closes, Ending::Unbound, Ending::GoesOn];

fn at(stage: &str) -> Result<String, Failure> {
    for _ in 0..ROUNDS {
        for ending in ENDINGS {
            meet(stage, ending).map_err(|why| format!("{ending:?}: {why}"))?;
        }
    }
    Ok(format!("{} processes", ROUNDS * ENDINGS.len() as u64))
}

fn meet(stage: &str, ending: Ending) -> Outcome {
    let before = gauges()?;
    let (ready, go, end) = (Signpost::new()?, Signpost::new()?, Signpost::new()?);
    let child = Child::start(|| live(ending, &ready, &go, &end))?;
    ready.wait()?;
    let stalled = counters::get("stalled")?;
    let stall = Stall::at(stage)?;
    go.reach()?;
    let began = Instant::now();
    while counters::get("stalled")? == stalled {
        expect("the fault is held up", began.elapsed() < PATIENCE)?;
        thread::yield_now();
    }
    match ending {
        Ending::Killed => child.kill()?,
        Ending::GoesOn => {
            stall.end()?;
            end.reach()?;
            return child.succeed().and_then(|()| await_gauges(before));
        }
        Ending::Unbound => {
            bind("unbind", &stall.device)?;
            let ended = end.reach().and_then(|()| child.succeed());
            return bind("bind", &stall.device).and(ended);
        }
        Ending::Exits | Ending::Execs | Ending::Closes => {
            end.reach()?;
            child.succeed()?;
        }
    }
    // It is gone although others would still be held up.
    await_gauges(before)?;
    stall.end()
}

/// The process: has a fault, and ends when it is told.
fn live(ending: Ending, ready: &Signpost, go: &Signpost, end: &Signpost) -> Outcome {
    let device = raw_queue::open()?;
    let memory = Region::small_pages(PAGES * PAGE)?;
    let mut queue = RawQueue::new(&device, 4)?;
    // SAFETY: it does nothing. The ring's own faults are over then.
    unsafe { queue.run(commands::nop()) }?;
    ready.reach()?;
    go.wait()?;
    let ones = u64::from_ne_bytes([1; 8]);
    let fill = commands::fill(memory.address(), memory.len() as u64, ones);
    // SAFETY: the memory stays until the queue is gone, and is looked at when the
    // command has ended.
    let index = unsafe { queue.post(commands::interrupting(fill)) };
    queue.ring();
    end.wait()?;
    match ending {
        Ending::Killed => Ok(()),
        Ending::Exits => exit_now(0),
        Ending::Execs => Err(Command::new("true").exec().into()),
        Ending::Closes => {
            drop(queue);
            drop(device);
            Ok(())
        }
        Ending::Unbound => match queue.finish(index) {
            // A fault that no longer waits may still be answered.
            Ok(completion) => expect("it ends well", completion.status == abi::STATUS_OK),
            Err(Errno::ENODEV) => Ok(()),
            Err(error) => Err(error.into()),
        },
        Ending::GoesOn => {
            let completion = queue.finish(index)?;
            expect("the command ends well", completion.status == abi::STATUS_OK)?;
            expect("the device wrote all", memory.iter().all(|&byte| byte == 1))
        }
    }
}

/// The device holds faults up; no longer once this is dropped.
struct Stall {
    /// The device's PCI address.
    device: String,
    file: PathBuf,
}

impl Stall {
    fn at(stage: &str) -> Result<Self, Failure> {
        const FOLDER: &str = "/sys/kernel/debug/farfault";
        let folder = fs::read_dir(FOLDER)?.next().ok_or("there is no device")??;
        let device = folder.file_name().to_string_lossy().into_owned();
        let stall = Self { device, file: folder.path().join("stall") };
        stall.set(stage)?;
        Ok(stall)
    }

    fn set(&self, stage: &str) -> Outcome {
        let written = fs::write(&self.file, stage);
        written.map_err(|error| format!("{}: {error}", self.file.display()).into())
    }

    fn end(self) -> Outcome {
        self.set("none")
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        // The file is not there if the driver was unbound.
        let _ = self.set("none");
    }
}

/// Unbinds or binds the driver.
fn bind(what: &str, device: &str) -> Outcome {
    kernel_files::write(&format!("/sys/bus/pci/drivers/farfault/{what}"), device)
}
