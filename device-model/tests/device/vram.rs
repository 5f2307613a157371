// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of the device's own.

use crate::world::{DESTINATION, PAGES, SOURCE, World, command, commands, exhaust, lookahead};
use farfault_abi::descriptor::*;
use farfault_abi::fault::{REASON_PERMISSION, REASON_UNREACHABLE};
use farfault_abi::pte::*;
use farfault_abi::regs::REG_VRAM;
use farfault_device_model::{ConfigError, Device, DeviceConfig, MAX_VRAM};
use farfault_reference_driver::{FakeMachine, LARGE, PAGE};

const VRAM: u64 = 3 * LARGE;
const LEAF: u64 = PTE_VALID | PTE_LEAF | PTE_READ | PTE_WRITE | PTE_DEVICE;
/// Virtual addresses that lead there, with a table of every level of their own.
const OWN: u64 = (3 << 39) + (2 << 30) + (4 << 21);
const BYTES: u64 = PAGES * PAGE;

fn config() -> DeviceConfig {
    DeviceConfig { vram: VRAM, ..lookahead(1) }
}

/// All of system memory is there, and the tables for [`OWN`].
fn world() -> World {
    let mut world = World::new(config());
    world.driver.allocate(1, OWN, PAGE, PAGE);
    world.map_all();
    world
}

/// Has an address lead somewhere, and the device forget where it led before.
fn lead(world: &mut World, va: u64, level: u32, pte: u64) {
    let at = world.driver.entry(1, va, level);
    world.driver.machine.store(at, pte);
    world.driver.invalidate(1, va, LARGE);
    world.driver.settle();
}

/// Has the pages of [`OWN`] lead to device memory, the last page first.
fn lead_all(world: &mut World) {
    for page in 0..PAGES {
        lead(world, OWN + page * PAGE, 0, LEAF | ((PAGES - 1 - page) * PAGE));
    }
}

fn to_device() -> Descriptor {
    Descriptor { destination: OWN, ..command(OP_COPY, BYTES) }
}

fn from_device() -> Descriptor {
    Descriptor { source: OWN, ..command(OP_COPY, BYTES) }
}

#[test]
fn what_is_copied_there_comes_back() {
    let mut world = world();
    lead_all(&mut world);
    let before = world.counters();
    assert_eq!(world.run(to_device()).status, STATUS_OK);
    let there = world.counters();
    assert_eq!(there.device_bytes_written - before.device_bytes_written, BYTES);
    assert_eq!(there.bytes_written - before.bytes_written, BYTES);
    assert_eq!(there.device_bytes_read, before.device_bytes_read);
    assert_eq!(world.run(from_device()).status, STATUS_OK);
    assert!(world.is_copied(BYTES));
    let back = world.counters();
    assert_eq!(back.device_bytes_read - there.device_bytes_read, BYTES);
    assert_eq!(back.bytes_read - there.bytes_read, BYTES);
    assert_eq!(back.device_bytes_written, there.device_bytes_written);
    // A word at a time, known and not known to the TLB.
    let words = |world: &World| world.counters().device_bytes_read;
    let chase = Descriptor { source: OWN, operand: 0, ..command(OP_CHASE, 1) };
    for _ in 0..2 {
        let before = words(&world);
        world.run(chase);
        assert!(words(&world) > before);
    }
}

#[test]
fn a_large_leaf_is_one_walk() {
    let mut world = world();
    lead(&mut world, OWN, 1, LEAF | LARGE);
    world.with_engine(|world, engine| {
        let before = world.counters();
        for fence in [world.submit(to_device()), world.submit(from_device())] {
            exhaust(engine);
            assert!(world.record().fence >= fence.fence);
        }
        assert!(world.is_copied(BYTES));
        // The others are of system memory and of the ring.
        assert!(world.counters().walks - before.walks < 2 * PAGES + 10);
    });
}

/// The reason of the fault of a copy to [`OWN`].
fn refused(world: &mut World) -> u32 {
    world.submit(to_device());
    world.with_engine(|world, engine| {
        exhaust(engine);
        let faults = world.driver.take_faults();
        world.driver.respond(0, faults[0].group, true);
        world.turn(engine);
        faults[0].reason.into()
    })
}

#[test]
fn a_leaf_leads_nowhere_else() {
    let mut world = world();
    lead(&mut world, OWN, 0, LEAF | VRAM);
    assert_eq!(refused(&mut world), REASON_UNREACHABLE);
    lead(&mut world, OWN, 0, LEAF | PTE_ADDRESS);
    assert_eq!(refused(&mut world), REASON_UNREACHABLE);
    lead(&mut world, OWN, 0, LEAF & !PTE_WRITE);
    assert_eq!(refused(&mut world), REASON_PERMISSION);
    lead(&mut world, OWN, 1, LEAF | (VRAM - LARGE));
    assert_eq!(world.run(to_device()).status, STATUS_OK);
    lead(&mut world, OWN, 1, LEAF | VRAM);
    assert_eq!(refused(&mut world), REASON_UNREACHABLE);
}

/// Of a leaf of 1 GiB what is there can be used: three times 2 MiB.
#[test]
fn a_leaf_that_goes_beyond_the_end() {
    let mut world = world();
    lead(&mut world, OWN, 2, LEAF);
    let at = |va: u64| Descriptor { destination: va, ..command(OP_COPY, PAGE) };
    let first = OWN & !((1 << 30) - 1);
    assert_eq!(world.run(at(first + VRAM - PAGE)).status, STATUS_OK);
    world.submit(at(first + VRAM));
    world.with_engine(|world, engine| {
        exhaust(engine);
        let faults = world.driver.take_faults();
        assert_eq!(u32::from(faults[0].reason), REASON_UNREACHABLE);
        world.driver.respond(0, faults[0].group, true);
        world.turn(engine);
    });
}

#[test]
fn a_device_without_memory_has_none() {
    let mut world = World::new(lookahead(1));
    world.driver.allocate(1, OWN, PAGE, PAGE);
    world.map_all();
    lead(&mut world, OWN, 0, LEAF);
    assert_eq!(refused(&mut world), REASON_UNREACHABLE);
}

#[test]
fn an_iommu_has_no_say() {
    let (mut world, _) = World::behind_iommu(config(), 1 << 40);
    world.driver.allocate(1, OWN, PAGE, PAGE);
    world.driver.map(1, OWN, PAGE, true);
    lead_all(&mut world);
    assert_eq!(world.run(to_device()).status, STATUS_OK);
    assert_eq!(world.run(from_device()).status, STATUS_OK);
    assert!(world.is_copied(BYTES));
}

/// Other guest memory leaves it alone; a reset does not.
#[test]
fn a_reset_makes_it_zeroes() {
    let mut world = world();
    lead_all(&mut world);
    world.run(to_device());
    world.driver.device.memory_changed();
    assert_eq!(world.run(from_device()).status, STATUS_OK);
    assert!(world.is_copied(BYTES));
    world.driver.device.reset();
    world.driver.enable();
    world.driver.rebind(&world.queue);
    commands(&world);
    assert_eq!(world.run(from_device()).status, STATUS_OK);
    assert_eq!(world.driver.read(1, DESTINATION, BYTES), vec![0; BYTES as usize]);
    assert!(world.driver.read(1, SOURCE, BYTES).iter().any(|byte| *byte != 0));
}

#[test]
fn a_device_with_something_in_it_is_not_saved() {
    let mut world = world();
    lead_all(&mut world);
    world.driver.unbind(world.queue.number);
    assert!(world.driver.device.save().is_some());
    world.driver.rebind(&world.queue);
    commands(&world);
    world.run(to_device());
    world.driver.unbind(world.queue.number);
    assert!(world.driver.device.save().is_none());
}

#[test]
fn sizes() {
    let make = |vram| {
        Device::new(
            DeviceConfig { vram, ..DeviceConfig::default() },
            FakeMachine::new(&[(0, 1 << 20)]),
        )
    };
    for vram in [1, LARGE - PAGE, MAX_VRAM + LARGE] {
        assert_eq!(make(vram).err(), Some(ConfigError::Vram(vram)));
    }
    // Pages are the host's until they are touched.
    for vram in [0, LARGE, MAX_VRAM] {
        let mut bytes = [0; 8];
        make(vram).expect("made").read(REG_VRAM.into(), &mut bytes);
        assert_eq!(u64::from_le_bytes(bytes), vram);
    }
}

#[test]
fn copies_that_fail() {
    let mut world = faulty(DeviceConfig { failing_copies: 2, ..config() });
    assert_eq!(world.run(to_device()).status, STATUS_OK);
    for copy in [from_device(), to_device()] {
        let record = world.run(copy);
        assert_eq!((record.status, record.fault_address), (STATUS_FAULT, copy.destination));
        assert_eq!(record.done, 0);
    }
    // Others are not meant.
    assert_eq!(world.run(command(OP_COPY, BYTES)).status, STATUS_OK);
    assert_eq!(
        world.run(Descriptor { destination: OWN, ..command(OP_FILL, 64) }).status,
        STATUS_OK
    );
}

#[test]
fn a_copy_that_never_ends() {
    let mut world = faulty(DeviceConfig { stuck_copy: 1, ..config() });
    world.submit(command(OP_COPY, 0));
    let stuck = world.submit(to_device());
    world.driver.settle();
    assert_ne!(world.record().fence, stuck.fence);
    assert!(world.driver.take_faults().is_empty());
    // Its queue can be had again.
    world.driver.unbind(0);
    let queue = world.queue;
    world.driver.rebind(&queue);
    world.driver.settle();
    assert_eq!(world.run(to_device()).status, STATUS_OK);
}

fn faulty(config: DeviceConfig) -> World {
    let mut world = World::new(config);
    world.driver.allocate(1, OWN, PAGE, PAGE);
    world.map_all();
    lead_all(&mut world);
    world
}
