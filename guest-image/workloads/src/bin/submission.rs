// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `submission [TEST…]`: a guest program that shows what handing a command to
//! the device costs: no system call. Prints KTAP.
//!
//! A child makes its queue and then enters seccomp's strict mode, in which any
//! system call but read, write and exit kills it. Between the marks `ready` and
//! `submitted` it submits and polls, so the host can tell what that cost there.
#![allow(unsafe_code, reason = "prctl, and a queue without the client library's care")]

use farfault_client::Device;
use farfault_client::raw::DeviceFile;
use farfault_client::raw::descriptor::{Descriptor, OP_NOP};
use farfault_workloads::children::{Child, Signpost};
use farfault_workloads::ktap::{self, Outcome, Test, expect};
use farfault_workloads::marks::mark;
use farfault_workloads::raw_queue::RawQueue;
use farfault_workloads::{Failure, tests};
use nix::errno::Errno;
use nix::libc;
use std::io::{Read, Write, pipe};
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Commands to submit, one after another.
const COMMANDS: u32 = 1000;

const TESTS: &[Test] = tests![no_system_call::is_made, no_system_call::would_go_unnoticed];

fn main() -> ExitCode {
    ktap::main(TESTS)
}

mod no_system_call {
    use super::*;

    pub fn is_made() -> Outcome {
        let (ready, go) = (Signpost::new()?, Signpost::new()?);
        let (mut done, child_done) = pipe()?;
        let child = Child::start(|| {
            let mut queue =
                RawQueue::new(&Arc::new(DeviceFile::open(Path::new(Device::PATH))?), 64)?;
            // Once around the ring, so that none of it is a far fault any more.
            submit_and_poll(&mut queue, 0..64);
            ready.reach()?;
            enter_strict_mode()?;
            go.wait()?;
            submit_and_poll(&mut queue, 64..64 + COMMANDS);
            (&child_done).write_all(b"!")?;
            // Even leaving is a system call that is not allowed; the parent ends this.
            go.wait()
        })?;
        ready.wait()?;
        mark("ready")?;
        go.reach()?;
        // With the child's the only writing end, its death ends the wait too.
        drop(child_done);
        done.read_exact(&mut [0]).map_err(|_| "a system call was made, and killed the child")?;
        mark("submitted")?;
        child.kill()
    }

    /// The mode does what the test above relies on.
    pub fn would_go_unnoticed() -> Outcome {
        let child = Child::start(|| {
            enter_strict_mode()?;
            let _ = nix::unistd::getppid();
            Ok(())
        })?;
        let ended = child.wait();
        expect("a system call kills", ended.is_err_and(|why| why.to_string().contains("SIGKILL")))
    }
}

/// Submits the commands with these ring indices, each when the one before is done.
fn submit_and_poll(queue: &mut RawQueue, indices: Range<u32>) {
    for index in indices {
        let fence = u64::from(index) + 1;
        let completion = queue.ring.record_address(index);
        let nop = Descriptor { opcode: OP_NOP as u8, completion, fence, ..Descriptor::default() };
        // SAFETY: a nop touches nothing but its completion record, which the queue owns.
        unsafe { queue.submit(&nop) };
        while queue.ring.record(index, fence).is_none() {
            std::hint::spin_loop();
        }
    }
}

fn enter_strict_mode() -> Result<(), Failure> {
    // SAFETY: takes no pointers.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
    Errno::result(result)?;
    Ok(())
}
