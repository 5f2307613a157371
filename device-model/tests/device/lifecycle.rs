// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reset, disabling and bus mastering, at any moment.

use crate::world::{DESTINATION, PAGES, World, command, commands, exhaust, lookahead};
use farfault_abi::descriptor::*;
use farfault_abi::fault::REASON_UNREACHABLE;
use farfault_abi::regs::*;
use farfault_device_model::{Counters, DeviceConfig, Engine, Platform, Step};
use farfault_reference_driver::{Driver, FakeMachine, PAGE, serve, settle, with_engines};
use std::sync::Arc;

/// A copy that has come `steps` steps far, on memory half of which is present.
fn begun(steps: usize, body: impl FnOnce(&mut World, &mut Engine<'_>)) -> World {
    let mut world = World::mapped(lookahead(4));
    for page in (0..PAGES).filter(|page| page % 3 == 0) {
        world.driver.unmap(1, DESTINATION + page * PAGE, PAGE);
    }
    world.submit(command(OP_COPY, PAGES * PAGE));
    world.with_engine(|world, engine| {
        for step in 0..steps {
            match step % 3 {
                0 => drop(engine.step()),
                1 => drop(world.driver.serve(&mut serve)),
                _ => drop(world.driver.device.step_commands()),
            }
        }
        body(world, engine);
    });
    world
}

fn is_quiet(world: &World, engine: &mut Engine<'_>) {
    let before = (world.counters(), world.driver.read(1, DESTINATION, PAGES * PAGE));
    for _ in 0..3 {
        assert_ne!(engine.step(), Step::Waiting);
        assert_ne!(world.driver.device.step_commands(), Step::Worked);
    }
    let quiet =
        |c: Counters| (c.bytes_read, c.bytes_written, c.sections, c.fault_groups, c.commands);
    assert_eq!(quiet(world.counters()), quiet(before.0));
    assert!(world.driver.read(1, DESTINATION, PAGES * PAGE) == before.1);
}

/// The device is set up from scratch and does its work.
fn works_again(world: &mut World) {
    world.driver.enable();
    world.driver.rebind(&world.queue);
    commands(world);
    assert_eq!(world.run(command(OP_COPY, PAGES * PAGE)).status, STATUS_OK);
    assert!(world.is_copied(PAGES * PAGE));
}

#[test]
fn reset_at_any_moment() {
    for steps in 0..40 {
        let mut world = begun(steps, |world, engine| {
            world.driver.device.doorbell(9);
            assert_ne!(world.driver.read32(REG_ERRORS), 0);
            world.driver.device.reset();
            is_quiet(world, engine);
            assert_eq!(world.driver.read32(REG_STATUS), 0);
            assert_eq!(world.driver.read32(REG_ERRORS), 0);
            world.driver.device.doorbell(0);
            assert_eq!(world.driver.read32(REG_ERRORS), ERR_DOORBELL);
            is_quiet(world, engine);
        });
        works_again(&mut world);
    }
}

#[test]
fn disable_at_any_moment() {
    for steps in 0..40 {
        let mut world = begun(steps, |world, engine| {
            world.driver.write32(REG_CTRL, 0);
            is_quiet(world, engine);
        });
        works_again(&mut world);
    }
}

#[test]
fn bus_mastering_off_at_any_moment_and_on_again() {
    for steps in 0..40 {
        let mut world = begun(steps, |world, engine| {
            let device = world.driver.device.clone();
            device.set_bus_master(false);
            is_quiet(world, engine);
            device.set_bus_master(true);
            settle(&mut world.driver, std::slice::from_mut(engine), &mut serve);
            assert_eq!(world.record().status, STATUS_OK);
        });
        assert!(world.is_copied(PAGES * PAGE));
        assert_eq!(world.run(command(OP_NOP, 0)).status, STATUS_OK);
    }
}

#[test]
fn work_without_bus_mastering_is_reported_and_waits() {
    let mut world = World::mapped(DeviceConfig::default());
    let device = world.driver.device.clone();
    device.set_bus_master(false);
    world.with_engine(|world, engine| {
        assert_eq!(world.driver.read32(REG_ERRORS), 0);
        let sent = world.submit(command(OP_COPY, PAGE));
        assert_eq!(engine.step(), Step::Idle);
        assert_eq!(world.driver.read32(REG_ERRORS), ERR_BUS_MASTER);
        device.set_bus_master(true);
        exhaust(engine);
        assert_eq!(world.record().fence, sent.fence);
    });
}

#[test]
fn counters_go_on_after_reset() {
    let mut world = World::new(DeviceConfig::default());
    world.run(command(OP_COPY, PAGE));
    let before = world.counters();
    assert!(before.page_requests > 0 && before.descriptors == 1);
    world.driver.device.reset();
    assert_eq!(world.counters(), before);
}

#[test]
fn engines_of_an_older_epoch_have_no_say() {
    let mut world = World::mapped(DeviceConfig::default());
    let device = world.driver.device.clone();
    with_engines(&device, 1, |old| {
        world.submit(command(OP_COPY, PAGES * PAGE));
        old[0].step();
        device.reset();
        world.driver.enable();
        world.driver.rebind(&world.queue);
        commands(&world);
        let sent = world.submit(command(OP_NOP, 0));
        assert_eq!(old[0].step(), Step::Over);
        assert_eq!(old[0].step(), Step::Over);
        world.with_engine(|world, engine| {
            exhaust(engine);
            assert_eq!(world.record().fence, sent.fence);
        });
    });
}

/// Queues, and what they were doing, outlast a change of memory; the engine is told by a step
/// that is over, and nothing is lost of what it had.
#[test]
fn memory_changes_at_any_moment() {
    for steps in 0..40 {
        let mut world = begun(steps, |world, engine| {
            world.driver.device.memory_changed();
            assert_eq!(engine.step(), Step::Over);
            assert_eq!(engine.step(), Step::Over);
        });
        world.driver.settle();
        assert_eq!(world.record().status, STATUS_OK, "{steps} steps");
        assert!(world.is_copied(PAGES * PAGE));
        assert_eq!(world.run(command(OP_NOP, 0)).status, STATUS_OK);
    }
}

/// The same for an engine that has a queue in its hands, and slices of memory that went.
#[test]
fn memory_changes_between_two_sections_of_a_command() {
    let mut world = World::mapped(DeviceConfig::default());
    world.submit(command(OP_COPY, PAGES * PAGE));
    world.with_engine(|world, engine| {
        engine.step();
        let sections = world.counters().sections;
        world.driver.device.memory_changed();
        assert_eq!(engine.step(), Step::Over);
        assert_eq!(world.counters().sections, sections);
    });
    assert_eq!(world.record().fence, 0, "the command goes on");
    world.driver.settle();
    assert_eq!(world.record().status, STATUS_OK);
    assert!(world.is_copied(PAGES * PAGE));
}

/// Half of memory goes while a command is on its way there, and comes back.
#[test]
fn memory_that_has_gone_is_not_reached() {
    let half = 32 << 20;
    let machine = FakeMachine::new(&[(0, half), (half as u64, half)]);
    let mut world = World::on(Driver::start_with(lookahead(1), machine.clone(), 1024));
    world.map_all();
    // A page of the destination is put into the second half, and nothing else is there.
    while world.driver.frames.take(PAGE) + PAGE < half as u64 {}
    world.driver.migrate(1, DESTINATION);
    world.driver.map(1, DESTINATION, PAGE, true);
    assert!(world.driver.space(1).physical(DESTINATION) >= half as u64);
    let before = world.driver.read(1, DESTINATION, PAGES * PAGE);
    let device = world.driver.device.clone();

    machine.show(|region| region == 0);
    device.memory_changed();
    let faults = {
        world.submit(command(OP_COPY, PAGES * PAGE));
        world.faults()
    };
    let [fault] = faults[..] else { panic!("{faults:?}") };
    assert_eq!((fault.address, u32::from(fault.reason)), (DESTINATION, REASON_UNREACHABLE));
    assert!(world.driver.read(1, DESTINATION, PAGES * PAGE) == before);

    machine.show(|_| true);
    device.memory_changed();
    world.driver.respond(fault.queue, fault.group, false);
    world.driver.settle();
    assert_eq!(world.record().status, STATUS_OK);
    assert!(world.is_copied(PAGES * PAGE));
}

#[test]
fn a_device_is_stopped_for_good() {
    let mut world = World::mapped(DeviceConfig::default());
    world.driver.device.stop();
    world.driver.set_up();
    assert_eq!(world.driver.read32(REG_STATUS), 0);
    world.driver.device.memory_changed();
    world.driver.bind(&world.queue);
    world.submit(command(OP_COPY, PAGE));
    world.with_engine(|world, engine| is_quiet(world, engine));
    world.driver.device.run_engine(0);
    // Nobody but the test has its memory.
    let memory = Arc::downgrade(&Platform::memory(&*world.driver.machine));
    world.driver.machine.show(|_| false);
    assert!(memory.upgrade().is_none() || memory.strong_count() == 1);
}

#[test]
fn a_stopped_device_does_nothing() {
    let mut world = World::mapped(DeviceConfig::default());
    world.submit(command(OP_COPY, PAGE));
    world.driver.device.stop();
    world.with_engine(|world, engine| is_quiet(world, engine));
    // These return at once.
    world.driver.device.run_engine(0);
    world.driver.device.run_commands();
}
