// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What vCPUs have met that a debugger waits for.

use crate::gdb::Hit;
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

pub struct Hits {
    met: Mutex<Vec<Hit>>,
    bell: EventFd,
}

impl Hits {
    pub fn new() -> io::Result<Arc<Hits>> {
        let bell = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        Ok(Arc::new(Hits { met: Mutex::default(), bell }))
    }

    /// A vCPU has met something.
    pub fn note(&self, vcpu: u8, dr6: u64) {
        self.met.lock().push(Hit { cpu: vcpu.into(), dr6 });
        self.ring();
    }

    /// There is something else to be heard of.
    pub fn ring(&self) {
        // Fails only when it rings already.
        let _ = self.bell.write(1);
    }

    /// All that was noted; the bell is silent then.
    pub fn take(&self) -> Vec<Hit> {
        let _ = self.bell.read();
        std::mem::take(&mut self.met.lock())
    }

    /// Readable while it rings.
    #[allow(unsafe_code)]
    pub fn bell(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the eventfd, which is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.bell.as_raw_fd()) }
    }
}
