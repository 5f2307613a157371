// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rings and completion records that cost the queue, but nothing else.

use crate::rig::{Rig, nop};
use farfault_client::raw::descriptor::Descriptor;
use farfault_client::raw::uapi::{QueueCreate, Wait};
use farfault_client::raw::{Kernel, Mapping};
use farfault_guest_programs::counters::growth;
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, PAGE, Region, nowhere};
use nix::errno::Errno;

pub fn wild_tail() -> Outcome {
    for tail in [17, 1 << 31, u32::MAX] {
        let mut rig = Rig::new()?;
        rig.queue.set_tail(tail);
        rig.is_halted().map_err(|why| format!("tail {tail}: {why}"))?;
    }
    Ok(())
}

pub fn wild_completion() -> Outcome {
    let mut rig = Rig::new()?;
    for completion in [nowhere(PAGE)?, 1 << 47, 1 << 48, 0xffff_8000_0000_0000] {
        rig.submit(&Descriptor { completion, fence: 1, ..nop() });
        rig.is_halted().map_err(|why| format!("completion at {completion:#x}: {why}"))?;
    }
    Ok(())
}

pub fn misaligned_completion() -> Outcome {
    let mut rig = Rig::new()?;
    let region = Region::anonymous(PAGE)?;
    for offset in [1, 8, 32] {
        let completion = region.address() + offset;
        rig.submit(&Descriptor { completion, fence: 1, ..nop() });
        rig.is_halted().map_err(|why| format!("completion at {completion:#x}: {why}"))?;
    }
    expect("nothing was written", region.iter().all(|&byte| byte == 0))
}

pub fn ring_without_access() -> Outcome {
    let mut rig = Rig::new()?;
    let ring = Region::anonymous(PAGE)?;
    let mut create = QueueCreate { ring: ring.address(), entries: 4, ..QueueCreate::default() };
    create_queue(&rig, &mut create)?;
    ring.protect(0, PAGE, Access::None)?;
    rig.device.doorbell(create.doorbell)?.ring();
    let word = Mapping::anonymous(PAGE)?;
    let wait = Wait { queue: create.queue, address: word.address(), value: 1, ..Wait::default() };
    expect_equal("WAIT on it", &rig.device.wait(&wait), &Err(Errno::EIO))?;
    rig.device.queue_destroy(create.queue)?;
    rig.still_works()
}

pub fn new_queue_after_a_halt() -> Outcome {
    let mut rig = Rig::new()?;
    let halted = growth("queues_halted", || {
        (0..100).try_for_each(|_| {
            rig.queue.set_tail(1000);
            rig.is_halted()
        })
    })?;
    expect_equal("queues halted", &halted, &100)
}

#[allow(unsafe_code, reason = "the ring is taken away on purpose")]
fn create_queue(rig: &Rig, create: &mut QueueCreate) -> nix::Result<()> {
    // SAFETY: the ring's region is not used but as a ring, and outlives the queue.
    unsafe { rig.device.queue_create(create) }
}
