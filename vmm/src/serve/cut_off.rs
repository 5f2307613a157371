// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files of a client that become shorter while they are mapped.
//!
//! Who touches what is no longer there gets SIGBUS. The handler puts a page of nothing in its
//! place, and notes it: the access goes on, and the client is seen off soon after. Anything
//! else that raises the signal ends the process, as it would without us.
#![allow(unsafe_code)] // A signal handler, and a mapping at an address that it was given.

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Mappings that can be watched at a time, in the whole process.
const SLOTS: usize = 1024;
const PAGE: usize = 4096;

struct Slot {
    start: AtomicUsize,
    /// 0 if nothing is watched.
    length: AtomicUsize,
    taken: AtomicBool,
    seen: AtomicBool,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        length: AtomicUsize::new(0),
        taken: AtomicBool::new(false),
        seen: AtomicBool::new(false),
    }
}; SLOTS];

/// A mapping that is watched as long as this lives. Nothing is to touch it afterwards.
#[derive(Debug)]
pub struct Watch(usize);

/// Watches a mapping of a file; none if there are too many.
pub fn watch(start: usize, length: usize) -> Option<Watch> {
    let free = |slot: &Slot| !slot.taken.swap(true, Ordering::AcqRel);
    let (number, slot) = TABLE.iter().enumerate().find(|(_, slot)| free(slot))?;
    slot.seen.store(false, Ordering::Relaxed);
    slot.start.store(start, Ordering::Relaxed);
    slot.length.store(length, Ordering::Release);
    Some(Watch(number))
}

impl Watch {
    /// Whether a place was touched that the file no longer has.
    pub fn has_seen_one(&self) -> bool {
        TABLE.get(self.0).is_some_and(|slot| slot.seen.load(Ordering::Acquire))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(slot) = TABLE.get(self.0) {
            slot.length.store(0, Ordering::Release);
            slot.taken.store(false, Ordering::Release);
        }
    }
}

/// Has the process survive the signal where a mapping is watched.
pub fn install() -> nix::Result<()> {
    let action = SigAction::new(
        SigHandler::SigAction(on_bus_error),
        SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK,
        SigSet::empty(),
    );
    // SAFETY: the handler uses nothing but atomics and system calls that a handler may make.
    unsafe { sigaction(Signal::SIGBUS, &action) }.map(drop)
}

extern "C" fn on_bus_error(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes one that is valid until the handler returns.
    let info = unsafe { &*info };
    // SAFETY: of the signals that this handles all have an address.
    let address = unsafe { info.si_addr() } as usize;
    let slot = TABLE.iter().find(|slot| slot.holds(address));
    if !slot.is_some_and(|slot| slot.patch(address & !(PAGE - 1))) {
        die_of_it();
    }
}

impl Slot {
    fn holds(&self, address: usize) -> bool {
        let length = self.length.load(Ordering::Acquire);
        address.wrapping_sub(self.start.load(Ordering::Relaxed)) < length
    }

    /// Puts a page of nothing where the file has none; whether that could be done.
    fn patch(&self, page: usize) -> bool {
        self.seen.store(true, Ordering::Release);
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
        );
        // SAFETY: the page lies in a mapping of guest memory, which this process reaches by
        // volatile access only and expects nothing of.
        let put =
            unsafe { libc::mmap(ptr::without_provenance_mut(page), PAGE, access, kind, -1, 0) };
        put != libc::MAP_FAILED
    }
}

/// Returning makes the same access again, and then nobody handles the signal.
fn die_of_it() {
    // SAFETY: a handler may make this call.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
}
