// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a page costs against the pages that one call asks for: does an interface
//! need arrays, or is one page at a time as good?

use crate::buffer::{Backing, Rig};
use crate::plot::Plot;
use crate::table::{Table, best};
use farfault_guest_programs::memory::PAGE;
use farfault_guest_programs::{Failure, counters};
use std::time::Instant;

const LENGTHS: [usize; 4] = [1, 16, 64, 512];
const ROUNDS: usize = 7;
/// Seconds that a call takes at least: a clock that ticks seldom may show none.
const LEAST: f64 = 1e-6;

pub fn measure(bytes: usize) -> Result<Table, Failure> {
    let rig = Rig::new()?;
    let mut costs = [const { [const { Vec::new() }; LENGTHS.len()] }; 2];
    let mut calls = [0; LENGTHS.len()];
    for _ in 0..ROUNDS {
        for (present, costs) in [true, false].into_iter().zip(&mut costs) {
            for ((pages, cost), calls) in LENGTHS.into_iter().zip(costs).zip(&mut calls) {
                let mut region = Backing::Small.fresh(bytes)?;
                if present {
                    region.fill(1);
                }
                let before = counters::get("range_fault_calls")?;
                let start = Instant::now();
                for offset in (0..bytes).step_by(pages * PAGE) {
                    rig.prefetch(region.address() + offset as u64, pages * PAGE)?;
                }
                cost.push(start.elapsed().as_secs_f64());
                *calls = counters::get("range_fault_calls")? - before;
            }
        }
    }
    // What a page costs, the unit being what it costs at best.
    let [present, fresh] = costs.map(|costs| costs.map(|costs| best(&costs).max(LEAST)));
    let unit = present.into_iter().chain(fresh).fold(f64::INFINITY, f64::min);
    let [present, fresh] = [present, fresh].map(|costs| costs.map(|cost| cost / unit));
    let mut table = Table::new(&[
        "pages per call",
        "calls",
        "hmm_range_fault calls",
        "cost per fresh page",
        "cost per present page",
    ]);
    for (i, pages) in LENGTHS.into_iter().enumerate() {
        table.row([
            pages.to_string(),
            (bytes / PAGE / pages).to_string(),
            calls[i].to_string(),
            format!("{:.1}", fresh[i]),
            format!("{:.1}", present[i]),
        ]);
    }
    Ok(table.with(Plot {
        across: "pages per call",
        up: "cost per page",
        ticks: LENGTHS.map(|pages| pages as u32).to_vec(),
        series: vec![('f', "fresh page", fresh.to_vec()), ('p', "present page", present.to_vec())],
    }))
}
