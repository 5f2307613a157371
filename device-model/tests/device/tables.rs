// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Page tables and context tables that no sane driver writes (rule 3).

use crate::world::{PAGES, SOURCE, World, command, exhaust, lookahead};
use farfault_abi::context::CONTEXT_VALID;
use farfault_abi::descriptor::{
    Descriptor, OP_CHASE, OP_COPY, OP_FETCH_ADD, OP_FILL, OP_WORD_COUNT, STATUS_FAULT, STATUS_OK,
};
use farfault_abi::fault::*;
use farfault_abi::pte::*;
use farfault_abi::regs::{ERR_TABLE, REG_ERRORS};
use farfault_device_model::DeviceConfig;
use farfault_reference_driver::PAGE;

const LEAF: u64 = PTE_VALID | PTE_LEAF | PTE_READ | PTE_WRITE;
const END: u64 = 64 << 20;
/// An entry that leads to a table somewhere in memory.
const TABLE: u64 = PTE_VALID | (END / 2);
/// A page of its own down from the top level, so that nothing else depends on its tables.
const TARGET: u64 = (3 << 39) + (2 << 30) + (5 << 21) + (7 << 12);

/// All there, lookahead of one so that a fault is one record.
fn world() -> World {
    let mut world = World::new(lookahead(1));
    world.driver.allocate(1, TARGET, PAGE, PAGE);
    world.map_all();
    world
}

/// Has the device access TARGET, refuses the one page it asks for, and gives that request.
fn demanded(world: &mut World, opcode: u32) -> Fault {
    let (source, destination) = (TARGET, TARGET);
    world.submit(Descriptor { source, destination, ..command(opcode, 64) });
    let fault = world.with_engine(|world, engine| {
        exhaust(engine);
        let faults = world.driver.take_faults();
        assert_eq!(faults.len(), 1);
        world.driver.respond(0, faults[0].group, true);
        world.turn(engine);
        faults[0]
    });
    let record = world.record();
    assert_eq!((record.status, record.fault_address), (STATUS_FAULT, fault.address));
    fault
}

/// The first fault of a queue whose ring cannot be reached.
fn first_fault(world: &mut World) -> (u32, u8) {
    world.submit(command(OP_WORD_COUNT, 64));
    let fault = world.faults()[0];
    (fault.reason.into(), fault.level)
}

fn expect(world: &mut World, reason: u32, level: u32) {
    let fault = demanded(world, OP_WORD_COUNT);
    assert_eq!((u32::from(fault.reason), u32::from(fault.level)), (reason, level));
    assert_eq!((fault.address, fault.pasid, fault.queue), (TARGET, 1, 0));
    assert_eq!(u32::from(fault.access), ACCESS_READ);
}

/// Sets the entry for TARGET at `level`.
fn set(world: &mut World, level: u32, pte: u64) {
    let at = world.driver.entry(1, TARGET, level);
    world.driver.machine.store(at, pte);
}

#[test]
fn entries_without_a_page() {
    for level in 0..4 {
        let mut world = world();
        for pte in [0, !PTE_VALID, PTE_LEAF | PTE_READ] {
            set(&mut world, level, pte);
            expect(&mut world, REASON_NOT_PRESENT, level);
        }
        assert_eq!(world.driver.read32(REG_ERRORS), 0);
    }
}

#[test]
fn entries_without_permission() {
    let mut world = world();
    set(&mut world, 0, PTE_VALID | PTE_LEAF);
    expect(&mut world, REASON_PERMISSION, 0);
    let frame = world.driver.space(1).physical(TARGET);
    set(&mut world, 0, PTE_VALID | PTE_LEAF | PTE_WRITE | frame);
    expect(&mut world, REASON_PERMISSION, 0);
    // Writing a page that may only be written leaves it unreadable.
    let write = Descriptor { destination: TARGET, ..command(OP_FILL, 64) };
    assert_eq!(world.run(write).status, STATUS_OK);
    let fault = demanded(&mut world, OP_FETCH_ADD);
    assert_eq!(u32::from(fault.access), ACCESS_READ | ACCESS_WRITE);
    assert_eq!(u32::from(fault.reason), REASON_PERMISSION);
    let fault = demanded(&mut world, OP_CHASE);
    assert_eq!((fault.address, u32::from(fault.access)), (TARGET, ACCESS_READ));
    assert_eq!(u32::from(fault.reason), REASON_PERMISSION);
    // Reading a page that may only be read leaves it unwritable.
    set(&mut world, 0, PTE_VALID | PTE_LEAF | PTE_READ | frame);
    let read = Descriptor { source: TARGET, ..command(OP_WORD_COUNT, 64) };
    assert_eq!(world.run(read).status, STATUS_OK);
    assert_eq!(world.run(Descriptor { source: TARGET, ..command(OP_CHASE, 1) }).status, STATUS_OK);
    let fault = demanded(&mut world, OP_FILL);
    assert_eq!((fault.address, u32::from(fault.access)), (TARGET, ACCESS_WRITE));
    assert_eq!(u32::from(fault.reason), REASON_PERMISSION);
}

#[test]
fn entries_that_are_malformed() {
    let mut cases = vec![
        (0, TABLE),       // a table at the last level
        (3, LEAF),        // a leaf at the top
        (1, LEAF | PAGE), // large frames must be aligned
        (1, LEAF | 1 << 20),
        (2, LEAF | 2 << 20),
    ];
    for bit in (6..9).chain(52..64) {
        cases.push((0, LEAF | 1 << bit));
        cases.push((1, LEAF | 1 << bit));
        cases.push((2, LEAF | 1 << bit));
        (1..4).for_each(|level| cases.push((level, TABLE | 1 << bit)));
    }
    for bit in [PTE_READ, PTE_WRITE, PTE_DEVICE, PTE_ATOMIC] {
        (1..4).for_each(|level| cases.push((level, TABLE | bit)));
    }
    for (level, pte) in cases {
        let mut world = world();
        set(&mut world, level, pte);
        expect(&mut world, REASON_MALFORMED, level);
        assert_eq!(world.driver.read32(REG_ERRORS), ERR_TABLE);
        assert_eq!(world.counters().table_faults, 1);
    }
}

#[test]
fn entries_that_lead_nowhere() {
    for frame in [END, END + PAGE, 1 << 40, PTE_ADDRESS] {
        for level in 0..4 {
            let mut world = world();
            let large =
                if level == 1 { frame & !((2 << 20) - 1) } else { frame & !((1 << 30) - 1) };
            match level {
                0 => set(&mut world, 0, LEAF | frame),
                3 => set(&mut world, 3, PTE_VALID | frame),
                _ => set(&mut world, level, LEAF | large.max(END.next_multiple_of(1 << 30))),
            }
            // The table that is not there is missed one level further down.
            expect(&mut world, REASON_UNREACHABLE, if level == 3 { 2 } else { level });
        }
    }
    let mut world = world();
    let frame = world.driver.space(1).physical(TARGET);
    set(&mut world, 0, LEAF | PTE_DEVICE | frame);
    expect(&mut world, REASON_UNREACHABLE, 0);
}

#[test]
fn software_bits_are_ignored() {
    let mut world = world();
    let frame = world.driver.space(1).physical(TARGET);
    set(&mut world, 0, LEAF | PTE_SOFTWARE | frame);
    let read = Descriptor { source: TARGET, ..command(OP_COPY, 64) };
    assert_eq!(world.run(read).status, STATUS_OK);
}

#[test]
fn tables_that_contain_themselves() {
    // A table that is every level of itself has a table where the leaf should be.
    let mut world = world();
    let root = world.driver.space(1).root;
    for slot in 0..512 {
        world.driver.machine.store(root + slot * 8, PTE_VALID | root);
    }
    assert_eq!(first_fault(&mut world), (REASON_MALFORMED, 0));
    assert_eq!(world.counters().walks - world.counters().table_faults, 0);
}

#[test]
fn contexts_that_are_none() {
    let root = world().driver.space(1).root;
    let reserved_bits = [
        (root | CONTEXT_VALID | 8, 0),
        (root | CONTEXT_VALID | 1 << 11, 0), // also what a misaligned root looks like
        (root | CONTEXT_VALID | 1 << 52, 0),
        (root | CONTEXT_VALID, 1),
    ];
    let invalid = [(0, 0), (root, 0)];
    let cases = reserved_bits.map(|case| (case, REASON_MALFORMED)).into_iter();
    for ((context, reserved), reason) in cases.chain(invalid.map(|case| (case, REASON_CONTEXT))) {
        let mut world = world();
        world.driver.set_context(1, context);
        world.driver.machine.store(world.driver.contexts + 16 + 8, reserved);
        assert_eq!(first_fault(&mut world), (reason, 3));
        let broken = if reason == REASON_MALFORMED { ERR_TABLE } else { 0 };
        assert_eq!(world.driver.read32(REG_ERRORS), broken);
    }
    let mut world = world();
    world.driver.set_context(1, END | CONTEXT_VALID);
    assert_eq!(first_fault(&mut world), (REASON_UNREACHABLE, 3));
}

#[test]
fn no_look_ahead_into_broken_tables() {
    let mut world = World::mapped(DeviceConfig::default());
    for page in 1..PAGES {
        let at = world.driver.entry(1, SOURCE + page * PAGE, 0);
        world.driver.machine.store(at, PTE_VALID);
    }
    world.driver.unmap(1, SOURCE, PAGE);
    world.submit(command(OP_WORD_COUNT, PAGES * PAGE));
    assert_eq!(world.faults().len(), 1);
}
