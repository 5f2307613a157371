// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes that fork, die, or close the file while the device works for them.
#![allow(unsafe_code, reason = "closes a file that another thread uses")]

use farfault_guest_programs::Failure;
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::counters::{await_gauges, gauges};
use farfault_guest_programs::dmirror::{Node, READ, SNAPSHOT, WRITE, numbered, pages};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{MADV_DONTNEED, PAGE, Region, allow_huge_pages};
use nix::errno::Errno;
use nix::libc;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Sender, channel};
use std::thread;

pub fn ioctls_of_a_forked_child() -> Outcome {
    let node = Node::open(0)?;
    let region = numbered(1, 1)?;
    Child::start(|| {
        for number in [READ, WRITE, SNAPSHOT] {
            let found = node.call(number, region.address(), region.address(), 1);
            expect_equal(&format!("command {number}"), &found, &Err(Errno::EPERM))?;
        }
        Node::open(0)?.still_works() // a mirror of its own
    })?
    .succeed()?;
    node.still_works()
}

/// Has a child's device write to what it got from its parent; the region is given
/// back as the parent sees it then.
fn written_by_a_child(mut region: Region, old: &Region, new: &Region) -> Result<Region, Failure> {
    region.copy_from_slice(old);
    let (address, all) = (region.address(), pages(&region));
    Child::start(|| {
        expect("the child has what its parent wrote", region[..] == old[..])?;
        let done = Node::open(0)?.call(WRITE, address, new.address(), all)?;
        expect_equal("rounds of faults", &done.faults, &1)?;
        expect("the child sees what its device wrote", region[..] == new[..])
    })?
    .succeed()?;
    Ok(region)
}

/// The first half of the selftest's case `anon_write_child`; the second migrates.
pub fn a_child_breaks_cow() -> Outcome {
    allow_huge_pages()?;
    let (old, new) = (numbered(512, 1)?, numbered(512, 2)?);
    for region in [Region::small_pages(512 * PAGE)?, Region::huge_pages(512 * PAGE)?] {
        let region = written_by_a_child(region, &old, &new)?;
        expect("the parent keeps what it wrote", region[..] == old[..])?;
    }
    Ok(())
}

pub fn a_child_shares() -> Outcome {
    let (old, new) = (numbered(300, 1)?, numbered(300, 2)?);
    let region = written_by_a_child(Region::shared_anonymous(300 * PAGE)?, &old, &new)?;
    expect("the parent sees what its child's device wrote", region[..] == new[..])
}

/// Commands without end, for memory that is fresh each time; `begun` is called once
/// the first has been done.
fn work(node: &Node, begun: impl FnOnce() -> Outcome) -> Outcome {
    let mut region = Region::small_pages(4096 * PAGE)?;
    let data = Region::small_pages(region.len())?;
    node.write(&mut region, &data)?;
    begun()?;
    loop {
        region.advise(MADV_DONTNEED)?;
        node.write(&mut region, &data)?;
    }
}

/// Each begins while what was its predecessor's may still be going away.
pub fn killed_in_a_command() -> Outcome {
    let before = gauges()?;
    for _ in 0..5 {
        let working = Signpost::new()?;
        let child = Child::start(|| work(&Node::open(0)?, || working.reach()))?;
        working.wait()?;
        child.kill()?;
    }
    await_gauges(before)?;
    Node::open(0)?.still_works()
}

pub fn exit_in_a_command() -> Outcome {
    let before = gauges()?;
    Child::start(|| {
        let node = Node::open(0)?;
        let (begin, begun) = channel();
        thread::spawn(move || work(&node, || Ok(begin.send(())?)).is_ok());
        Ok(begun.recv()?) // and exits, with the thread at work
    })?
    .succeed()?;
    await_gauges(before)?;
    Node::open(0)?.still_works()
}

/// Reads until that is refused, and tells when it has been done once.
fn read_until_refused(node: &Node, begun: &Sender<()>) -> Result<Errno, Failure> {
    let region = numbered(1000, 1)?;
    let mut back = Region::small_pages(region.len())?;
    loop {
        match node.read(&region, &mut back) {
            Ok(_) => begun.send(())?,
            Err(error) => return Ok(error),
        }
    }
}

pub fn closed_in_a_command() -> Outcome {
    let before = gauges()?;
    let node = ManuallyDrop::new(Node::open(0)?);
    let (begin, begun) = channel();
    let refused = thread::scope(|threads| {
        let node = &node;
        let worker = threads.spawn(move || read_until_refused(node, &begin));
        let first = begun.recv();
        // SAFETY: closed only here, and this process opens nothing until the thread has ended.
        unsafe { libc::close(node.0.as_raw_fd()) };
        let ended = worker.join().unwrap_or_else(|_| Err("the thread panicked".into()));
        first.map_err(Failure::from).and(ended)
    })?;
    expect_equal("what ended the thread", &refused, &Errno::EBADF)?;
    await_gauges(before)?;
    Node::open(0)?.still_works()
}
