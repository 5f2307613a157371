// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rule 1 for the IOMMU: once its invalidation returns, a frame that an address
//! no longer leads to is its new owner's alone.

use crate::dma::Stretch;
use crate::gate::Gate;
use crate::platform::Platform;
use crate::ram::{Dma, Place};
use crate::refusal::Refusal;
use crate::tlb::{Owner, Tlb};
use crate::vram::Vram;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::iter;
use std::sync::Arc;
use vm_memory::GuestMemoryMmap;

const PASID: u32 = 1;
const VA: u64 = 0x1000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// The engine goes on with the TLB that it has.
    DoesNotFollow,
    /// The command processor asks the IOMMU before it is through the gate.
    AsksOutside,
    /// The frame is reused without an invalidation.
    NoInvalidation,
    /// The invalidation comes before the IOMMU's entry changes.
    InvalidatesFirst,
}

struct Nothing;

impl Platform for Nothing {
    fn memory(&self) -> Arc<GuestMemoryMmap> {
        Arc::new(GuestMemoryMmap::new())
    }

    fn signal(&self, _: u16) {}

    fn refused(&self, _: &Refusal) {}
}

struct World {
    gate: Gate,
    /// The IOMMU's entry: the number of a frame.
    entry: AtomicUsize,
    frames: [UnsafeCell<u32>; 2],
}

/// Memory is where its addresses say.
fn frames(stretch: Stretch) -> Place {
    Place { start: stretch.start, bytes: stretch.last - stretch.start + 1 }
}

/// Accesses the page, twice so that the second may hit in the TLB.
fn engine(world: &World, bug: Bug) {
    let mut tlb = Tlb::with_entries([1, 1, 1], 1, 0);
    for _ in 0..2 {
        let plane = world.gate.pass(None).unwrap();
        if bug != Bug::DoesNotFollow {
            tlb.follow(&plane.unmapped, |stretch| iter::once(frames(*stretch)));
        }
        let hit = tlb.lookup(Owner::new(PASID), VA, false).copied();
        let frame = hit.unwrap_or_else(|| {
            let frame = world.entry.load(Ordering::Acquire);
            tlb.fill(Owner::new(PASID), VA, 0, false, frame);
            frame
        });
        world.frames[frame].with(|_| ());
        drop(plane);
    }
}

/// Accesses the page as rings are accessed: no answer is kept.
fn commands(world: &World, bug: Bug) {
    let early = world.entry.load(Ordering::Acquire);
    let plane = world.gate.pass(None).unwrap();
    let late = world.entry.load(Ordering::Acquire);
    let frame = if bug == Bug::AsksOutside { early } else { late };
    world.frames[frame].with(|_| ());
    drop(plane);
}

/// Has the address lead to the other frame, after which the first is free.
fn remap(world: &World, bug: Bug) {
    let first = Stretch { start: 0, last: 0xfff };
    let invalidate = || world.gate.change(|plane| plane.unmapped.push(first));
    if bug == Bug::InvalidatesFirst {
        invalidate();
    }
    world.entry.store(1, Ordering::Release);
    if !matches!(bug, Bug::InvalidatesFirst | Bug::NoInvalidation) {
        invalidate();
    }
    world.frames[0].with_mut(|_| ());
}

fn model(devices: &'static [fn(&World, Bug)], bug: Bug) {
    super::explore(3, move || {
        let world = Arc::new(World {
            gate: Gate::new(Dma::new(&Nothing), Vram::default()),
            entry: AtomicUsize::new(0),
            frames: [UnsafeCell::new(0), UnsafeCell::new(0)],
        });
        world.gate.change(|plane| (plane.enabled, plane.bus_master) = (true, true));
        let devices: Vec<_> = devices
            .iter()
            .map(|device| {
                let world = world.clone();
                thread::spawn(move || device(&world, bug))
            })
            .collect();
        remap(&world, bug);
        devices.into_iter().for_each(|device| device.join().unwrap());
    });
}

#[test]
fn an_engine_and_the_command_processor_follow_the_iommu() {
    model(&[engine, commands], Bug::None);
}

finds! {
    finds_an_engine_that_does_not_follow: model(&[engine], Bug::DoesNotFollow), "Causality violation";
    finds_an_answer_from_outside_the_gate: model(&[commands], Bug::AsksOutside), "Causality violation";
    finds_a_missing_iommu_invalidation: model(&[engine], Bug::NoInvalidation), "Causality violation";
    finds_an_iommu_invalidation_before_the_change: model(&[engine], Bug::InvalidatesFirst), "Causality violation";
}
