// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Queues side by side: nobody waits for a parked one, everybody gets a turn.

use crate::world::{DESTINATION, RECORD, SOURCE, World, command, commands, exhaust};
use farfault_abi::descriptor::*;
use farfault_abi::pci::VECTOR_QUEUE;
use farfault_device_model::{DeviceConfig, Engine, Step};
use farfault_reference_driver::{Driver, LARGE, PAGE, serve, with_engines};

#[test]
fn a_parked_queue_holds_nobody_up() {
    for engines in [1, 2] {
        let mut world = World::new(DeviceConfig::default());
        let parked: Vec<_> = (1..40).map(|number| world.add_queue(number)).collect();
        world.map_all();
        world.driver.unmap(1, SOURCE, PAGE);
        for queue in &parked {
            world.driver.submit(queue, command(OP_COPY, PAGE));
        }
        world.with_engines(engines, |world, engines| {
            engines.iter_mut().map(exhaust).for_each(drop);
            for _ in 0..5 {
                let sent =
                    world.submit(Descriptor { source: SOURCE + PAGE, ..command(OP_COPY, PAGE) });
                engines.iter_mut().map(exhaust).for_each(drop);
                assert_eq!((world.record().fence, world.record().status), (sent.fence, STATUS_OK));
            }
            assert_eq!(world.counters().descriptors, 5);
        });
    }
}

#[test]
fn long_commands_take_turns() {
    let mut driver = Driver::start_sized(DeviceConfig::default(), 128 << 20, 64);
    driver.create_space(1);
    let (bytes, far) = (8 * LARGE, 1 << 32);
    driver.allocate(1, far, 2 * bytes, LARGE);
    driver.map(1, far, LARGE, true);
    for va in (far..far + 2 * bytes).step_by(LARGE as usize) {
        driver.map(1, va, 1, true);
    }
    let queues: Vec<_> =
        (0..3).map(|q| driver.create_queue(q, 1, (u64::from(q) + 1) << 20, 4)).collect();
    driver.settle();
    for queue in &queues {
        driver.map(1, queue.ring.base, PAGE, true);
        let (source, destination) = (far, far + bytes);
        driver.submit(queue, Descriptor { source, destination, ..command(OP_COPY, bytes) });
    }
    // A short one behind three long ones is done after a slice of each, not after all of each.
    let device = driver.device.clone();
    let short = driver.create_queue(9, 1, 16 << 20, 4);
    driver.map(1, short.ring.base, PAGE, true);
    while device.step_commands() == Step::Worked {}
    driver.submit(&short, command(OP_NOP, 0));
    with_engines(&device, 1, |engines| {
        while driver.read64(1, short.ring.head()) & 0xffff_ffff == 0 {
            assert_eq!(engines[0].step(), Step::Worked);
        }
        let copied = device.counters().bytes_written;
        assert!((1 << 20..4 << 20).contains(&copied), "{copied} bytes were copied meanwhile");
        exhaust(&mut engines[0]);
    });
    assert_eq!(device.counters().descriptors, 4);
    assert_eq!(device.counters().bytes_written, 3 * bytes);
}

#[test]
fn a_doorbell_while_the_queue_runs_is_not_lost() {
    let mut world = World::mapped(DeviceConfig::default());
    world.with_engine(|world, engine| {
        // 40 pages take several sections; the second command comes in between.
        world.submit(command(OP_COPY, 40 * PAGE));
        assert_eq!(engine.step(), Step::Worked);
        let last = world.submit(command(OP_NOP, 0));
        exhaust(engine);
        assert_eq!(world.record().fence, last.fence);
    });
}

#[test]
fn an_engine_that_goes_leaves_its_queue_to_the_others() {
    let mut world = World::mapped(DeviceConfig::default());
    let sent = world.submit(command(OP_COPY, 40 * PAGE));
    world.with_engine(|_, engine| assert_eq!(engine.step(), Step::Worked));
    world.with_engine(|_, engine| exhaust(engine));
    assert_eq!((world.record().fence, world.record().done), (sent.fence, 40 * PAGE));
}

#[test]
fn disabling_waits_for_the_engine_that_runs_the_queue() {
    let mut world = World::mapped(DeviceConfig::default());
    world.with_engine(|world, engine| {
        world.submit(command(OP_COPY, 40 * PAGE));
        engine.step();
        world.driver.unbind(0);
        let fence = world.driver.wait();
        assert_eq!(world.driver.device.step_commands(), Step::Waiting);
        assert_eq!(world.driver.device.step_commands(), Step::Waiting);
        assert!(!world.driver.reached(fence));
        // The slice goes on to its end, then it is over.
        exhaust(engine);
        assert_eq!(commands(world), 2);
        assert!(world.driver.reached(fence));
        assert_eq!(engine.step(), Step::Idle);
        // Bound anew, it starts from the head in the ring.
        world.driver.bind(&world.queue);
        commands(world);
        let last = world.submit(command(OP_NOP, 0));
        exhaust(engine);
        assert_eq!(world.record().fence, last.fence);
    });
}

#[test]
fn disabling_drops_what_is_parked() {
    let mut world = World::mapped(DeviceConfig::default());
    world.driver.unmap(1, SOURCE, PAGE);
    world.submit(command(OP_COPY, PAGE));
    world.with_engine(|world, engine| {
        exhaust(engine);
        let fault = world.driver.take_faults()[0];
        world.driver.unbind(0);
        world.driver.respond(0, fault.group, false);
        commands(world);
        assert_eq!(world.counters().responses_stale, 1);
        assert_eq!(engine.step(), Step::Idle);
        world.driver.device.doorbell(0);
        assert_eq!(world.counters().doorbells_wild, 1);
    });
}

#[test]
fn completions_interrupt_on_the_vector_of_the_queue_when_asked() {
    let mut world = World::mapped(DeviceConfig::default());
    let irq = |flags: u32| Descriptor { flags: flags as u8, ..command(OP_NOP, 0) };
    for (flags, signals) in [(0, 0), (DESC_IRQ, 1), (DESC_IRQ, 2)] {
        world.run(irq(flags));
        assert_eq!(world.driver.machine.signals(VECTOR_QUEUE), signals);
    }
    // A refused command interrupts as well.
    world.run(Descriptor { opcode: 99, ..irq(DESC_IRQ) });
    assert_eq!(world.driver.machine.signals(VECTOR_QUEUE), 3);
    assert_eq!(world.counters().msix_queue, 3);
}

#[test]
fn descriptors_of_a_queue_are_done_in_order() {
    let mut world = World::new(DeviceConfig::default());
    for value in 1..16 {
        let (destination, completion) = (DESTINATION + 8 * value, RECORD + 64 * value);
        let fence = Descriptor { operand: value, destination, ..command(OP_FENCE, 0) };
        world.driver.submit(&world.queue, Descriptor { completion, fence: value, ..fence });
    }
    let mut last = 0;
    world.with_engines(2, |world, engines| {
        while last < 15 {
            engines.iter_mut().map(Engine::step).for_each(drop);
            world.driver.device.step_commands();
            world.driver.serve(&mut serve);
            let done = (1..16)
                .filter(|v| world.driver.completion(1, RECORD + 64 * v).fence == *v)
                .count() as u64;
            assert!((1..=done).all(|v| world.driver.read64(1, DESTINATION + 8 * v) == v));
            assert!(done >= last);
            last = done;
        }
    });
}
