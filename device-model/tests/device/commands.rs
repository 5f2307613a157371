// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every command against the oracle: on memory that the device has never seen,
//! in leaves of every size, at every alignment, and with a fault on every page.

use crate::world::{DESTINATION, PAGES, RECORD, SOURCE, World, command, exhaust, lookahead};
use farfault_abi::descriptor::*;
use farfault_device_model::DeviceConfig;
use farfault_reference_driver::{Answer, Driver, FakeMachine, HUGE, LARGE, Oracle, PAGE, settle};

const STREAMING: [u32; 6] = [OP_COPY, OP_FILL, OP_COMPARE, OP_WORD_COUNT, OP_HISTOGRAM, OP_SAXPY];

fn longest(opcode: u32) -> u64 {
    if opcode == OP_SAXPY { PAGES * PAGE / 4 } else { PAGES * PAGE }
}

#[test]
fn each_command_on_fresh_memory() {
    for opcode in STREAMING {
        let mut world = World::new(DeviceConfig::default());
        let record = world.check(command(opcode, longest(opcode)));
        assert_eq!(record.status, STATUS_OK);
    }
}

#[test]
fn a_lookahead_of_one_faults_on_each_page_in_turn() {
    for opcode in STREAMING {
        let mut world = World::new(lookahead(1));
        let before = world.driver.device.counters();
        world.check(command(opcode, longest(opcode)));
        let after = world.driver.device.counters();
        let pages = match opcode {
            OP_COMPARE => 2, // differs in the first page
            OP_FILL | OP_WORD_COUNT => PAGES,
            OP_HISTOGRAM => PAGES + 1,
            _ => 2 * PAGES,
        };
        // ... and the page of the completion record.
        let rest = 2;
        assert_eq!(after.fault_groups - before.fault_groups, pages + rest, "{opcode}");
        assert_eq!(after.lookaheads, 0);
    }
}

/// At each fault all that the command has used goes away, so it meets every page anew.
#[test]
fn restarts_exactly_at_every_page() {
    for opcode in STREAMING {
        let mut world = World::new(lookahead(1));
        if opcode == OP_COMPARE {
            let same = world.driver.read(1, SOURCE, PAGES * PAGE);
            world.driver.write(1, DESTINATION, &same);
        }
        let descriptor =
            Descriptor { completion: RECORD, fence: 9, ..command(opcode, longest(opcode)) };
        let mut oracle = Oracle::new(&world.driver.machine, world.driver.space(1));
        let expected = oracle.carry_out(&descriptor);
        world.driver.submit(&world.queue, descriptor);
        world.with_engines(1, |world, engines| {
            settle(&mut world.driver, engines, &mut |driver, fault| {
                for base in [SOURCE, DESTINATION] {
                    driver.take_away(1, base, PAGES * PAGE);
                }
                // Both operands of a piece must be there at once.
                if fault.address >= SOURCE {
                    let page = (fault.address % 0x100_0000) & !(PAGE - 1);
                    let write = fault.address >= DESTINATION || opcode != OP_HISTOGRAM;
                    for base in [SOURCE, DESTINATION] {
                        driver.map(1, base + page, PAGE, write);
                    }
                }
                Answer::Serve
            });
        });
        assert_eq!(world.driver.completion(1, RECORD), expected, "{opcode}");
        for base in [SOURCE, DESTINATION] {
            let memory = world.driver.read(1, base, PAGES * PAGE);
            let right = |(at, byte)| oracle.byte(at) == Some(byte);
            assert!((base..).zip(memory).all(right), "{opcode}");
        }
        assert!(world.counters().fault_groups >= PAGES, "{opcode}");
    }
}

#[test]
fn odd_lengths_and_alignments() {
    let mut world = World::new(DeviceConfig::default());
    for opcode in STREAMING {
        for (source, destination, length) in
            [(1, 2, 1), (4095, 1, 4098), (3, 4093, 5 * PAGE + 1), (4092, 4088, 2 * PAGE), (0, 8, 0)]
        {
            let mut descriptor = command(opcode, length);
            descriptor.source += source;
            descriptor.destination += destination;
            world.check(descriptor);
        }
    }
}

#[test]
fn scalars() {
    let mut world = World::new(DeviceConfig::default());
    world.check(command(OP_NOP, 0));
    world.check(command(OP_FENCE, 0));
    assert_eq!(world.driver.read64(1, DESTINATION), 0x0807_0605_0403_0201);
    let old = world.check(command(OP_FETCH_ADD, 0)).result;
    assert_eq!(old, 0x0807_0605_0403_0201);
    assert_eq!(
        world.check(Descriptor { operand: u64::MAX, ..command(OP_FETCH_ADD, 0) }).result,
        2 * old
    );
}

#[test]
fn chase_follows_any_list() {
    let mut world = World::new(DeviceConfig::default());
    // Nodes hop over all pages, some across a page's end and unaligned.
    let node = |i: u64| {
        SOURCE + (i * 11 % (PAGES - 1)) * PAGE + if i.is_multiple_of(3) { 4089 } else { 16 * i }
    };
    for i in 0..30 {
        let next = if i == 29 { 0 } else { node(i + 1) };
        world.driver.write(1, node(i), &(i * i).to_le_bytes());
        world.driver.write(1, node(i) + 8, &next.to_le_bytes());
    }
    let start = Descriptor { source: node(0), operand: 8, operand2: 0, ..command(OP_CHASE, 1000) };
    let record = world.check(start);
    assert_eq!((record.done, record.result), (30, (0..30).map(|i| i * i).sum()));
    // The number of nodes ends it too, also in a circle.
    world.driver.write(1, node(29) + 8, &node(0).to_le_bytes());
    assert_eq!(world.check(start).done, 1000);
    // A link out of the address space.
    world.driver.write(1, node(29) + 8, &(u64::MAX - 3).to_le_bytes());
    assert_eq!(world.check(start).status, STATUS_BAD_ADDRESS);
    // A link to nothing.
    world.driver.write(1, node(29) + 8, &0x7777_0000u64.to_le_bytes());
    let record = world.check(start);
    assert_eq!((record.status, record.fault_address), (STATUS_FAULT, 0x7777_0000));
}

/// A link is read whole, also by the load that a section has no more room for: a
/// driver that changes it never has the device follow half of each.
#[test]
fn a_link_is_one_load_wherever_a_section_ends() {
    // Every node is on a page of its own that the engine does not know yet.
    let loads = |nodes: u64| {
        let mut world = World::new(DeviceConfig::default());
        let list = 1 << 33;
        world.driver.allocate(1, list, 100 * PAGE, PAGE);
        for i in 0..100 {
            world.driver.write(1, list + i * PAGE + 8, &(list + (i + 1) * PAGE).to_le_bytes());
        }
        world.map_all();
        let record = world.run(Descriptor { source: list, ..command(OP_CHASE, nodes) });
        assert_eq!(record.done, nodes);
        let counters = world.counters();
        counters.tlb_hits + counters.tlb_misses
    };
    for nodes in 50..80 {
        let more = loads(nodes + 1) - loads(nodes);
        // Of a section more its own few, not one for each byte.
        assert!((2..8).contains(&more), "node {nodes} took {more}");
    }
}

/// Words of large leaves are remembered by pages; nothing else may notice.
#[test]
fn chase_through_large_leaves() {
    let mut world = World::new(DeviceConfig::default());
    let (large, pages) = ((1 << 32) + 4 * LARGE, 2 * LARGE / PAGE);
    world.driver.allocate(1, large, 2 * LARGE, LARGE);
    // Over all pages of two leaves, one node across the end of the first.
    let node = |i: u64| match i % 3 {
        _ if i == 7 => large + LARGE - 4,
        0 => large + i * 37 % (pages - 1) * PAGE + 4089,
        _ => large + i * 37 % (pages - 1) * PAGE + 16 * (i % 200),
    };
    for i in 0..600 {
        world.driver.write(1, node(i), &(i * i).to_le_bytes());
        world.driver.write(1, node(i) + 8, &node(i + 1).to_le_bytes());
    }
    let chase = Descriptor { source: node(0), operand2: 0, ..command(OP_CHASE, 600) };
    world.check(chase);
    world.with_engine(|world, engine| {
        for known in [false, true] {
            let walks = world.counters().walks;
            let descriptor = world.submit(chase);
            exhaust(engine);
            let record = world.record();
            assert_eq!((record.fence, record.status), (descriptor.fence, STATUS_OK));
            assert_eq!((record.done, record.result), (600, (0..600).map(|i| i * i).sum()));
            assert_eq!(world.counters().walks == walks, known);
        }
    });
    world.check(Descriptor { source: large, ..command(OP_COPY, 30 * PAGE) });
    world.check(Descriptor { destination: large, ..command(OP_COPY, 30 * PAGE) });
}

#[test]
fn bad_descriptors_end_with_a_status_and_the_queue_lives() {
    let mut world = World::new(DeviceConfig::default());
    for opcode in [0, 11, 200, 255] {
        assert_eq!(world.check(command(opcode, 8)).status, STATUS_BAD_OPCODE);
    }
    let top = (1u64 << 48) - PAGE;
    for opcode in STREAMING.into_iter().chain([OP_NOP, OP_FENCE, OP_FETCH_ADD, OP_CHASE]) {
        let addresses = [0, 1, 4, 8, top, top + 8, 1 << 48, 1 << 63, u64::MAX - 7, u64::MAX];
        let lengths = [0, 1, u64::MAX, u64::MAX / 4 + 2, 1 << 47];
        let every_address = addresses.map(|at| (at, 2 * PAGE));
        let every_length = lengths.map(|length| (top + 8, length));
        for (at, length) in every_address.into_iter().chain(every_length) {
            let plain = command(opcode, length);
            world.check(Descriptor { source: at, ..plain });
            world.check(Descriptor { destination: at, ..plain });
        }
        let plain = command(opcode, 64);
        assert_eq!(world.check(Descriptor { flags: 2, ..plain }).status, STATUS_BAD_OPERAND);
        assert_eq!(world.check(Descriptor { reserved0: 1, ..plain }).status, STATUS_BAD_OPERAND);
        assert_eq!(world.check(Descriptor { reserved1: 1, ..plain }).status, STATUS_BAD_OPERAND);
    }
    for opcode in [OP_COPY, OP_SAXPY] {
        let plain = command(opcode, PAGE);
        let overlap = Descriptor { destination: SOURCE + 8, ..plain };
        assert_eq!(world.check(overlap).status, STATUS_BAD_OPERAND);
        let same = Descriptor { destination: SOURCE, ..plain };
        assert_eq!(world.check(same).status, STATUS_OK);
    }
    assert_eq!(world.check(command(OP_COPY, 64)).status, STATUS_OK);
}

#[test]
fn memory_that_is_not_there_or_read_only() {
    for opcode in STREAMING {
        let mut world = World::new(DeviceConfig::default());
        world.driver.protect(1, DESTINATION + 3 * PAGE, false);
        world.check(command(opcode, longest(opcode)));
        let mut past = command(opcode, longest(opcode));
        past.source += 5 * PAGE;
        past.destination += 5 * PAGE;
        let record = world.check(past);
        assert!(
            opcode == OP_COMPARE
                || opcode == OP_HISTOGRAM && record.done == 35 * PAGE
                || record.status == STATUS_FAULT
        );
        // The queue is none the worse for it.
        assert_eq!(world.check(command(OP_NOP, 0)).status, STATUS_OK);
    }
}

#[test]
fn leaves_of_every_size() {
    // Some of it in two regions that touch, so that a large leaf lies across them.
    let seam = (3 << 30) + (1 << 20);
    let machine = FakeMachine::new(&[(0, seam), (seam as u64, (1 << 30) - (1 << 20))]);
    let mut driver = Driver::start_with(DeviceConfig::default(), machine, 64);
    driver.create_space(1);
    let queue = driver.create_queue(0, 1, 0x10000, 16);
    driver.allocate(1, 0x20000, PAGE, PAGE);
    let (small, large, huge) = (1 << 31, 2 << 31, 3 << 31);
    driver.allocate(1, small, 2 * LARGE, PAGE);
    driver.allocate(1, large, 2 * LARGE, LARGE);
    driver.allocate(1, huge, HUGE, HUGE);
    driver.allocate(1, huge + HUGE, HUGE, HUGE);
    driver.settle();
    let data: Vec<u8> = (0..LARGE + 5000).map(|i| ((i * i) >> 7) as u8).collect();
    driver.write(1, small + 77, &data);
    let hops = [
        (small + 77, large + 999),
        (large + 999, huge + 12345),
        (huge + 12345, huge + HUGE + (1 << 20) - 100),
    ];
    for (fence, (source, destination)) in (1..).zip(hops) {
        let length = data.len() as u64;
        let copy =
            Descriptor { source, destination, completion: 0x20000, ..command(OP_COPY, length) };
        driver.submit(&queue, Descriptor { fence, ..copy });
        driver.settle();
        let record = driver.completion(1, 0x20000);
        assert_eq!((record.fence, record.status), (fence, STATUS_OK));
        assert!(driver.read(1, destination, length) == data);
    }
    // Ring, record, and leaves: 2 MiB and 5000 bytes of 4 KiB, two of 2 MiB, one and one of 1 GiB.
    let counters = driver.device.counters();
    assert_eq!(counters.page_requests - counters.lookaheads, counters.fault_groups);
    assert!(counters.walks > counters.page_requests);
}

#[test]
fn look_ahead_asks_in_the_order_of_need() {
    let mut world = World::new(lookahead(8));
    world.driver.map(1, world.queue.ring.base, PAGE, true);
    let mut copy = command(OP_COPY, 20 * PAGE);
    copy.source += PAGE - 16; // its second page is needed after 16 bytes
    world.driver.map(1, DESTINATION + PAGE, PAGE, true); // there already
    world.driver.submit(&world.queue, copy);
    let asked = world.faults();
    let pages: Vec<u64> = asked.iter().map(|f| f.address).collect();
    let [s1, s2, s3, s4] = [1, 2, 3, 4].map(|page| SOURCE + page * PAGE);
    let [d0, d2, d3] = [0, 2, 3].map(|page| DESTINATION + page * PAGE);
    assert_eq!(pages, [s1 - 16, d0, s1, s2, d2, s3, d3, s4]);
    let flags: Vec<u8> = asked.iter().map(|f| f.flags).collect();
    assert_eq!(flags, [0, 2, 2, 2, 2, 2, 2, 3]);
    // The source lies across 21 pages and the destination fills 20.
    let extents: Vec<u32> = asked.iter().map(|f| f.extent).collect();
    assert_eq!(extents, [20, 19, 19, 18, 17, 17, 16, 16]);
    assert!(asked.iter().all(|f| f.group == asked[0].group && f.pasid == 1 && f.queue == 0));
    assert_eq!((asked[0].access, asked[1].access), (1, 2));
}

#[test]
fn what_cannot_tell_how_far_it_goes_says_nothing() {
    let mut world = World::new(DeviceConfig::default());
    world.driver.map(1, world.queue.ring.base, PAGE, true);
    for command in [
        Descriptor { operand2: 8, ..command(OP_CHASE, 100) },
        Descriptor { operand: 1, ..command(OP_FETCH_ADD, 0) },
    ] {
        world.driver.submit(&world.queue, command);
        let asked = world.faults();
        assert_eq!(asked.iter().map(|f| f.extent).collect::<Vec<_>>(), [0]);
        world.driver.respond(asked[0].queue, asked[0].group, true);
        world.driver.settle();
    }
}

/// What the main promise of batching comes to, counted.
#[test]
fn fresh_memory_is_asked_for_in_full_batches() {
    let mut driver = Driver::start_sized(DeviceConfig::default(), 160 << 20, 1024);
    driver.create_space(1);
    let queue = driver.create_queue(0, 1, 0x10000, 16);
    driver.map(1, 0x10000, PAGE, true);
    let (far, bytes) = (1 << 40, 64 << 20);
    driver.allocate(1, far, bytes, PAGE);
    driver.settle();
    let fill = Descriptor { destination: far, operand: 7, ..command(OP_FILL, bytes) };
    driver.submit(&queue, fill);
    driver.settle();
    let counters = driver.device.counters();
    let pages = bytes / PAGE;
    assert_eq!((counters.page_requests, counters.fault_groups), (pages, pages / 256));
    assert_eq!(counters.lookaheads, pages - pages / 256);
    assert_eq!(counters.msix_fault, pages / 256);
    assert_eq!((counters.descriptors, counters.bytes_written), (1, bytes));
}
