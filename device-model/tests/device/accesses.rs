// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Access counters.

use crate::world::{DESTINATION, PAGES, SOURCE, World, command, commands, exhaust, lookahead};
use farfault_abi::command::{CMD_COUNT_ACCESSES, Command};
use farfault_abi::descriptor::*;
use farfault_abi::fault::*;
use farfault_abi::pte::*;
use farfault_abi::regs::{ERR_FAULT_OVERFLOW, REG_ERRORS};
use farfault_device_model::{DeviceConfig, Engine};
use farfault_reference_driver::{Driver, LARGE, PAGE};

const BLOCK: u64 = ACCESS_COUNTER_BYTES;
/// Accesses of a command that goes through a block.
const ONCE: u64 = BLOCK / ACCESS_BYTES;

fn count(world: &World, pasid: u32, accesses: u64) {
    let opcode = CMD_COUNT_ACCESSES as u8;
    world.driver.command(Command { opcode, pasid, value: accesses, ..Command::default() });
    commands(world);
}

/// What the device tells of when it has carried out a command.
fn told(world: &mut World, engine: &mut Engine<'_>, descriptor: Descriptor) -> Vec<(u64, u32)> {
    world.submit(descriptor);
    exhaust(engine);
    assert_eq!(world.record().status, STATUS_OK);
    let records = world.driver.take_faults();
    for record in &records {
        assert_eq!((u32::from(record.kind), record.pasid, record.group), (FAULT_ACCESSES, 1, 0));
    }
    records.iter().map(|record| (record.address & !(BLOCK - 1), record.access.into())).collect()
}

/// A command that reads two blocks.
fn reads() -> Descriptor {
    command(OP_WORD_COUNT, 2 * BLOCK)
}

const BOTH: [(u64, u32); 2] = [(SOURCE, ACCESS_READ), (SOURCE + BLOCK, ACCESS_READ)];

#[test]
fn a_block_is_told_of_each_time_it_was_accessed_so_often() {
    let mut world = World::mapped(lookahead(1));
    count(&world, 1, 2 * ONCE);
    world.with_engine(|world, engine| {
        for _ in 0..3 {
            assert_eq!(told(world, engine, reads()), []);
            assert_eq!(told(world, engine, reads()), BOTH);
        }
        // What is written counts as well, and a part of a block as a part.
        let half = Descriptor { source: SOURCE + BLOCK, ..command(OP_COPY, BLOCK / 2) };
        assert_eq!(told(world, engine, half), []);
        let rest = [(SOURCE + BLOCK, ACCESS_READ), (DESTINATION, ACCESS_WRITE)];
        let twice = |world: &mut World, engine: &mut Engine<'_>| {
            [told(world, engine, half), told(world, engine, half)].concat()
        };
        assert_eq!(twice(world, engine), []);
        assert_eq!(twice(world, engine), rest);
    });
    let counters = world.counters();
    assert_eq!((counters.access_records, counters.access_records_lost), (8, 0));
    assert_eq!(counters.fault_groups, 0);
}

#[test]
fn a_word_is_an_access() {
    let mut world = World::mapped(lookahead(1));
    world.driver.write(1, SOURCE, &SOURCE.to_le_bytes());
    count(&world, 1, 100);
    world.with_engine(|world, engine| {
        let chase = |nodes| Descriptor { operand: 0, ..command(OP_CHASE, nodes) };
        // Each node is two loads, the first of all from a page that the TLB does not know.
        assert_eq!(told(world, engine, chase(49)), []);
        assert_eq!(told(world, engine, chase(1)), [(SOURCE, ACCESS_READ)]);
        let add = command(OP_FETCH_ADD, 0);
        for _ in 0..99 {
            assert_eq!(told(world, engine, add), []);
        }
        assert_eq!(told(world, engine, add), [(DESTINATION, ACCESS_READ | ACCESS_WRITE)]);
    });
}

/// It names the last access, for the rest of a block can be something else.
#[test]
fn it_is_told_where_that_was() {
    let mut world = World::mapped(lookahead(1));
    count(&world, 1, 1);
    world.with_engine(|world, engine| {
        let place = SOURCE + 3 * PAGE + 24;
        world.submit(Descriptor { source: place, ..command(OP_WORD_COUNT, 8) });
        exhaust(engine);
        let records = world.driver.take_faults();
        assert_eq!(records.iter().map(|record| record.address).collect::<Vec<_>>(), [place]);
    });
}

#[test]
fn only_those_who_are_counted_are() {
    let mut world = World::mapped(lookahead(1));
    world.with_engine(|world, engine| {
        assert_eq!(told(world, engine, reads()), []);
        // PASIDs that fall together with this one.
        count(world, 65, ONCE);
        assert_eq!(told(world, engine, reads()), []);
        count(world, 1, 2 * ONCE);
        assert_eq!(told(world, engine, reads()), []);
        // Said anew it begins anew.
        count(world, 1, 2 * ONCE);
        assert_eq!(told(world, engine, reads()), []);
        assert_eq!(told(world, engine, reads()), BOTH);
        count(world, 1, 0);
        for _ in 0..4 {
            assert_eq!(told(world, engine, reads()), []);
        }
    });
    let bad = world.counters().commands_bad;
    count(&world, 1 << 16, 1);
    assert_eq!(world.counters().commands_bad, bad + 1);
}

#[test]
fn a_reset_ends_it() {
    let world = World::mapped(lookahead(1));
    count(&world, 1, 1);
    assert!(world.driver.device.save().is_none());
    let (device, machine) = (world.driver.device.clone(), world.driver.machine.clone());
    device.reset();
    let mut world = World::on(Driver::start_over(device.clone(), device, machine, 1024));
    world.map_all();
    world.with_engine(|world, engine| assert_eq!(told(world, engine, reads()), []));
}

#[test]
fn device_memory_is_not_counted() {
    let mut world = World::mapped(DeviceConfig { vram: LARGE, ..lookahead(1) });
    for page in 0..BLOCK / PAGE {
        let at = world.driver.entry(1, SOURCE + page * PAGE, 0);
        let leaf = PTE_VALID | PTE_LEAF | PTE_READ | PTE_WRITE | PTE_DEVICE;
        world.driver.machine.store(at, leaf | (page * PAGE));
    }
    world.driver.invalidate(1, SOURCE, LARGE);
    count(&world, 1, ONCE);
    world.with_engine(|world, engine| {
        assert_eq!(told(world, engine, reads()), [(SOURCE + BLOCK, ACCESS_READ)]);
        let itself = Descriptor { destination: SOURCE, operand: SOURCE, ..command(OP_FENCE, 0) };
        assert_eq!(told(world, engine, itself), []);
        let chase = Descriptor { operand: 0, ..command(OP_CHASE, 2 * ONCE) };
        assert_eq!(told(world, engine, chase), []);
    });
}

#[test]
fn what_finds_no_room_is_lost() {
    let driver = Driver::start_sized(lookahead(1), 64 << 20, 2);
    let mut world = World::on(driver);
    world.map_all();
    count(&world, 1, 1);
    world.with_engine(|world, engine| {
        // Each page is one, of three blocks.
        let records = told(world, engine, command(OP_WORD_COUNT, PAGES * PAGE));
        assert_eq!(records, [BOTH[0], BOTH[0]]);
        // A page request still finds its way.
        world.driver.take_away(1, SOURCE, PAGE);
        commands(world);
        world.submit(command(OP_WORD_COUNT, PAGE));
        exhaust(engine);
        let kinds: Vec<u32> =
            world.driver.take_faults().iter().map(|fault| fault.kind.into()).collect();
        assert_eq!(kinds, [FAULT_PAGE_REQUEST]);
    });
    let counters = world.counters();
    assert_eq!((counters.access_records, counters.fault_overflows), (2, 0));
    assert!(counters.access_records_lost > 0);
    assert_eq!(world.driver.read32(REG_ERRORS) & ERR_FAULT_OVERFLOW, 0);
}
