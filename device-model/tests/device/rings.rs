// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rings: wild heads and tails, wrapping, and a fault queue that is too small.

use crate::world::{
    DESTINATION, PAGES, RINGS, SOURCE, World, command, commands, exhaust, lookahead, populate,
};
use farfault_abi::command::*;
use farfault_abi::descriptor::*;
use farfault_abi::fault::*;
use farfault_abi::pci::{QUEUES, VECTOR_QUEUE, VECTORS};
use farfault_abi::regs::*;
use farfault_device_model::{DeviceConfig, Step};
use farfault_reference_driver::{Driver, PAGE, serve, settle};

#[test]
fn a_wild_tail_halts_the_queue_and_only_it() {
    for (head, tail) in [(0, 17), (0, u32::MAX), (5, 4), (0x8000_0000, 0)] {
        let mut world = World::mapped(DeviceConfig::default());
        let other = world.add_queue(1);
        world.map_all();
        let ring = world.queue.ring;
        world.driver.write(1, ring.head(), &u32::to_le_bytes(head));
        world.driver.write(1, ring.tail(), &u32::to_le_bytes(tail));
        world.driver.device.doorbell(0);
        let halted = Fault {
            address: ring.base,
            pasid: 1,
            kind: FAULT_QUEUE_HALTED as u8,
            flags: FAULT_LAST as u8,
            reason: REASON_RING as u8,
            ..Fault::default()
        };
        assert_eq!(world.faults(), [halted]);
        assert_eq!(world.driver.read(1, ring.halted(), 4), REASON_RING.to_le_bytes());
        assert_eq!(world.counters().queues_halted, 1);
        // It stays so, whatever is rung.
        world.driver.device.doorbell(0);
        world.with_engine(|_, engine| assert_eq!(engine.step(), Step::Idle));
        // The other works, and so does this one once it is bound anew.
        for queue in [other, world.queue] {
            world.driver.unbind(queue.number);
            world.driver.rebind(&queue);
            commands(&world);
            world.driver.submit(&queue, command(OP_FENCE, 0));
            world.driver.settle();
            assert_eq!(world.driver.read(1, queue.ring.head(), 4), 1u32.to_le_bytes());
        }
    }
}

#[test]
fn indices_wrap() {
    let mut world = World::new(DeviceConfig::default());
    let start = u32::MAX - 5;
    for word in [world.queue.ring.head(), world.queue.ring.tail()] {
        world.driver.write(1, word, &start.to_le_bytes());
    }
    for _ in 0..20 {
        world.run(command(OP_NOP, 0));
    }
    let head = world.driver.read(1, world.queue.ring.head(), 4);
    assert_eq!(head, start.wrapping_add(20).to_le_bytes());
    assert_eq!(world.counters().descriptors, 20);
}

#[test]
fn the_command_and_fault_queues_start_from_their_headers_and_wrap() {
    let driver = Driver::start(DeviceConfig::default());
    driver.write32(REG_CTRL, 0);
    let start = u32::MAX - 2;
    for ring in [driver.commands, driver.faults] {
        for word in [ring.head(), ring.tail()] {
            driver.machine.write(word, &start.to_le_bytes());
        }
    }
    driver.write32(REG_CTRL, CTRL_ENABLE);
    let mut world = World::on(driver);
    assert_eq!(world.run(command(OP_COPY, PAGES * PAGE)).status, STATUS_OK);
    assert_eq!(world.driver.read32(REG_ERRORS), 0);
}

#[test]
fn a_wild_command_tail_is_reported_and_heals() {
    let mut world = World::new(DeviceConfig::default());
    let ring = world.driver.commands;
    let machine = world.driver.machine.clone();
    let tail = machine.load32(ring.tail());
    for wild in [tail.wrapping_sub(1), tail + ring.entries + 1, tail ^ 0x8000_0000] {
        machine.store32(ring.tail(), wild);
        assert_eq!(world.driver.device.step_commands(), Step::Idle);
        assert_eq!(world.driver.read32(REG_ERRORS), ERR_COMMAND_RING);
        world.driver.write32(REG_ERRORS, ERR_COMMAND_RING);
    }
    machine.store32(ring.tail(), tail);
    assert_eq!(world.run(command(OP_COPY, PAGE)).status, STATUS_OK);
    assert_eq!(world.driver.read32(REG_ERRORS), 0);
}

#[test]
fn wrong_commands_are_skipped_and_counted() {
    let world = World::new(DeviceConfig::default());
    let plain = |opcode: u32| Command { opcode: opcode as u8, ..Command::default() };
    let enable = Command {
        queue: 9,
        pasid: 1,
        address: RINGS,
        value: 16,
        extra: VECTOR_QUEUE.into(),
        ..plain(CMD_QUEUE_ENABLE)
    };
    let invalidate = Command { pasid: 1, address: PAGE, value: PAGE, ..plain(CMD_INVALIDATE) };
    let wait = Command { address: world.driver.fence, ..plain(CMD_WAIT) };
    let respond = Command { value: 1, ..plain(CMD_PAGE_RESPONSE) };
    let disable = Command { queue: 9, ..plain(CMD_QUEUE_DISABLE) };
    let wrong = [
        Command { opcode: 0, ..enable },
        Command { opcode: 7, ..enable },
        Command { opcode: 255, ..enable },
        Command { queue: 0, ..enable }, // enabled already
        Command { queue: QUEUES as u16, ..enable },
        Command { queue: u16::MAX, ..enable },
        Command { pasid: 1 << 16, ..enable },
        Command { pasid: u32::MAX, ..enable },
        Command { address: RINGS + 64, ..enable },
        Command { address: 1 << 48, ..enable },
        Command { address: (1 << 48) - 128, ..enable },
        Command { address: u64::MAX - 127, ..enable },
        Command { value: 0, ..enable },
        Command { value: 1, ..enable },
        Command { value: 24, ..enable },
        Command { value: 1 << 17, ..enable },
        Command { value: 1 << 63, ..enable },
        Command { extra: 0, ..enable },
        Command { extra: 1, ..enable },
        Command { extra: VECTORS.into(), ..enable },
        Command { extra: 1 << 32 | 2, ..enable },
        Command { pasid: 1 << 16, ..invalidate },
        Command { address: PAGE + 1, ..invalidate },
        Command { value: 1, ..invalidate },
        Command { address: u64::MAX - PAGE + 1, value: 2 * PAGE, ..invalidate },
        Command { address: wait.address + 4, ..wait },
        Command { flags: 2, ..wait },
        Command { queue: QUEUES as u16, ..respond },
        Command { flags: 2, ..respond },
        Command { value: 1 << 32, ..respond },
        Command { queue: QUEUES as u16, ..disable },
    ];
    let before = world.counters();
    for command in wrong {
        world.driver.command(command);
        assert_eq!(commands(&world), 1, "{command:?}");
        assert_eq!(world.driver.read32(REG_ERRORS), ERR_COMMAND, "{command:?}");
        world.driver.write32(REG_ERRORS, ERR_COMMAND);
    }
    for address in [64 << 20, 1 << 63, u64::MAX - 7] {
        world.driver.command(Command { address, ..wait });
        commands(&world);
        assert_eq!(world.driver.read32(REG_ERRORS), ERR_COMMAND_RING);
        world.driver.write32(REG_ERRORS, ERR_COMMAND_RING);
    }
    let after = world.counters();
    assert_eq!(after.commands_bad - before.commands_bad, wrong.len() as u64 + 3);
    assert_eq!(after.commands, before.commands);
    // These are odd but right.
    for command in [
        Command { address: 1 << 50, value: PAGE, ..invalidate },
        Command { address: 0, value: !(PAGE - 1), ..invalidate },
        Command { value: 0, ..invalidate },
        Command { pasid: 0xffff, ..invalidate },
        respond, // stale
        disable, // disabled already
        enable,
    ] {
        world.driver.command(command);
        commands(&world);
        assert_eq!(world.driver.read32(REG_ERRORS), 0, "{command:?}");
    }
    assert_eq!(world.counters().responses_stale, 1);
}

/// A world whose fault queue has `entries`.
fn narrow(entries: u32) -> World {
    World::on(Driver::start_sized(DeviceConfig::default(), 64 << 20, entries))
}

#[test]
fn a_group_is_cut_to_the_room_there_is() {
    let mut world = narrow(8);
    world.map_all();
    world.driver.unmap(1, SOURCE, PAGES * PAGE);
    world.driver.unmap(1, DESTINATION, PAGES * PAGE);
    world.submit(command(OP_COPY, PAGES * PAGE));
    let faults = world.faults();
    assert_eq!(faults.len(), 8);
    let last: Vec<bool> = faults.iter().map(|f| u32::from(f.flags) & FAULT_LAST != 0).collect();
    assert_eq!(last, [false, false, false, false, false, false, false, true]);
    assert_eq!(u32::from(faults[0].flags) & FAULT_LOOKAHEAD, 0);
    assert_eq!(world.counters().fault_overflows, 1);
    assert_eq!(world.driver.read32(REG_ERRORS), ERR_FAULT_OVERFLOW);
}

#[test]
fn nothing_is_lost_when_there_is_no_room() {
    let mut world = narrow(2);
    let queues: Vec<_> = (1..12).map(|number| world.add_queue(number)).collect();
    world.map_all();
    // Each queue has a page of its own to miss; two of them halt.
    for (i, queue) in (1..).zip(&queues) {
        world.driver.unmap(1, SOURCE + i * PAGE, PAGE);
        let (source, destination) = (SOURCE + i * PAGE, DESTINATION + i * PAGE);
        let copy = Descriptor { source, destination, ..command(OP_COPY, PAGE) };
        world.driver.submit(queue, copy);
        if i % 5 == 0 {
            world.driver.write(1, queue.ring.tail(), &99u32.to_le_bytes());
        }
    }
    world.with_engines(2, |world, engines| {
        engines.iter_mut().map(exhaust).for_each(drop);
        assert_eq!(world.counters().page_requests, 2);
        assert_eq!(world.driver.machine.load32(world.driver.faults.overflows()), 1);
        // A driver that sees that count change rings the command doorbell.
        let queues: Vec<u16> = world.all_faults().iter().map(|record| record.queue).collect();
        assert_eq!(queues, (1..12).collect::<Vec<u16>>());
    });
    assert_eq!(world.counters().page_requests, 9);
    assert_eq!(world.counters().queues_halted, 2);
}

#[test]
fn overflows_go_on_where_the_header_has_them() {
    let mut world = narrow(2);
    let (machine, overflows) = (world.driver.machine.clone(), world.driver.faults.overflows());
    machine.store32(overflows, 41);
    world.driver.write32(REG_CTRL, 0);
    world.driver.write32(REG_CTRL, CTRL_ENABLE);
    let queue = world.add_queue(1);
    world.map_all();
    world.driver.unmap(1, SOURCE, PAGES * PAGE);
    world.driver.submit(&queue, command(OP_COPY, PAGES * PAGE));
    world.with_engine(|_, engine| exhaust(engine));
    assert_eq!(machine.load32(overflows), 42);
}

#[test]
fn work_ends_well_through_a_fault_queue_of_two() {
    let mut world = narrow(2);
    let queues: Vec<_> = (1..9).map(|number| world.add_queue(number)).collect();
    for (i, queue) in (0..).zip(&queues) {
        let at = i * 5 * PAGE;
        let (source, destination) = (SOURCE + at, DESTINATION + at);
        let copy = Descriptor { source, destination, ..command(OP_COPY, 5 * PAGE) };
        world.driver.submit(queue, copy);
    }
    world.driver.settle();
    assert!(
        world.driver.read(1, SOURCE, PAGES * PAGE)
            == world.driver.read(1, DESTINATION, PAGES * PAGE)
    );
    let counters = world.counters();
    assert_eq!(counters.descriptors, 8);
    assert_eq!(counters.fault_groups, counters.responses_resume);
    assert!(counters.fault_overflows > 0);
}

#[test]
fn a_disabled_queue_takes_its_held_faults_along() {
    let mut world = narrow(2);
    let queues = [world.add_queue(1), world.add_queue(2), world.add_queue(3)];
    world.map_all();
    world.driver.unmap(1, SOURCE, 3 * PAGE);
    for (i, queue) in (0..).zip(&queues) {
        world.driver.submit(queue, Descriptor { source: SOURCE + i * PAGE, ..command(OP_COPY, 8) });
    }
    world.with_engines(1, |world, engines| {
        exhaust(&mut engines[0]);
        world.driver.unbind(3);
        commands(world);
        let seen: Vec<u16> = world.driver.take_faults().iter().map(|f| f.queue).collect();
        assert_eq!(seen, [1, 2]);
        world.driver.device.step_commands();
        assert_eq!(world.driver.take_faults(), []);
    });
}

#[test]
fn a_wild_fault_head_is_reported_and_loses_nothing() {
    let mut world = World::mapped(lookahead(1));
    world.driver.unmap(1, SOURCE, PAGE);
    let head = world.driver.faults.head();
    let machine = world.driver.machine.clone();
    let good = machine.load32(head);
    machine.store32(head, 0x1234_5678);
    world.submit(command(OP_COPY, 8));
    world.with_engine(|world, engine| {
        exhaust(engine);
        assert_eq!(world.driver.read32(REG_ERRORS), ERR_FAULT_RING);
        machine.store32(head, good);
        settle(&mut world.driver, std::slice::from_mut(engine), &mut serve);
    });
    assert_eq!(world.record().status, STATUS_OK);
}

#[test]
fn interrupts_come_only_when_the_queue_was_empty() {
    let mut world = World::new(lookahead(1));
    let other = world.add_queue(1);
    world.map_all();
    world.driver.unmap(1, SOURCE, 2 * PAGE);
    world.submit(command(OP_COPY, 8));
    world.driver.submit(&other, Descriptor { source: SOURCE + PAGE, ..command(OP_COPY, 8) });
    let before = world.driver.machine.signals(0);
    world.with_engine(|world, engine| {
        exhaust(engine);
        assert_eq!(world.driver.machine.signals(0) - before, 1);
        assert_eq!(world.driver.take_faults().len(), 2);
        world.driver.respond(0, 1, true);
        world.turn(engine);
        // No fault, no interrupt.
        assert_eq!(world.driver.machine.signals(0) - before, 1);
    });
    assert_eq!(world.counters().msix_fault, world.driver.machine.signals(0));
}

#[test]
fn two_processes_use_the_same_addresses() {
    let mut world = World::new(DeviceConfig::default());
    populate(&mut world.driver, 65); // falls into the same space as PASID 1
    world.driver.write(65, SOURCE, &[0xee; 4096]);
    let theirs = world.driver.create_queue(7, 65, RINGS, 4);
    for _ in 0..3 {
        world.run(command(OP_COPY, PAGE));
        world.driver.submit(&theirs, command(OP_COPY, PAGE));
        world.driver.settle();
    }
    assert_eq!(world.driver.read(65, DESTINATION, PAGE), vec![0xee; 4096]);
    assert!(world.is_copied(PAGE));
}
