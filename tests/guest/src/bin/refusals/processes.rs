// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes that fork, die, or become another program while the device works
//! for them.
#![allow(unsafe_code, reason = "calls the driver from the wrong process")]

use crate::rig::{ENDLESS, Rig, await_presence, copy, endless, endless_ring, fill, open};
use farfault_client::raw::descriptor::Descriptor;
use farfault_client::raw::uapi::{Prefetch, QueueCreate, Wait};
use farfault_client::raw::{Kernel, RingMemory};
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::counters::{await_gauges, gauges, killed};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{PAGE, Region};
use farfault_guest_programs::pagemap::Pagemap;
use nix::errno::Errno;
use std::os::unix::process::CommandExt;
use std::process::Command;

pub fn ioctls_of_a_forked_child() -> Outcome {
    let mut rig = Rig::new()?;
    rig.still_works()?;
    Child::start(|| {
        let device = &rig.device;
        let ring = RingMemory::new(16, 0)?;
        let mut create =
            QueueCreate { ring: ring.address(), entries: 16, ..QueueCreate::default() };
        // SAFETY: refused.
        let created = unsafe { device.queue_create(&mut create) };
        let number = rig.queue.number;
        let wait = Wait { queue: number, address: ring.address(), ..Wait::default() };
        let prefetch = Prefetch { address: ring.address(), length: 128, ..Prefetch::default() };
        let eperm = Err(Errno::EPERM);
        expect_equal("INFO", &device.info().map(drop), &eperm)?;
        expect_equal("QUEUE_CREATE", &created, &eperm)?;
        expect_equal("QUEUE_DESTROY", &device.queue_destroy(number), &eperm)?;
        expect_equal("WAIT", &device.wait(&wait), &eperm)?;
        expect_equal("PREFETCH", &device.prefetch(&prefetch), &eperm)?;
        expect("no doorbell", device.doorbell(rig.queue.doorbell_offset).is_err())?;
        Rig::new()?.still_works() // a context of its own
    })?
    .succeed()?;
    rig.still_works()
}

/// Starts a child that has the device go in circles in `ring` and fault all over
/// a large region, ends it with `end`, and expects everything of it to go away.
fn ends_while_working(
    end: impl FnOnce(&Signpost) -> Outcome,
    ended: impl FnOnce(Child) -> Outcome,
) -> Outcome {
    let mut bystander = Rig::new()?;
    let before = gauges()?;
    let ring = endless_ring()?;
    let large = Region::small_pages(64 << 20)?;
    let (working, never) = (Signpost::new()?, Signpost::new()?);
    let child = Child::start(|| {
        let device = open()?;
        let mut rigs = Vec::new();
        for command in [endless(&ring), fill(large.address(), large.len() as u64, 1)] {
            let queue = farfault_guest_programs::raw_queue::RawQueue::new(&device, 4)?;
            rigs.push(Rig { device: device.clone(), queue });
            if let Some(rig) = rigs.last_mut() {
                rig.submit(&Descriptor { completion: rig.queue.ring.record_address(0), ..command });
            }
        }
        let pagemap = Pagemap::own()?;
        await_presence(&pagemap, &ring)?;
        await_presence(&pagemap, &large)?;
        working.reach()?;
        end(&never)
    })?;
    working.wait()?;
    ended(child)?;
    await_gauges(before)?;
    bystander.still_works()
}

pub fn killed_while_faulting() -> Outcome {
    ends_while_working(Signpost::wait, Child::kill)
}

pub fn killed_while_waiting() -> Outcome {
    let mut bystander = Rig::new()?;
    killed(|working, _| {
        let mut rig = Rig::new()?;
        let _ring = rig.start_endless()?;
        working.reach()?;
        rig.queue.wait(rig.queue.ring.record_address(0), ENDLESS, 0)?;
        Err("an endless command ended".into())
    })?;
    bystander.still_works()
}

pub fn exit_while_working() -> Outcome {
    ends_while_working(|_| Ok(()), Child::succeed)
}

pub fn exec_while_working() -> Outcome {
    let executed = |child: Child| expect_equal("exit code", &child.wait()?, &7);
    let execute = |_: &Signpost| Err(Command::new("sh").args(["-c", "exit 7"]).exec().into());
    ends_while_working(execute, executed)
}

pub fn closed_while_working() -> Outcome {
    let mut bystander = Rig::new()?;
    let before = gauges()?;
    let mut rig = Rig::new()?;
    let ring = rig.start_endless()?;
    drop(rig);
    drop(ring);
    await_gauges(before)?;
    bystander.still_works()
}

pub fn fork_parts_parent_and_child() -> Outcome {
    let mut rig = Rig::new()?;
    let bytes = 4 * PAGE as u64;
    let mut memory = Region::small_pages(4 * PAGE)?;
    let copied = Region::small_pages(4 * PAGE)?;
    let all = |region: &Region, value: u8| region.iter().all(|&byte| byte == value);
    let (address, target) = (memory.address(), copied.address());
    rig.done("a fill", fill(address, bytes, u64::from_le_bytes([1; 8])))?;

    let (parent_wrote, child_wrote, parent_looked) =
        (Signpost::new()?, Signpost::new()?, Signpost::new()?);
    let child = Child::start(|| {
        parent_wrote.wait()?;
        expect("the child keeps what was there at the fork", all(&memory, 1))?;
        memory.fill(3);
        child_wrote.reach()?;
        parent_looked.wait()?;
        let mut rig = Rig::new()?;
        rig.run(copy(address, target, bytes))?;
        expect("the device sees the child's memory for the child", all(&copied, 3))
    })?;
    rig.run(fill(address, bytes, u64::from_le_bytes([2; 8])))?;
    expect("the parent sees what its device wrote", all(&memory, 2))?;
    parent_wrote.reach()?;
    child_wrote.wait()?;
    rig.run(copy(address, target, bytes))?;
    expect("the device sees the parent's memory for the parent", all(&copied, 2))?;
    parent_looked.reach()?;
    child.succeed()?;
    rig.still_works()
}
