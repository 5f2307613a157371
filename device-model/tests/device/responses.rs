// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Page responses: resumed, refused, late, wrong.

use crate::world::{DESTINATION, RECORD, SOURCE, World, command, commands, exhaust, lookahead};
use farfault_abi::command::*;
use farfault_abi::descriptor::*;
use farfault_abi::fault::*;
use farfault_device_model::DeviceConfig;
use farfault_reference_driver::{Answer, Driver, PAGE, settle};

fn world() -> World {
    World::mapped(lookahead(1))
}

/// Makes `va` missing, runs a copy of two pages, and refuses what it asks for.
fn refused(world: &mut World, va: u64) -> Vec<Fault> {
    world.driver.take_away(1, va, PAGE);
    world.submit(command(OP_COPY, 2 * PAGE));
    world.with_engine(|world, engine| {
        world.turn(engine);
        let asked = world.driver.take_faults();
        assert_eq!(asked.len(), 1);
        world.driver.respond(0, asked[0].group, true);
        world.turn(engine);
        let rest = world.driver.take_faults();
        world.driver.map(1, va, PAGE, true);
        [asked, rest].concat()
    })
}

#[test]
fn refused_data_ends_the_command() {
    for (va, done) in
        [(SOURCE, 0), (SOURCE + PAGE, PAGE), (DESTINATION, 0), (DESTINATION + PAGE, PAGE)]
    {
        let mut world = world();
        assert_eq!(refused(&mut world, va).len(), 1);
        let record = world.record();
        assert_eq!((record.status, record.fault_address, record.done), (STATUS_FAULT, va, done));
        assert!(world.is_copied(done));
        // Queue and process live on.
        assert_eq!(world.run(command(OP_COPY, 2 * PAGE)).status, STATUS_OK);
        assert_eq!(world.counters().responses_fail, 1);
        assert_eq!((world.counters().descriptors, world.counters().descriptors_failed), (1, 1));
    }
}

#[test]
fn a_command_that_lacks_memory_says_so() {
    let mut world = world();
    world.driver.take_away(1, SOURCE, PAGE);
    world.submit(command(OP_COPY, PAGE));
    world.with_engine(|world, engine| {
        world.turn(engine);
        let group = world.driver.take_faults()[0].group;
        // Alone the flag means nothing, and answers nothing.
        world.answer(group, &[RESPONSE_NO_MEMORY, RESPONSE_FAIL | RESPONSE_NO_MEMORY]);
        world.turn(engine);
    });
    let record = world.record();
    assert_eq!((record.status, record.fault_address), (STATUS_NO_MEMORY, SOURCE));
    assert_eq!((world.counters().commands_bad, world.counters().responses_fail), (1, 1));
}

#[test]
fn a_refused_ring_or_record_halts_the_queue() {
    let ring = world().queue.ring.base;
    for (va, address, reason) in
        [(ring, None, REASON_RING), (RECORD, Some(RECORD + 8), REASON_COMPLETION)]
    {
        let mut world = world();
        let faults = refused(&mut world, va);
        assert_eq!(u32::from(faults[1].kind), FAULT_QUEUE_HALTED);
        assert_eq!((u32::from(faults[1].reason), faults[1].group), (reason, 0));
        assert_eq!(faults[1].address, address.unwrap_or(faults[0].address));
        assert_eq!(world.counters().queues_halted, 1);
        // The process can see it where the ring can be reached.
        let halted = world.driver.read(1, world.queue.ring.halted(), 4);
        let told = if va == ring { 0 } else { reason };
        assert_eq!(halted, told.to_le_bytes());
        // Bound anew it works.
        world.driver.unbind(0);
        world.driver.rebind(&world.queue);
        commands(&world);
        assert_eq!(world.run(command(OP_COPY, PAGE)).status, STATUS_OK);
    }
}

#[test]
fn a_misaligned_or_wild_record_halts_the_queue() {
    for completion in [RECORD + 8, RECORD + 32, 1, 1 << 48, u64::MAX - 63] {
        let mut world = world();
        world.driver.submit(&world.queue, Descriptor { completion, ..command(OP_FILL, 8) });
        let before = world.driver.read(1, DESTINATION, 8);
        let faults = world.faults();
        assert_eq!(faults.len(), 1);
        let Fault { kind, address, reason, .. } = faults[0];
        assert_eq!((u32::from(kind), address), (FAULT_QUEUE_HALTED, completion));
        assert_eq!(u32::from(reason), REASON_COMPLETION);
        assert_eq!(world.driver.read(1, DESTINATION, 8), before);
    }
}

#[test]
fn responses_that_nobody_waits_for_change_nothing() {
    let mut world = world();
    world.driver.unmap(1, SOURCE, PAGE);
    world.submit(command(OP_COPY, PAGE));
    world.with_engine(|world, engine| {
        world.driver.respond(0, 1, false); // before the fault
        world.turn(engine);
        let fault = world.driver.take_faults()[0];
        for (queue, group) in
            [(0, fault.group + 1), (0, 0), (0, u32::MAX), (1, fault.group), (63, 1)]
        {
            world.driver.respond(queue, group, queue % 2 == 0);
        }
        assert_eq!(world.turn(engine), 0);
        assert_eq!(world.counters().responses_stale, 6);
        world.driver.map(1, SOURCE, PAGE, true);
        world.driver.respond(0, fault.group, false);
        world.driver.respond(0, fault.group, true); // twice, once too late
        world.turn(engine);
        assert_eq!(world.record().status, STATUS_OK);
        assert_eq!(world.counters().responses_stale, 7);
    });
}

#[test]
fn groups_count_from_one_since_the_queue_was_enabled() {
    let mut world = world();
    for _ in 0..2 {
        for group in 1..4 {
            world.driver.take_away(1, SOURCE, PAGE);
            world.submit(command(OP_COPY, PAGE));
            world.with_engines(1, |world, engines| {
                settle(&mut world.driver, engines, &mut |_, fault| {
                    assert_eq!(fault.group, group);
                    Answer::Serve
                });
            });
        }
        world.driver.unbind(0);
        world.driver.bind(&world.queue);
        world.driver.settle();
    }
}

#[test]
fn resumed_without_the_page_it_asks_again() {
    let mut world = world();
    world.driver.unmap(1, SOURCE, PAGE);
    world.submit(command(OP_COPY, PAGE));
    world.with_engine(|world, engine| {
        for group in 1..6 {
            exhaust(engine);
            let faults = world.driver.take_faults();
            assert_eq!((faults.len(), faults[0].group), (1, group));
            world.driver.respond(0, group, false);
            commands(world);
        }
    });
    assert_eq!(world.counters().responses_resume, world.counters().fault_groups);
}

/// A guest that answers groups which it cannot have seen gets no more of them for it.
#[test]
fn guessed_responses_pile_nothing_up() {
    let mut world = World::on(Driver::start_sized(DeviceConfig::default(), 64 << 20, 2));
    let others = [world.add_queue(1), world.add_queue(2)];
    world.map_all();
    world.driver.unmap(1, SOURCE, 4 * PAGE);
    for queue in &others {
        world.driver.submit(queue, command(OP_COPY, PAGE));
    }
    world.with_engine(|world, engine| {
        exhaust(engine); // the fault queue is full
        world.submit(command(OP_COPY, 4 * PAGE));
        for group in 1..50 {
            exhaust(engine);
            world.driver.respond(0, group, false);
            commands(world);
        }
        exhaust(engine);
        let all = world.all_faults();
        let seen: Vec<_> = all.iter().filter(|r| r.queue == 0).map(|r| r.group).collect();
        assert_eq!(seen, [50; 2], "of 50 groups only the last is of interest");
    });
}
