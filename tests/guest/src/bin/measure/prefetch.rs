// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How fast memory is made present for the device, beside the CPU touching the
//! same number of pages of the same kind.

use crate::buffer::{Backing, Rig};
use crate::table::{Table, best};
use farfault_guest_programs::memory::PAGE;
use farfault_guest_programs::{Failure, counters};
use std::time::Instant;

const ROUNDS: u64 = 3;

/// Writes a byte of each page.
fn touch(memory: &mut [u8]) {
    for page in memory.chunks_mut(PAGE) {
        if let Some(byte) = page.first_mut() {
            *byte = std::hint::black_box(1);
        }
    }
}

pub fn measure(bytes: usize) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        "memory",
        "backing",
        "MiB measured",
        "rounds",
        "hmm_range_fault calls",
        "retries",
        "calls per GiB, less retries",
        "time, CPU touching = 1",
        "time, CPU touching fresh = 1",
    ]);
    for backing in Backing::ALL {
        let rig = Rig::new()?;
        // [fresh, present], each by the CPU and by prefetch
        let mut times = [const { [const { Vec::new() }; 2] }; 2];
        let mut counts = [[0; 2]; 2];
        for _ in 0..ROUNDS {
            let mut by_cpu = backing.fresh(bytes)?;
            for times in &mut times {
                let start = Instant::now();
                touch(&mut by_cpu);
                times[0].push(start.elapsed().as_secs_f64());
            }
            drop(by_cpu);
            for (present, (times, counts)) in times.iter_mut().zip(&mut counts).enumerate() {
                let mut region = backing.fresh(bytes)?;
                if present == 1 {
                    touch(&mut region);
                }
                let before = now()?;
                let start = Instant::now();
                rig.prefetch(region.address(), region.len())?;
                times[1].push(start.elapsed().as_secs_f64());
                let after = now()?;
                for (count, (after, before)) in counts.iter_mut().zip(after.iter().zip(before)) {
                    *count += after - before;
                }
            }
        }
        let [fresh, present] = times.map(|times| times.map(|times| best(&times)));
        for (memory, times, counts) in
            [("fresh", fresh, counts[0]), ("present", present, counts[1])]
        {
            let [calls, retries] = counts;
            let mib = bytes as u64 >> 20;
            table.row([
                memory.to_owned(),
                backing.name().to_owned(),
                mib.to_string(),
                ROUNDS.to_string(),
                calls.to_string(),
                retries.to_string(),
                (calls.saturating_sub(retries) * 1024 / (mib * ROUNDS)).to_string(),
                format!("{:.2}", times[1] / times[0]),
                format!("{:.2}", times[1] / fresh[0]),
            ]);
        }
    }
    Ok(table)
}

fn now() -> Result<[u64; 2], Failure> {
    Ok([counters::get("range_fault_calls")?, counters::get("retries")?])
}
