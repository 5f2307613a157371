// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Behind an IOMMU: each address leads elsewhere, may be refused, and rule 1
//! holds for what the IOMMU says as it does for what the page table says.

use crate::world::{
    DESTINATION, PAGES, RECORD, SOURCE, World, command, commands, exhaust, lookahead,
};
use farfault_abi::descriptor::*;
use farfault_abi::fault::*;
use farfault_abi::pci::DOORBELL_COMMAND;
use farfault_abi::regs::*;
use farfault_device_model::{DeviceConfig, Engine, Permits, RefusalCause, Step, Stretch};
use farfault_reference_driver::{LARGE, PAGE, Pages};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// DMA addresses are so far from physical ones that no memory is there.
const SHIFT: u64 = 1 << 40;
const NOTHING: [(u64, Permits); 0] = [];

/// All there, lookahead of one so that a fault is one record.
fn world() -> (World, Arc<Pages>) {
    World::behind_iommu(lookahead(1), SHIFT)
}

/// The frame of `va`.
fn frame(world: &World, va: u64) -> u64 {
    world.driver.space(1).physical(va)
}

/// Runs a command on this engine; the one fault that it meets, if it does, which is refused.
fn attempt(world: &mut World, engine: &mut Engine<'_>, command: Descriptor) -> Option<Fault> {
    world.submit(command);
    exhaust(engine);
    let fault = world.driver.next_fault()?;
    assert_eq!(world.driver.take_faults(), []);
    world.driver.respond(0, fault.group, true);
    world.turn(engine);
    Some(fault)
}

fn reason(fault: Option<Fault>) -> Option<(u32, u64)> {
    fault.map(|fault| (fault.reason.into(), fault.address))
}

#[test]
fn everything_goes_through_it() {
    let (mut world, iommu) = World::behind_iommu(DeviceConfig::default(), SHIFT);
    for opcode in [OP_COPY, OP_FILL, OP_COMPARE, OP_FETCH_ADD, OP_WORD_COUNT, OP_SAXPY, OP_CHASE] {
        world.check(command(opcode, if opcode == OP_COMPARE { PAGE } else { 2048 }));
    }
    assert_eq!(iommu.take_refused(), NOTHING);
}

#[test]
fn a_leaf_that_it_does_not_map_is_unreachable() {
    let (mut world, iommu) = world();
    let page = frame(&world, SOURCE);
    world.with_engine(|world, engine| {
        assert_eq!(attempt(world, engine, command(OP_WORD_COUNT, 64)), None);
        iommu.set(page, None);
        world.driver.device.dma_changed();
        let fault = attempt(world, engine, command(OP_WORD_COUNT, 64));
        assert_eq!(reason(fault), Some((REASON_UNREACHABLE, SOURCE)));
        assert_eq!(iommu.take_refused(), [(page, Permits::READ)]);
        iommu.restore();
        // What is not there is not remembered.
        assert_eq!(attempt(world, engine, command(OP_WORD_COUNT, 64)), None);
    });
    assert_eq!(world.driver.read32(REG_ERRORS), ERR_TABLE);
}

/// An engine forgets what leads to memory that was unmapped, and knows all else still.
#[test]
fn what_stays_mapped_is_not_asked_for_again() {
    let (mut world, iommu) = world();
    let page = frame(&world, SOURCE);
    let stretch = |page: u64| Stretch { start: page, last: page + PAGE - 1 };
    world.with_engine(|world, engine| {
        assert_eq!(attempt(world, engine, command(OP_WORD_COUNT, 64)), None);
        iommu.take_asked();
        let other = frame(world, SOURCE + PAGE);
        world.driver.device.change_dma(|gone| {
            iommu.set(other, None);
            gone.push(stretch(other));
        });
        assert_eq!(attempt(world, engine, command(OP_WORD_COUNT, 64)), None);
        assert_eq!(iommu.take_asked(), 0);
        world.driver.device.change_dma(|gone| {
            iommu.set(page, None);
            gone.push(stretch(page));
        });
        let fault = attempt(world, engine, command(OP_WORD_COUNT, 64));
        assert_eq!(reason(fault), Some((REASON_UNREACHABLE, SOURCE)));
    });
}

#[test]
fn its_permissions_count_as_well() {
    let (mut world, iommu) = world();
    let page = frame(&world, DESTINATION);
    let cases = [
        (OP_FILL, Permits::READ, Some(Permits::WRITE)),
        (OP_FILL, Permits::WRITE, None),
        (OP_FETCH_ADD, Permits::READ, Some(Permits::ALL)),
        (OP_FETCH_ADD, Permits::WRITE, Some(Permits::ALL)),
        (OP_FETCH_ADD, Permits::ALL, None),
    ];
    for (opcode, permits, refused) in cases {
        iommu.set(page, Some((page, permits)));
        world.with_engine(|world, engine| {
            // Reading comes first, so that there is something in the TLB.
            let reading = Descriptor { source: DESTINATION, ..command(OP_WORD_COUNT, 8) };
            let read = attempt(world, engine, reading).is_none();
            assert_eq!(read, permits.read);
            iommu.take_refused();
            for _ in 0..2 {
                let fault = attempt(world, engine, command(opcode, 8));
                let expected = refused.map(|_| (REASON_UNREACHABLE, DESTINATION));
                assert_eq!(reason(fault), expected, "{opcode} with {permits:?}");
                assert_eq!(iommu.take_refused(), Vec::from_iter(refused.map(|r| (page, r))));
            }
        });
    }
}

/// A write that was permitted is no promise for the read of a read-write access.
#[test]
fn what_may_only_be_written_is_not_remembered_for_both() {
    let (mut world, iommu) = world();
    // Not the first page, whose place in a TLB is the ring's as well.
    let destination = DESTINATION + 3 * PAGE;
    let page = frame(&world, destination);
    iommu.set(page, Some((page, Permits::WRITE)));
    world.with_engine(|world, engine| {
        let mut attempt =
            |opcode| attempt(world, engine, Descriptor { destination, ..command(opcode, 8) });
        assert_eq!(attempt(OP_FILL), None);
        assert_eq!(reason(attempt(OP_FETCH_ADD)), Some((REASON_UNREACHABLE, destination)));
    });
}

#[test]
fn what_the_page_table_refuses_is_no_dma_fault() {
    let (mut world, iommu) = world();
    let page = frame(&world, DESTINATION);
    iommu.set(page, None);
    world.driver.map(1, DESTINATION, PAGE, false);
    world.driver.invalidate(1, 0, 0);
    commands(&world);
    let fault = world.with_engine(|world, engine| attempt(world, engine, command(OP_FILL, 8)));
    assert_eq!(reason(fault), Some((REASON_PERMISSION, DESTINATION)));
    assert_eq!(iommu.take_refused(), NOTHING);
}

#[test]
fn looking_ahead_is_no_dma_fault() {
    let (mut world, iommu) = World::behind_iommu(lookahead(64), SHIFT);
    let ahead = frame(&world, SOURCE + 5 * PAGE);
    iommu.set(ahead, None);
    world.driver.take_away(1, SOURCE, PAGE);
    commands(&world);
    world.submit(command(OP_WORD_COUNT, PAGES * PAGE));
    let faults = world.faults();
    // All the lookahead was seen to, and the page that cannot be reached is not asked for.
    let asked: Vec<_> = faults.iter().map(|fault| fault.address).collect();
    assert_eq!((asked, iommu.take_refused()), (vec![SOURCE], NOTHING.to_vec()));
}

#[test]
fn tables_that_it_does_not_map_are_unreachable() {
    let (mut world, iommu) = world();
    let mut places = vec![world.driver.contexts];
    places.extend((0..4).map(|level| world.driver.entry(1, SOURCE, level)));
    for place in places.into_iter().map(|place| place & !(PAGE - 1)) {
        iommu.set(place, None);
        world.driver.device.dma_changed();
        world.submit(command(OP_WORD_COUNT, 64));
        let fault = world.with_engine(|world, engine| {
            exhaust(engine);
            world.driver.next_fault().expect("a fault")
        });
        assert_eq!(u32::from(fault.reason), REASON_UNREACHABLE);
        assert!(iommu.take_refused().contains(&(place, Permits::READ)), "{place:#x}");
        // It goes on where it stopped.
        iommu.restore();
        world.driver.respond(0, fault.group, false);
        world.driver.settle();
        assert_eq!(world.record().status, STATUS_OK);
    }
}

#[test]
fn rings_and_fences_that_it_does_not_map_are_reported_and_wait() {
    let (mut world, iommu) = world();
    let clear = |world: &World| world.driver.write32(REG_ERRORS, u32::MAX);
    let (ring, fence) = (world.driver.commands.base, world.driver.fence);
    for (page, permits) in [(ring, None), (ring, Some((ring, Permits::WRITE))), (fence, None)] {
        iommu.set(page, permits);
        let value = world.driver.wait();
        commands(&world);
        assert!(!world.driver.reached(value));
        assert_eq!(world.driver.read32(REG_ERRORS), ERR_COMMAND_RING);
        assert_eq!(iommu.take_refused()[0].0, page);
        clear(&world);
        iommu.restore();
        let value = world.driver.wait();
        commands(&world);
        assert!(world.driver.reached(value));
    }

    // A fault record waits in the device until the ring can be reached again.
    let ring = world.driver.faults.base;
    iommu.set(ring, None);
    world.driver.take_away(1, SOURCE, PAGE);
    commands(&world);
    assert_eq!(iommu.take_refused(), NOTHING, "nothing to post, nothing touched");
    world.submit(command(OP_WORD_COUNT, 64));
    world.with_engine(|_, engine| exhaust(engine));
    assert_eq!(world.driver.read32(REG_ERRORS), ERR_FAULT_RING);
    assert_eq!(iommu.take_refused()[0].0, ring);
    clear(&world);
    iommu.restore();
    world.driver.wait();
    commands(&world);
    assert_eq!(world.driver.take_faults().len(), 1);
    assert_eq!(world.driver.read32(REG_ERRORS), 0);
}

#[test]
fn the_device_is_not_enabled_on_what_it_cannot_reach() {
    let (mut world, iommu) = world();
    let driver = &world.driver;
    let (commands, faults) = (driver.commands, driver.faults);
    let structures = [
        (driver.contexts, 1 << 20),
        (commands.base, commands.bytes()),
        (faults.base, faults.bytes()),
    ];
    for page in structures.iter().flat_map(|(at, size)| [*at, (at + size - 1) & !(PAGE - 1)]) {
        driver.device.reset();
        iommu.set(page, None);
        driver.set_up();
        assert_eq!((driver.read32(REG_STATUS), driver.read32(REG_ERRORS)), (0, ERR_BASE));
        iommu.restore();
    }
    world.driver.device.reset();
    world.driver.enable();
}

/// A list of two nodes, so that words are loaded by themselves.
fn chase() -> Descriptor {
    Descriptor { source: SOURCE, operand: 8, operand2: 0, ..command(OP_CHASE, 9) }
}

/// Rule 1: the order in which a driver unmaps a page for DMA, step by step.
#[test]
fn nothing_of_an_old_mapping_is_used_after_the_invalidation() {
    let (mut world, iommu) = world();
    let old = frame(&world, SOURCE);
    let machine = world.driver.machine.clone();
    let new = world.driver.frames.take_zeroed(&machine);
    for (page, value) in [(old, 5), (new, 7)] {
        machine.write(page, &[u64::to_le_bytes(value), [0; 8]].concat());
    }
    world.with_engine(|world, engine| {
        let mut results = |world: &mut World| {
            let copy = command(OP_COPY, 8);
            assert_eq!(attempt(world, engine, copy), None);
            let copied = world.driver.read64(1, DESTINATION);
            assert_eq!(attempt(world, engine, chase()), None);
            (copied, world.record().result)
        };
        assert_eq!(results(world), (5, 5));
        iommu.set(old, Some((new, Permits::ALL)));
        // Until it is told, an engine may use what it remembers, and this one does.
        assert_eq!(results(world), (5, 5));
        world.driver.device.dma_changed();
        assert_eq!(results(world), (7, 7));

        // The same for a last-level table, which engines remember, too.
        let driver = &mut world.driver;
        let table = driver.entry(1, SOURCE, 0) & !(PAGE - 1);
        let other = driver.frames.take_zeroed(&machine);
        let mut bytes = [0; PAGE as usize];
        machine.read(table, &mut bytes);
        machine.write(other, &bytes);
        iommu.restore();
        iommu.set(table, Some((other, Permits::READ)));
        driver.device.dma_changed();
        machine.write(table, &[0xff; PAGE as usize]);
        assert_eq!(results(world), (5, 5));
    });
    assert_eq!(iommu.take_refused(), NOTHING);
}

const LEAF: u64 = 1 << 32;

/// The same with a leaf of 2 MiB, and where that is.
fn world_with_leaf() -> (World, Arc<Pages>, u64) {
    let (mut world, iommu) = world();
    world.driver.allocate(1, LEAF, LARGE, LARGE);
    world.driver.map(1, LEAF, 1, true);
    let physical = frame(&world, LEAF);
    (world, iommu, physical)
}

/// A large leaf is one piece of the device's address space, and need not be one of memory.
#[test]
fn a_large_leaf_may_be_scattered() {
    let (mut world, iommu, physical) = world_with_leaf();
    let machine = world.driver.machine.clone();
    let page = world.driver.frames.take_zeroed(&machine);
    iommu.set(physical + 3 * PAGE, Some((page, Permits::ALL)));
    for at in 0..8 {
        let at = at * PAGE;
        let place = if at == 3 * PAGE { page } else { physical + at };
        machine.write(place, &[at as u8 / 16 + 1; PAGE as usize]);
        machine.write(place, &(at / PAGE + 1).to_le_bytes());
    }
    world.run(Descriptor { source: LEAF, ..command(OP_COPY, 8 * PAGE) });
    for at in 0..8 {
        assert_eq!(world.driver.read64(1, DESTINATION + at * PAGE), at + 1);
    }
    assert_eq!(iommu.take_refused(), NOTHING, "a look that finds no run is no access");
    // In one piece again, and a single walk suffices for all of it.
    iommu.restore();
    world.driver.device.dma_changed();
    let cost = |world: &mut World, pages| {
        world.with_engine(|world, engine| {
            let before = world.counters().walks;
            let counting = Descriptor { source: LEAF, ..command(OP_WORD_COUNT, pages * PAGE) };
            assert_eq!(attempt(world, engine, counting), None);
            world.counters().walks - before
        })
    };
    assert_eq!(cost(&mut world, 1), cost(&mut world, 512));
    // A page that may only be read is one, and no other page of the leaf.
    iommu.set(physical + 3 * PAGE, Some((physical + 3 * PAGE, Permits::READ)));
    world.driver.device.dma_changed();
    assert_eq!(cost(&mut world, 1) + 511, cost(&mut world, 512));
    assert_eq!(world.record().status, STATUS_OK);
    assert_eq!(world.driver.completion(1, RECORD).done, LARGE);
    for (at, refused) in [(2 * PAGE, false), (3 * PAGE, true)] {
        let fault = world.with_engine(|world, engine| {
            let fill = Descriptor { destination: LEAF + at, ..command(OP_FILL, 8) };
            attempt(world, engine, fill)
        });
        assert_eq!(reason(fault), refused.then_some((REASON_UNREACHABLE, LEAF + at)));
    }
    assert_eq!(iommu.take_refused(), [(physical + 3 * PAGE, Permits::WRITE)]);
}

/// The worst that tables can be: every page is walked for, and no two are in one piece.
#[test]
fn a_section_asks_a_bounded_number_of_questions() {
    let (mut world, iommu, physical) = world_with_leaf();
    iommu.set(physical, Some((physical, Permits::ALL)));
    world.submit(Descriptor { source: LEAF, ..command(OP_WORD_COUNT, LARGE) });
    world.with_engine(|_, engine| {
        let mut asked = Vec::new();
        iommu.take_asked();
        while engine.step() == Step::Worked {
            asked.push(iommu.take_asked());
        }
        // Five reads of tables and three pieces, for each of 128 accesses.
        assert!(asked.iter().all(|asked| *asked <= 128 * 8), "{asked:?}");
        assert!(asked.iter().sum::<u64>() > 512 * 5, "{asked:?}");
    });
    assert_eq!(world.record().status, STATUS_OK);
}

/// Whoever is told of a refusal may do to the device what waits for all its sections;
/// and is told whose the access was.
#[test]
fn refusals_are_told_when_nothing_is_held() {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (mut world, iommu) = world();
        let (page, ring) = (frame(&world, SOURCE), world.driver.commands.base);
        let device = world.driver.device.clone();
        world.driver.machine.on_refusal(move || {
            device.dma_changed();
            device.set_bus_master(true);
            device.write(REG_ERRORS.into(), &[0; 4]);
            device.doorbell(DOORBELL_COMMAND.into());
        });
        iommu.set(page, None);
        world.driver.device.dma_changed();
        world.with_engine(|world, engine| attempt(world, engine, command(OP_WORD_COUNT, 64)));
        iommu.restore();
        iommu.set(ring, None);
        world.driver.wait();
        commands(&world);
        iommu.restore();
        let ring = world.driver.faults.base;
        iommu.set(ring, None);
        world.driver.take_away(1, SOURCE, PAGE);
        commands(&world);
        world.submit(command(OP_WORD_COUNT, 64));
        world.with_engine(|_, engine| exhaust(engine));
        world.driver.device.read(2, &mut [0; 2]);
        tell.send((world.driver.machine.take_refusals(), page)).expect("a test that waits");
    });
    let (refusals, page) = told.recv_timeout(Duration::from_secs(100)).expect("a lock was held");
    let causes: Vec<_> = refusals.iter().map(|refusal| refusal.cause).collect();
    let table = RefusalCause::Table { reason: REASON_UNREACHABLE, level: 0 };
    let (commands, faults) = (RefusalCause::CommandRing, RefusalCause::FaultRing);
    assert_eq!(causes, [table, commands, faults, RefusalCause::Register]);
    let line = format!(
        "a page-table entry that leads outside memory, level 0, queue 0, PASID 1, address \
         {SOURCE:#x}; the IOMMU refused DMA address {:#x} for reason 0x0",
        SHIFT + page
    );
    assert_eq!(refusals[0].to_string(), line);
    assert_eq!(refusals[1].dma.map(|fault| fault.wanted), Some(Permits::READ));
    assert_eq!(refusals[3].address, Some(2));
}
