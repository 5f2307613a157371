// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules 1 and 2: what an acknowledged invalidation means, and who reaches what.
//! Engine, driver and command processor take their steps in a written order.

use crate::world::{
    DESTINATION, PAGES, RECORD, RINGS, SOURCE, World, command, commands, exhaust, lookahead,
    populate,
};
use farfault_abi::descriptor::*;
use farfault_abi::pte::PTE_VALID;
use farfault_device_model::{DeviceConfig, Engine, MIN_TLB, Step};
use farfault_reference_driver::{LARGE, PAGE, Queue, serve, settle};

fn world() -> World {
    World::mapped(lookahead(1))
}

/// Runs a read of SOURCE on this engine; the walks it cost.
fn walks(world: &mut World, engine: &mut Engine<'_>) -> u64 {
    walks_of(world, engine, command(OP_WORD_COUNT, 64))
}

fn walks_of(world: &mut World, engine: &mut Engine<'_>, command: Descriptor) -> u64 {
    let before = world.counters().walks;
    world.submit(command);
    exhaust(engine);
    world.counters().walks - before
}

/// A TLB has room for so many pages; of more that are read in a circle it knows none when their
/// turn comes again.
#[test]
fn a_small_tlb_remembers_fewer_pages() {
    let far = 1 << 33;
    let walks_again = |tlb, pages| {
        let mut world = World::new(DeviceConfig { tlb, ..lookahead(1) });
        world.driver.allocate(1, far, pages * PAGE, PAGE);
        world.map_all();
        let read = Descriptor { source: far, ..command(OP_WORD_COUNT, pages * PAGE) };
        world.with_engine(|world, engine| {
            walks_of(world, engine, read);
            walks_of(world, engine, read)
        })
    };
    // The ring and the completion record have pages, too, which may be in the way of one.
    assert!(walks_again(MIN_TLB, 100) < 10);
    assert!(walks_again(MIN_TLB, 256) >= 256);
    assert!(walks_again(2 * MIN_TLB, 200) < 10);
}

#[test]
fn translations_are_remembered_until_invalidated() {
    let mut world = world();
    world.with_engine(|world, engine| {
        walks(world, engine);
        assert_eq!(walks(world, engine), 0);
        for (pasid, address, bytes, dropped) in [
            (1, SOURCE, PAGE, true),
            (1, SOURCE - PAGE, PAGE, false),
            (1, SOURCE + PAGE, PAGE, false),
            (2, SOURCE, PAGE, false),
            (65, SOURCE, PAGE, false), // the same space
            (1, SOURCE - PAGE, 2 * PAGE, true),
            (1, SOURCE & !(LARGE - 1), LARGE, true),
            (1, 0, 1 << 48, true),
            (1, 0, 0, true),
            (1, 1 << 50, PAGE, false),
        ] {
            world.driver.invalidate(pasid, address, bytes);
            assert_eq!(commands(world), 1);
            let cost = walks(world, engine);
            assert_eq!(cost > 0, dropped, "{pasid} {address:#x} {bytes:#x}: {cost} walks");
        }
    });
}

/// A leaf of 2 MiB, and a list of two nodes in it.
const LEAF: u64 = 1 << 32;
const LIST: [u64; 2] = [LEAF + 100 * PAGE, LEAF + 300 * PAGE];

fn create_list(world: &mut World, pasid: u32) {
    world.driver.allocate(pasid, LEAF, LARGE, LARGE);
    world.driver.map(pasid, LEAF, 1, true);
    for (node, next) in LIST.into_iter().zip([LIST[1], 0]) {
        world.driver.write(pasid, node, &u64::from(pasid).to_le_bytes());
        world.driver.write(pasid, node + 8, &next.to_le_bytes());
    }
}

fn chase() -> Descriptor {
    Descriptor { source: LIST[0], completion: RECORD, ..command(OP_CHASE, 9) }
}

#[test]
fn words_of_a_large_leaf_are_remembered_until_it_is_invalidated() {
    let mut world = world();
    create_list(&mut world, 1);
    world.with_engine(|world, engine| {
        let mut walks = |world: &mut World| walks_of(world, engine, chase());
        assert!(walks(world) > 0);
        for (pasid, address, bytes, dropped) in [
            (1, LEAF + LARGE, LARGE, false),
            (1, LEAF - LARGE, LARGE, false),
            (2, LEAF, LARGE, false),
            (65, LEAF, LARGE, false), // the same space
            (1, LEAF, LARGE, true),
            (1, LEAF - PAGE, LARGE + PAGE, true),
            (1, LEAF - 8 * LARGE, 16 * LARGE, true), // too many to look for each
            (1, 0, 0, true),
        ] {
            world.driver.invalidate(pasid, address, bytes);
            assert_eq!(commands(world), 1);
            let cost = walks(world);
            assert_eq!(cost > 0, dropped, "{pasid} {address:#x} {bytes:#x}: {cost} walks");
            assert_eq!((world.record().done, world.record().result), (2, 2));
        }
        // In the middle of it: the leaf goes while the engine knows both pages.
        world.driver.unmap(1, LEAF, 1);
        world.driver.invalidate(1, LEAF, LARGE);
        commands(world);
        walks(world);
        let faults = world.driver.take_faults();
        assert_eq!(faults.iter().map(|fault| fault.address).collect::<Vec<_>>(), [LIST[0]]);
    });
}

/// What a driver does that takes one page of a large leaf away: small leaves that
/// say the same come in its place, one of them is cleared, and only that is invalidated.
#[test]
fn a_page_of_a_large_leaf_is_taken_alone() {
    let mut world = world();
    create_list(&mut world, 1);
    world.with_engine(|world, engine| {
        let mut go = |world: &mut World| {
            world.submit(chase());
            exhaust(engine);
        };
        go(world);
        assert_eq!(world.record().result, 2);

        let machine = world.driver.machine.clone();
        let table = world.driver.frames.take_zeroed(&machine);
        let entry = world.driver.entry(1, LEAF, 1);
        let leaf = machine.load(entry);
        for page in (0..512).filter(|page| LEAF + page * PAGE != LIST[1]) {
            machine.store(table + page * 8, leaf + page * PAGE);
        }
        machine.store(entry, table | PTE_VALID);
        world.driver.invalidate(1, LIST[1], PAGE);
        commands(world);

        let before = world.counters().page_requests;
        go(world);
        assert_eq!(world.counters().page_requests - before, 1);
        let faults = world.driver.take_faults();
        assert_eq!(faults.iter().map(|fault| fault.address).collect::<Vec<_>>(), [LIST[1]]);
    });
}

/// Makes the other processes; a queue for each.
fn queues(world: &mut World, pasids: &[u32]) -> Vec<Queue> {
    let mut queues = vec![world.queue];
    for (number, pasid) in (1..).zip(&pasids[1..]) {
        populate(&mut world.driver, *pasid);
        queues.push(world.driver.create_queue(number, *pasid, RINGS, 16));
    }
    queues
}

/// Rule 2 for words: the same addresses, the same place in the TLB, another process.
#[test]
fn processes_load_only_their_own_words() {
    let mut world = world();
    let pasids = [1, 1 + 64, 1 + 8192];
    let queues = queues(&mut world, &pasids);
    for pasid in pasids {
        create_list(&mut world, pasid);
    }
    commands(&world);
    world.with_engines(1, |world, engines| {
        for fence in 1..5 {
            for queue in &queues {
                world.driver.submit(queue, Descriptor { fence, ..chase() });
            }
            settle(&mut world.driver, engines, &mut serve);
            for pasid in pasids {
                let record = world.driver.completion(pasid, RECORD);
                assert_eq!((record.fence, record.result), (fence, 2 * u64::from(pasid)));
            }
        }
    });
}

#[test]
fn an_engine_that_is_far_behind_drops_everything() {
    // The last 64 ranges are remembered, and none of these is in use.
    for (ranges, dropped) in [(64, false), (65, true), (200, true)] {
        let mut world = world();
        world.with_engine(|world, engine| {
            walks(world, engine);
            for i in 0..ranges {
                world.driver.invalidate(1, (1 << 40) + i * PAGE, PAGE);
            }
            commands(world);
            assert_eq!(walks(world, engine) > 0, dropped);
            assert_eq!(walks(world, engine), 0);
        });
    }
}

fn frames_of(world: &World) -> Vec<u64> {
    (0..PAGES).map(|i| world.driver.space(1).physical(DESTINATION + i * PAGE)).collect()
}

/// The frame is reused as soon as the invalidation is acknowledged, at each
/// possible point of a running copy; not one byte of the new owner's changes.
#[test]
fn a_frame_is_free_once_the_invalidation_is_acknowledged() {
    for steps in 0..12 {
        let mut world = world();
        world.with_engine(|world, engine| {
            // Once through, so that the TLB holds all of it; then again, in several sections.
            world.submit(command(OP_COPY, PAGES * PAGE));
            exhaust(engine);
            world.submit(command(OP_COPY, PAGES * PAGE));
            for _ in 0..steps {
                engine.step();
            }
            world.driver.take_away(1, DESTINATION, PAGES * PAGE);
            let fence = world.driver.wait();
            commands(world);
            assert!(world.driver.reached(fence));
            let frames = frames_of(world);
            (0..PAGES).for_each(|i| world.driver.migrate(1, DESTINATION + i * PAGE));
            let now = frames_of(world);
            let owned: Vec<u64> = frames.into_iter().filter(|frame| !now.contains(frame)).collect();
            owned.iter().for_each(|frame| world.driver.machine.write(*frame, &[0xdd; 4096]));
            settle(&mut world.driver, std::slice::from_mut(engine), &mut serve);
            for frame in owned {
                let mut page = [0; 4096];
                world.driver.machine.read(frame, &mut page);
                assert!(page.iter().all(|byte| *byte == 0xdd), "a page given away was written");
            }
        });
        assert!(world.is_copied(PAGES * PAGE));
    }
}

#[test]
fn write_permission_taken_away_holds_from_the_acknowledgement_on() {
    let mut world = world();
    world.with_engine(|world, engine| {
        world.submit(command(OP_FILL, PAGE));
        exhaust(engine);
        world.driver.map(1, DESTINATION, PAGE, false);
        world.driver.invalidate(1, DESTINATION, PAGE);
        commands(world);
        let before = world.driver.read(1, DESTINATION, PAGE);
        world.submit(Descriptor { operand: 0, ..command(OP_FILL, PAGE) });
        exhaust(engine);
        assert_eq!(world.driver.take_faults().len(), 1);
        assert_eq!(world.driver.read(1, DESTINATION, PAGE), before);
        // It can still be read.
        let walks = world.counters().walks;
        let queue = world.driver.create_queue(3, 1, RINGS + (3 << 20), 4);
        world.map_all();
        world.driver.map(1, DESTINATION, PAGE, false);
        commands(world);
        let read = Descriptor { source: DESTINATION, fence: 1, ..command(OP_WORD_COUNT, PAGE) };
        world.driver.submit(&queue, Descriptor { completion: RECORD + 64, ..read });
        exhaust(engine);
        assert_eq!(world.driver.completion(1, RECORD + 64).fence, 1);
        assert!(world.counters().walks > walks);
    });
}

#[test]
fn a_table_that_is_replaced_is_not_remembered() {
    let mut world = world();
    world.with_engine(|world, engine| {
        walks(world, engine);
        // The same addresses through another last-level table, the old one in other use.
        let driver = &mut world.driver;
        let above = driver.entry(1, SOURCE, 1);
        let old = driver.machine.load(above);
        driver.machine.store(above, 0);
        driver.invalidate(1, SOURCE & !(LARGE - 1), LARGE);
        commands(world);
        world.driver.machine.write(old & !4095, &[0xff; 4096]);
        world.driver.map(1, SOURCE, PAGES * PAGE, true);
        assert!(walks(world, engine) > 0);
        assert_eq!(world.driver.take_faults(), []);
    });
}

#[test]
fn a_context_that_is_replaced_counts_after_the_invalidation() {
    let mut world = world();
    populate(&mut world.driver, 2);
    for va in world.driver.space(1).pages().collect::<Vec<_>>() {
        if !world.driver.space(2).permits(va, false) {
            world.driver.allocate(2, va, PAGE, PAGE);
        }
    }
    let copy_ring =
        |world: &World| world.driver.write(2, RINGS, &world.driver.read(1, RINGS, PAGE));
    copy_ring(&world);
    for va in world.driver.space(2).pages().collect::<Vec<_>>() {
        world.driver.map(2, va, PAGE, true);
    }
    world.with_engine(|world, engine| {
        walks(world, engine);
        // PASID 1 now names the other process.
        world.driver.set_context(1, world.driver.space(2).root | 1);
        world.driver.invalidate(1, 0, 0);
        commands(world);
        copy_ring(world);
        world.submit(command(OP_FILL, 8));
        copy_ring(world);
        exhaust(engine);
        assert_eq!(world.driver.read64(2, DESTINATION), 0x0807_0605_0403_0201);
        assert_ne!(world.driver.read64(1, DESTINATION), 0x0807_0605_0403_0201);
    });
}

/// Rule 2: processes with the same addresses, and PASIDs of the same space,
/// never meet, whichever engine runs them in whichever order.
#[test]
fn processes_reach_only_their_own_memory() {
    let mut world = world();
    // They share a space, a place in the cache of tables, a place in the TLB.
    let pasids = [1, 1 + 64, 1 + 512, 1 + 8192];
    let queues = queues(&mut world, &pasids);
    let data = |pasid: u32| vec![pasid as u8 ^ (pasid >> 8) as u8; 4 * PAGE as usize];
    for pasid in pasids {
        world.driver.write(pasid, SOURCE, &data(pasid));
    }
    world.with_engines(2, |world, engines| {
        for round in 0..6 {
            for queue in &queues {
                world.driver.submit(queue, command(OP_COPY, 4 * PAGE));
                let destination = DESTINATION + 5 * PAGE;
                let add = Descriptor { destination, ..command(OP_FETCH_ADD, 0) };
                world.driver.submit(queue, add);
            }
            if round % 2 == 1 {
                world.driver.invalidate(513, 0, 0);
                world.driver.invalidate(65, SOURCE, PAGE);
            }
            settle(&mut world.driver, engines, &mut serve);
        }
    });
    for pasid in pasids {
        assert_eq!(world.driver.read(pasid, DESTINATION, 4 * PAGE), data(pasid));
    }
    // Six additions each, not 24.
    let mut other = World::new(DeviceConfig::default());
    let start = other.driver.read64(1, DESTINATION + 5 * PAGE);
    let end = start.wrapping_add(6 * 0x0807_0605_0403_0201);
    assert!(pasids.iter().all(|p| world.driver.read64(*p, DESTINATION + 5 * PAGE) == end));
    assert_eq!(other.run(command(OP_NOP, 0)).status, STATUS_OK);
    assert_eq!(world.driver.device.step_commands(), Step::Idle);
}
