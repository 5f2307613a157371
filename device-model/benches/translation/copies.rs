// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Copies by one or two engines, with and without invalidations.

use crate::measure::{median, quantile, timed};
use farfault_abi::descriptor::{Descriptor, OP_COPY};
use farfault_device_model::{DeviceConfig, Step};
use farfault_reference_driver::{Driver, PAGE, Queue};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vm_memory::{GuestAddress, GuestMemoryBackend, VolatileSlice};

/// Bytes that each engine copies in a turn.
const BYTES: u64 = 64 << 20;
const SOURCE: u64 = 1 << 32;
const DESTINATION: u64 = 2 << 32;
const PERIOD: Duration = Duration::from_micros(100);

/// What came out.
pub struct Row {
    name: String,
    engines: u64,
    plain: Vec<f64>,
    device: Vec<f64>,
    latencies: Vec<f64>,
}

impl Row {
    pub fn print(mut self) {
        let mut ratios: Vec<f64> =
            self.device.iter().zip(&self.plain).map(|(d, p)| d / p).collect();
        let [least, ratio, most] = [0.0, 0.5, 1.0].map(|q| quantile(&mut ratios, q));
        let (plain, device) = (median(self.plain), median(self.device));
        print!(
            "{:<31} {:>7} {plain:>11.2} {device:>11.2} {ratio:>7.2} {least:>5.2} -{most:>5.2}",
            self.name, self.engines
        );
        if self.latencies.is_empty() {
            return println!();
        }
        let all = &mut self.latencies;
        println!(" {:>13.1} /{:>8.1}", quantile(all, 0.5), quantile(all, 0.99));
    }
}

/// Takes `turns` turns of plain and device.
pub fn measure(name: &str, leaf: u64, engines: u64, invalidating: bool, turns: usize) -> Row {
    let config = DeviceConfig { engines: 2, lookahead: 1, ..DeviceConfig::default() };
    let mut driver = Driver::start_sized(config, 640 << 20, 64);
    driver.create_space(1);
    let total = engines * BYTES;
    for base in [SOURCE, DESTINATION] {
        // Neighbours in the address space are far apart in memory.
        let leaves = total / leaf;
        for i in 0..leaves {
            let va = base + (i * 4099 % leaves) * leaf;
            driver.allocate(1, va, leaf, leaf);
            driver.map(1, va, 1, true);
        }
    }
    let queues: Vec<Queue> = (0..engines as u16)
        .map(|q| driver.create_queue(q, 1, 0x10_0000 * (u64::from(q) + 1), 4))
        .collect();
    driver.settle();
    // Rings are present, too: nothing faults.
    queues.iter().for_each(|queue| driver.map(1, queue.ring.base, PAGE, true));
    let what = if invalidating { ", 10k inval./s" } else { "" };
    let name = format!("{name}{what}");
    let mut row = Row { name, engines, plain: vec![], device: vec![], latencies: vec![] };
    let rate = |time: Duration| total as f64 / time.as_secs_f64() / 1e9;
    for turn in 0..=turns {
        let plain = rate(plain(&driver, leaf, engines));
        let (time, latencies) = device(&mut driver, &queues, invalidating);
        // The first turn warms up.
        if turn > 0 || turns == 1 {
            row.plain.push(plain);
            row.device.push(rate(time));
            row.latencies.extend(latencies);
        }
    }
    row
}

/// One memcpy a leaf, of leaves that are known beforehand.
fn plain(driver: &Driver, leaf: u64, engines: u64) -> Duration {
    let slices = |base: u64, engine: u64| -> Vec<(u64, usize)> {
        (0..BYTES)
            .step_by(leaf as usize)
            .map(|at| (driver.space(1).physical(base + engine * BYTES + at), leaf as usize))
            .collect()
    };
    let memory = driver.machine.memory();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..engines)
            .map(|engine| {
                let (from, to) = (slices(SOURCE, engine), slices(DESTINATION, engine));
                scope.spawn(move || {
                    let host = |(at, length): &(u64, usize)| -> VolatileSlice<'_> {
                        memory.get_slice(GuestAddress(*at), *length).expect("in memory")
                    };
                    let from: Vec<_> = from.iter().map(host).collect();
                    let to: Vec<_> = to.iter().map(host).collect();
                    timed(|| {
                        for (from, to) in from.iter().zip(&to) {
                            from.copy_to_volatile_slice(*to);
                        }
                    })
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a copy")).sum()
    })
}

/// One command an engine; also the latencies of invalidations meanwhile, in microseconds.
fn device(driver: &mut Driver, queues: &[Queue], invalidating: bool) -> (Duration, Vec<f64>) {
    for (i, queue) in (0..).zip(queues) {
        let (source, destination) = (SOURCE + i * BYTES, DESTINATION + i * BYTES);
        let opcode = OP_COPY as u8;
        driver.submit(
            queue,
            Descriptor { opcode, source, destination, length: BYTES, ..Descriptor::default() },
        );
    }
    let device = driver.device.clone();
    let before = device.counters().descriptors;
    let finished = || device.counters().descriptors - before == queues.len() as u64;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads: Vec<_> = queues
            .iter()
            .map(|_| {
                scope.spawn(|| {
                    let attachment = device.attach();
                    let mut engine = device.engine(&attachment);
                    let time = timed(|| while engine.step() != Step::Idle {});
                    over.store(finished(), Ordering::Relaxed);
                    time
                })
            })
            .collect();
        let mut latencies = Vec::new();
        if invalidating {
            let span = queues.len() as u64 * BYTES;
            let mut next = Instant::now();
            let mut place = 1u64;
            while !over.load(Ordering::Relaxed) {
                place = place.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let at = DESTINATION + (place >> 20) % (span / PAGE) * PAGE;
                latencies.push(invalidate(driver, at));
                next += PERIOD;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        }
        let time = threads.into_iter().map(|thread| thread.join().expect("an engine")).sum();
        (time, latencies)
    })
}

fn invalidate(driver: &mut Driver, at: u64) -> f64 {
    let begun = Instant::now();
    driver.invalidate(1, at, PAGE);
    let fence = driver.wait();
    while !driver.reached(fence) {
        driver.device.step_commands();
    }
    begun.elapsed().as_secs_f64() * 1e6
}
