// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device loses all that it knows: queues are lost, and their owners told; what is in
//! memory, and contexts opened afterwards, go on.

use farfault_client::raw::{DeviceFile, descriptor as abi};
use farfault_guest_programs::kernel_files::{read, write};
use farfault_guest_programs::ktap::{Outcome, Skip, expect, expect_equal};
use farfault_guest_programs::memory::{PAGE, Region};
use farfault_guest_programs::raw_queue::{self, RawQueue};
use farfault_guest_programs::sysfs::{self, forbid_bus_mastering, set_parameter};
use farfault_guest_programs::{Failure, commands};
use nix::errno::Errno;
use std::sync::Arc;
use std::thread;

const PAGES: usize = 16;
/// Nanoseconds in which it must be known that a queue is lost.
const PATIENCE: u64 = 20_000_000_000;

/// A context whose device has filled memory and is at work for ever.
struct Rig {
    device: Arc<DeviceFile>,
    queue: RawQueue,
    memory: Region,
    busy: RawQueue,
    _list: Region,
}

impl Rig {
    fn new() -> Result<Self, Failure> {
        let device = raw_queue::open()?;
        let mut rig = Self {
            queue: RawQueue::new(&device, 4)?,
            memory: Region::small_pages(PAGES * PAGE)?,
            busy: RawQueue::new(&device, 4)?,
            _list: Region::small_pages(PAGE)?,
            device,
        };
        rig.fill(1)?;
        // A node that is its own successor.
        let node = rig._list.address();
        rig._list[..8].copy_from_slice(&node.to_ne_bytes());
        // SAFETY: it reads a page that is there as long as the queue.
        unsafe { rig.busy.post(commands::interrupting(commands::chase(node))) };
        rig.busy.ring();
        Ok(rig)
    }

    fn fill(&mut self, value: u8) -> Outcome {
        let (start, length) = (self.memory.address(), self.memory.len() as u64);
        let fill = commands::fill(start, length, u64::from_ne_bytes([value; 8]));
        // SAFETY: the memory is looked at when the command has ended.
        let done = unsafe { self.queue.run(fill) }?;
        expect_equal("status", &done.status, &abi::STATUS_OK)?;
        expect("all of it is written", self.memory.iter().all(|&byte| byte == value))
    }

    /// The device was lost and is there again.
    fn judge(mut self) -> Outcome {
        expect_equal("a wait for the queue that worked", &lost(&self.busy)?, &Err(Errno::EIO))?;
        expect_equal("for the one that was idle", &lost(&self.queue)?, &Err(Errno::EIO))?;
        self.queue.destroy()?;
        self.queue = RawQueue::new(&self.device, 4)?;
        self.fill(2)?;
        drop(self);
        Rig::new()?.fill(3)
    }
}

/// What a wait for a fence that never comes ends with.
fn lost(queue: &RawQueue) -> Result<nix::Result<()>, Failure> {
    let deadline = raw_queue::now()? + PATIENCE;
    Ok(queue.wait(queue.ring.record_address(0), u64::MAX >> 1, deadline))
}

pub fn reset() -> Outcome {
    let rig = Rig::new()?;
    sysfs::reset()?;
    rig.judge()
}

/// Others submit, create queues and fault meanwhile: each call ends, well or with EIO.
pub fn reset_while_it_works() -> Outcome {
    let fine = |result: Outcome| match result {
        Err(why) if !why.to_string().contains("EIO") => Err(why),
        _ => Ok(()),
    };
    thread::scope(|scope| {
        let workers = [0, 1].map(|_| {
            scope.spawn(move || -> Result<(), String> {
                for value in 0..40 {
                    let turn = Rig::new().and_then(|mut rig| rig.fill(value));
                    fine(turn).map_err(|why| why.to_string())?;
                }
                Ok(())
            })
        });
        for _ in 0..10 {
            sysfs::reset()?;
        }
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        Rig::new()?.fill(4)
    })
}

/// It does not answer: who waits is let go in a time that is known.
pub fn off_the_bus() -> Outcome {
    let rig = Rig::new()?;
    let _timeout = set_parameter("command_timeout", 1)?;
    forbid_bus_mastering()?;
    // Whatever becomes of it, the driver has to wait for the device here.
    let created = RawQueue::new(&rig.device, 4).map(drop);
    expect("it is created or refused", matches!(created, Ok(()) | Err(Errno::EIO)))?;
    expect_equal("a wait for the queue that worked", &lost(&rig.busy)?, &Err(Errno::EIO))?;
    let refused = RawQueue::new(&rig.device, 4).map(drop);
    expect_equal("a new queue meanwhile", &refused, &Err(Errno::EIO))?;
    sysfs::reset()?;
    rig.judge()
}

/// To disk, and back from what is written there, in one go.
pub fn hibernated() -> Outcome {
    if read("/proc/swaps")?.lines().count() < 2 {
        return Err(Skip("there is no swap".to_owned()).into());
    }
    let rig = Rig::new()?;
    write("/sys/power/disk", "test_resume")?;
    write("/sys/power/state", "disk")?;
    rig.judge()
}
