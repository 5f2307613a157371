// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What ends all waiting.

use rustix::event::{EventfdFlags, eventfd};
use rustix::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Rung once, and heard for ever: by who looks, and by who polls.
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    event: OwnedFd,
}

impl Bell {
    /// One that is silent.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { rung: AtomicBool::new(false), event })
    }

    /// Rings it.
    pub fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        // Fails when it has rung very often.
        let _ = io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Whether it has been rung.
    pub fn has_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }
}

impl AsFd for Bell {
    /// Readable from the first ring on.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
