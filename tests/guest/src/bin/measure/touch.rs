// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is faster to write to memory that nobody has touched: the CPU by memset, or the
//! device by a fill, every page of which is a far fault or part of a batch.

use crate::buffer::{Backing, Buffer, Mode, Rig};
use crate::table::{Table, best};
use farfault_guest_programs::{Failure, counters};
use std::time::Instant;

const ROUNDS: usize = 5;
const COUNTERS: [&str; 4] = ["faults", "groups", "range_fault_calls", "pages_mapped"];

pub fn measure(bytes: usize) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        "backing",
        "MiB",
        "device, first touch",
        "device, touched before",
        "page requests",
        "groups",
        "hmm_range_fault calls",
        "pages mapped",
    ]);
    for backing in Backing::ALL {
        let mut rig = Rig::new()?;
        let mut times = [const { Vec::new() }; 3];
        let mut counts = [0; COUNTERS.len()];
        for _ in 0..ROUNDS {
            let mut by_cpu = backing.fresh(bytes)?;
            times[0].push(timed(|| {
                by_cpu.fill(1);
                Ok(())
            })?);
            drop(by_cpu);
            let by_device = backing.fresh(bytes)?;
            let buffer = Buffer::new(&rig, Mode::Mirror, &by_device)?;
            let before = now()?;
            times[1].push(timed(|| rig.done(buffer.fill(1)))?);
            let after = now()?;
            counts = std::array::from_fn(|i| after[i] - before[i]);
            times[2].push(timed(|| rig.done(buffer.fill(2)))?);
        }
        let [cpu, first, again] = times.map(|times| best(&times));
        let row = [
            backing.name().to_owned(),
            (bytes >> 20).to_string(),
            format!("{:.2}", first / cpu),
            format!("{:.2}", again / cpu),
        ];
        table.row(row.into_iter().chain(counts.map(|count| count.to_string())));
    }
    Ok(table)
}

fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

fn now() -> Result<[u64; COUNTERS.len()], Failure> {
    let counters = counters::read()?;
    Ok(COUNTERS.map(|name| counters.get(name).copied().unwrap_or(0)))
}
