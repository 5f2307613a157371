// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Atomic operations of a device that is not atomic to CPUs.

use crate::world::{DESTINATION, World, command, lookahead};
use farfault_abi::command::*;
use farfault_abi::descriptor::*;
use farfault_abi::fault::*;
use farfault_abi::pte::PTE_ATOMIC;
use farfault_abi::regs::{FEATURE_ATOMICS, REG_FEATURES};
use farfault_device_model::DeviceConfig;
use farfault_reference_driver::PAGE;

fn world() -> World {
    World::mapped(DeviceConfig { atomics: false, ..lookahead(1) })
}

fn add(addend: u64) -> Descriptor {
    Descriptor { operand: addend, ..command(OP_FETCH_ADD, 0) }
}

/// What the device asks for when it is to add.
fn asked(world: &mut World) -> Vec<(u64, u32, u32)> {
    world.submit(add(1));
    let of = |fault: &Fault| (fault.address, fault.access.into(), fault.reason.into());
    world.faults().iter().map(of).collect()
}

#[test]
fn a_device_says_what_it_is() {
    for atomics in [true, false] {
        let world = World::new(DeviceConfig { atomics, ..lookahead(1) });
        let features = world.driver.read32(REG_FEATURES);
        assert_eq!(u64::from(features) & FEATURE_ATOMICS != 0, atomics);
    }
}

#[test]
fn a_leaf_to_write_is_not_enough() {
    let mut world = world();
    // Nor is it that the TLB knows the page from a write.
    assert_eq!(world.run(command(OP_FILL, 64)).status, STATUS_OK);
    let all = ACCESS_READ | ACCESS_WRITE | ACCESS_ATOMIC;
    assert_eq!(asked(&mut world), [(DESTINATION, all, REASON_PERMISSION)]);
}

#[test]
fn a_page_is_taken_adds_and_is_given_back() {
    let mut world = world();
    let before = world.driver.read64(1, DESTINATION);
    for round in 0..3 {
        let record = world.check(add(5));
        assert_eq!((record.status, record.result), (STATUS_OK, before + 2 * 5 * round));
        // Once it has the page it asks no more.
        let groups = world.counters().fault_groups;
        assert_eq!((world.check(add(5)).status, groups), (STATUS_OK, round + 1));
        assert_eq!(world.counters().fault_groups, groups);
        // The CPU takes it back: the device may still write there, but not add.
        world.driver.take_away(1, DESTINATION, PAGE);
        world.driver.map(1, DESTINATION, PAGE, true);
        world.driver.settle();
        assert_eq!(
            world.run(Descriptor { destination: DESTINATION + 8, ..command(OP_FILL, 8) }).status,
            STATUS_OK
        );
    }
}

#[test]
fn a_leaf_to_read_alone_does_not_do() {
    let mut world = world();
    let at = world.driver.entry(1, DESTINATION, 0);
    let leaf = world.driver.machine.load(at) & !farfault_abi::pte::PTE_WRITE;
    world.driver.machine.store(at, leaf | PTE_ATOMIC);
    world.driver.invalidate(1, DESTINATION, PAGE);
    world.driver.settle();
    assert_eq!(asked(&mut world).len(), 1);
}

#[test]
fn a_page_that_cannot_be_had() {
    let mut world = world();
    world.submit(add(1));
    world.with_engine(|world, engine| {
        world.turn(engine);
        let group = world.driver.take_faults()[0].group;
        // Flags that contradict each other answer nothing.
        let right = RESPONSE_FAIL | RESPONSE_NO_ATOMIC;
        world.answer(group, &[RESPONSE_NO_ATOMIC, right | RESPONSE_NO_MEMORY, right]);
        world.turn(engine);
    });
    let record = world.record();
    assert_eq!((record.status, record.fault_address), (STATUS_NO_ATOMIC, DESTINATION));
    assert_eq!(world.counters().commands_bad, 2);
}
