// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `submission [TEST…]`: submitting a command and seeing it done takes no system
//! call; and, between the marks `ready` and `submitted`, nothing but that is
//! done, so that the host can count what it costs. Prints KTAP.
#![allow(unsafe_code, reason = "gives system calls up for good")]

use farfault_client::{Device, Error, Queue};
use farfault_guest_programs::children::{Child, end_thread};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::{marks, test_program};
use nix::errno::Errno;
use nix::libc;
use std::sync::atomic::{AtomicU64, Ordering};

test_program![no_system_call, between_marks,];

/// Commands that a test submits.
const COMMANDS: u64 = 2000;
/// Of those, how many at once.
const AT_ONCE: u64 = 50;

/// Submits the commands, and looks at memory until they are done.
fn submit_all(queue: &mut Queue, word: &AtomicU64) -> Result<(), Error> {
    for _ in 0..COMMANDS / AT_ONCE {
        queue.scope(|s| {
            for _ in 1..AT_ONCE {
                let _ = s.fetch_add(word, 1)?;
            }
            let last = s.fetch_add(word, 1)?;
            while !last.is_done() {
                std::hint::spin_loop();
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// A child that would be killed at any system call but read, write and exit.
fn no_system_call() -> Outcome {
    Child::start(|| {
        let mut queue = Device::open()?.queue(64)?;
        let word = AtomicU64::new(0);
        // The first time, memory is allocated and the doorbell page entered.
        submit_all(&mut queue, &word)?;
        // SAFETY: only forbids.
        Errno::result(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) })?;
        let result = submit_all(&mut queue, &word);
        let right = result.is_ok() && word.load(Ordering::Acquire) == 2 * COMMANDS;
        // exit_group is forbidden.
        end_thread(i32::from(!right))
    })?
    .succeed()
}

fn between_marks() -> Outcome {
    let mut queue = Device::open()?.queue(64)?;
    let word = AtomicU64::new(0);
    submit_all(&mut queue, &word)?;
    marks::mark("ready")?;
    let result = submit_all(&mut queue, &word);
    marks::mark("submitted")?;
    expect("all commands succeed", result.is_ok())?;
    expect_equal("sum", &word.load(Ordering::Acquire), &(2 * COMMANDS))
}
