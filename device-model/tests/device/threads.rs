// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device with its threads running, and a driver that moves pages about
//! under its feet. What is asserted is what must hold in every interleaving.

use crate::world::{DESTINATION, PAGES, RECORD, SOURCE, World, command, lookahead};
use farfault_abi::descriptor::*;
use farfault_device_model::{Device, DeviceConfig, Permits, Stretch};
use farfault_reference_driver::{PAGE, serve};
use std::thread;

/// Stops the device also when an assertion fails, or the threads would never end.
struct Stop<'a>(&'a Device);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Runs `body` while all threads of the device run.
fn with_threads(world: &mut World, body: impl FnOnce(&mut World)) {
    let device = world.driver.device.clone();
    thread::scope(|scope| {
        scope.spawn(|| device.run_engine(0));
        scope.spawn(|| device.run_engine(1));
        scope.spawn(|| device.run_commands());
        let _stop = Stop(&device);
        body(world);
    });
}

fn wait(world: &mut World) {
    let fence = world.driver.wait();
    while !world.driver.reached(fence) {
        thread::yield_now();
    }
}

/// One whole copy, whose faults are served.
fn copy(world: &mut World) {
    let sent = world.submit(command(OP_COPY, PAGES * PAGE));
    while world.record().fence != sent.fence {
        world.driver.serve(&mut serve);
        thread::yield_now();
    }
    assert_eq!(world.record().status, STATUS_OK);
    assert!(world.is_copied(PAGES * PAGE));
}

#[test]
fn threads_carry_out_commands_and_end() {
    let mut world = World::new(DeviceConfig::default());
    with_threads(&mut world, |world| {
        for _ in 0..50 {
            copy(world);
        }
    });
    assert_eq!(world.counters().descriptors, 50);
}

/// Memory goes and comes back under commands that run: no engine has to be woken by anything
/// else, and none goes on with slices of before.
#[test]
fn memory_changes_while_commands_run() {
    let mut world = World::new(lookahead(8));
    let (device, machine) = (world.driver.device.clone(), world.driver.machine.clone());
    with_threads(&mut world, |world| {
        for _ in 0..20 {
            let sent = world.submit(command(OP_COPY, PAGES * PAGE));
            while world.record().fence != sent.fence {
                machine.show(|_| true);
                device.memory_changed();
                world.driver.serve(&mut serve);
                thread::yield_now();
            }
            assert_eq!(world.record().status, STATUS_OK);
            assert!(world.is_copied(PAGES * PAGE));
        }
    });
}

/// Pages of both buffers move while two queues work on them; a frame that was
/// given up is poisoned at once, so a late read or write would show.
#[test]
fn pages_move_while_commands_run() {
    let mut world = World::new(lookahead(8));
    let second = world.add_queue(1);
    let half = PAGES / 2 * PAGE;
    with_threads(&mut world, |world| {
        for round in 0..60u64 {
            let value = round * 0x0101_0101_0101_0101;
            let sent = world.submit(Descriptor { operand: value, ..command(OP_FILL, half) });
            let other = Descriptor {
                source: SOURCE + half,
                destination: DESTINATION + half,
                completion: RECORD + 64,
                fence: round + 1,
                ..command(OP_COPY, half)
            };
            world.driver.submit(&second, other);
            let mut page = round * 7;
            loop {
                let done = world.record().fence == sent.fence
                    && world.driver.completion(1, RECORD + 64).fence == round + 1;
                if done {
                    break;
                }
                page += 11;
                for va in [SOURCE, DESTINATION].map(|base| base + page % PAGES * PAGE) {
                    world.driver.take_away(1, va, PAGE);
                    wait(world);
                    world.driver.migrate(1, va);
                }
                world.driver.serve(&mut serve);
            }
            assert_eq!(world.record().status, STATUS_OK);
            let filled = world.driver.read(1, DESTINATION, half);
            assert!(filled.chunks(8).all(|chunk| chunk == value.to_le_bytes()));
        }
    });
    let second_half = |base: u64| world.driver.read(1, base + half, half);
    assert!(second_half(DESTINATION) == second_half(SOURCE));
}

/// The IOMMU has pages lead to other frames while a command writes them. A frame
/// is poisoned when its invalidation is done, so a late write would be missed.
#[test]
fn the_iommu_changes_while_commands_run() {
    let (mut world, iommu) = World::behind_iommu(lookahead(8), 1 << 40);
    // For each page the frame by which the device's table knows it, and another one.
    let pages: Vec<[u64; 2]> = (0..PAGES)
        .map(|page| {
            let known = world.driver.space(1).physical(DESTINATION + page * PAGE);
            [known, world.driver.frames.take(PAGE)]
        })
        .collect();
    let mut places: Vec<usize> = vec![0; pages.len()];
    let machine = world.driver.machine.clone();
    with_threads(&mut world, |world| {
        let mut next = 0;
        // Whether the device has come by a page while that led nowhere.
        let mut met = false;
        for round in 1..60u64 {
            let value = round * 0x0101_0101_0101_0101;
            let fill = command(OP_FILL, PAGES * PAGE);
            let sent = world.submit(Descriptor { operand: value, ..fill });
            while world.record().fence != sent.fence {
                next = (next + 11) % pages.len();
                let (frames, place) = (pages[next], &mut places[next]);
                let (old, new) = (frames[*place], frames[1 - *place]);
                world.driver.device.change_dma(|gone| {
                    iommu.set(frames[0], None);
                    gone.push(Stretch { start: old, last: old + PAGE - 1 });
                });
                while !met && world.record().fence != sent.fence {
                    world.driver.serve(&mut serve);
                    met = !iommu.take_refused().is_empty();
                    thread::yield_now();
                }
                let mut bytes = [0; PAGE as usize];
                machine.read(old, &mut bytes);
                machine.write(new, &bytes);
                machine.write(old, &[0xdd; PAGE as usize]);
                iommu.set(frames[0], Some((new, Permits::ALL)));
                *place = 1 - *place;
                world.driver.serve(&mut serve);
            }
            assert_eq!(world.record().status, STATUS_OK);
            for (frames, place) in pages.iter().zip(&places) {
                let mut bytes = [0; PAGE as usize];
                machine.read(frames[*place], &mut bytes);
                assert!(bytes.chunks(8).all(|chunk| chunk == value.to_le_bytes()));
            }
        }
        assert!(met, "no access ever came in between");
    });
}

#[test]
fn atomics_of_two_engines_add_up() {
    for atomics in [true, false] {
        add_up(DeviceConfig { atomics, ..DeviceConfig::default() });
    }
}

fn add_up(config: DeviceConfig) {
    let mut world = World::new(config);
    let queues = [world.add_queue(1), world.add_queue(2)];
    world.map_all();
    let before = world.driver.read64(1, DESTINATION);
    with_threads(&mut world, |world| {
        for round in 0..100 {
            for queue in &queues {
                for _ in 0..8 {
                    let add = Descriptor { operand: 3, ..command(OP_FETCH_ADD, 0) };
                    world.driver.submit(queue, add);
                }
            }
            while world.counters().descriptors < (round + 1) * 16 {
                world.driver.serve(&mut serve);
                thread::yield_now();
            }
        }
    });
    assert_eq!(world.driver.read64(1, DESTINATION), before.wrapping_add(3 * 1600));
}

#[test]
fn reset_while_threads_run() {
    let mut world = World::new(lookahead(4));
    with_threads(&mut world, |world| {
        for round in 0..200 {
            let written = world.counters().bytes_written;
            world.submit(command(OP_COPY, PAGES * PAGE));
            // Every second reset meets a copy that has begun.
            loop {
                world.driver.serve(&mut serve);
                thread::yield_now();
                if round % 2 == 0 || world.counters().bytes_written > written {
                    break;
                }
            }
            world.driver.device.reset();
            let before = world.driver.read(1, DESTINATION, PAGES * PAGE);
            thread::yield_now();
            assert!(world.driver.read(1, DESTINATION, PAGES * PAGE) == before);
            world.driver.enable();
            world.driver.rebind(&world.queue);
            wait(world);
        }
        copy(world);
    });
}
