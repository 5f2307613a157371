// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One command that lasts while memory is changed: a walk in a circle.
#![allow(unsafe_code, reason = "gives the device addresses at which nothing may be")]

use crate::calls::{self, MAP_SHARED, READ_WRITE, Source, Span};
use crate::rig::{Answer, answer, deadline};
use farfault_client::raw::DeviceFile;
use farfault_guest_programs::memory::{PAGE, memory_file};
use farfault_guest_programs::pagemap::Pagemap;
use farfault_guest_programs::raw_queue::RawQueue;
use farfault_guest_programs::{Failure, commands};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A command under way: a walk along links, as long as they lead in a circle.
pub struct Walk {
    queue: RawQueue,
    /// A node that only this walk uses; made present, it shows that it has begun.
    block: Span,
}

/// What `RawQueue::post` has the first command of a queue leave in its record.
const FENCE: u64 = 1;

impl Walk {
    /// Starts a walk along the links from `first`, on a queue of its own.
    pub fn start(device: &Arc<DeviceFile>, first: u64) -> Result<Self, Failure> {
        let file = memory_file(PAGE as u64)?;
        file.write_all_at(&first.to_le_bytes(), 0)?;
        let page = PAGE as u64;
        let block = calls::map(page, page, READ_WRITE, MAP_SHARED, Source::File(&file))?;
        let mut queue = RawQueue::new(device, 2)?;
        // SAFETY: it only reads, and nothing refers to what it reads.
        unsafe { queue.post(commands::interrupting(commands::chase(block.start))) };
        queue.ring();
        let pagemap = Pagemap::own()?;
        while !pagemap.entry(block.start)?.is_present() {
            std::thread::yield_now();
        }
        Ok(Self { queue, block })
    }

    /// Whether it goes on.
    pub fn is_under_way(&self) -> bool {
        self.queue.ring.record(0, FENCE).is_none()
    }

    /// Returns how it ended: at an end of the links, or refused at an address.
    pub fn end(&self) -> Result<Answer, Failure> {
        self.queue
            .wait(self.queue.ring.record_address(0), FENCE, deadline()?)
            .map_err(|error| format!("the command under way does not end: {error}"))?;
        let record = self.queue.ring.record(0, FENCE).ok_or("WAIT returned before the fence")?;
        answer(&record, record.done)
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        // Nothing to do about a failure; the kernel takes both back at exit.
        let _ = self.queue.destroy();
        let _ = calls::unmap(self.block);
    }
}
