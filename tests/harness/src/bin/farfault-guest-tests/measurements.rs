// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What mirrored memory costs and permits, beside pinned memory. Counts and
//! states in the tables of the program `measure` are tests, times are not.

use farfault_tests::check::{Check, LEAKS, LOG, each, ensure, found, good_end, ktap};
use farfault_tests::kernel_config::KernelConfig;
use farfault_tests::markdown::Markdown;
use farfault_tests::run::{Farfault, Finished, Step, is_nightly, script_of};
use farfault_tests::unit::Unit;

/// What takes a moment, and is part of every run.
const STEPS: [(&str, &str); 6] = [
    ("swap", "prepare swap"),
    ("sizes", "measure --mib 1024 sizes"),
    ("permits", "measure --mib 4 --test-permits"),
    ("lengths", "measure --mib 4 lengths"),
    LEAKS,
    LOG,
];

/// What only a nightly run does, before those.
const NIGHTLY: [(&str, &str); 2] =
    [("prefetch", "measure --mib 256 prefetch"), ("speeds", "measure --mib 8 speeds")];

const BACKINGS: [&str; 2] = ["4 KiB", "2 MiB"];

/// Bytes of tables per GiB, of 2 MiB pages and of 4 KiB pages: entries, and as much for the frames
/// beside them.
const SIZES: [(&str, u64); 2] = [("2 MiB", 16 << 10), ("4 KiB", (42 << 20) / 10)];

pub fn units() -> Vec<Unit> {
    vec![Unit::new("measurements", run).of_content()]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let all: Vec<_> =
        if is_nightly() { NIGHTLY.iter().chain(&STEPS).collect() } else { STEPS.iter().collect() };
    let steps: Vec<Step> =
        all.into_iter().map(|&(name, command)| Step::new(name, command)).collect();
    let options = ["--cpus=2", memory(&farfault.kernel), "--timeout=600"];
    let finished = farfault.script(&options, &script_of(&steps, "mark NAME"))?;
    Ok(checks(&finished, &steps))
}

/// A buffer of 1 GiB fits in. A kernel that checks itself keeps an eighth of memory, and more.
fn memory(kernel: &KernelConfig) -> &'static str {
    if kernel.slowness() > 1 { "--memory=2G" } else { "--memory=1536M" }
}

fn checks(finished: &Finished, steps: &[Step]) -> Vec<Check> {
    let mut checks = each(finished, steps.iter().map(|step| step.name.as_str()));
    let table = |step: &str| match found(finished, step) {
        Ok(section) => Markdown::read(&section.output),
        Err(_) => Markdown::default(),
    };
    checks.extend(ktap(finished, "permits"));
    let sizes = table("sizes");
    for (backing, most) in SIZES {
        let size = sizes.number(&[backing], "bytes of tables per GiB").and_then(|bytes| {
            println!("note: {bytes} bytes of mirror for 1 GiB of {backing} pages (at most {most})");
            ensure((1..=most).contains(&bytes), || format!("{bytes} bytes, not 1 to {most}"))
        });
        checks.push(Check::new(format!("tables per GiB of {backing} pages"), size));
        let left = sizes.cell(&[backing], "bytes of tables after munmap");
        checks.push(Check::new(format!("no table after munmap, {backing}"), is(left, "0")));
    }
    let leaves = sizes.cell(&["2 MiB"], "2 MiB leaves");
    checks.push(Check::new("1 GiB of huge pages is 512 leaves", is(leaves, "512")));
    checks.extend(calls_for(&table("lengths")));
    if is_nightly() {
        checks.extend(prefetch_calls(&table("prefetch")));
        checks.extend(who_faults(&table("speeds")));
    }
    checks.extend(good_end(finished));
    checks
}

/// Calls of `hmm_range_fault`, which are what prefetch and pinning save.
fn calls_for(lengths: &Markdown) -> Vec<Check> {
    let mut checks = Vec::new();
    for (pages, calls) in [("1", 1024), ("16", 64), ("64", 16), ("512", 2)] {
        let made = lengths.number(&[pages], "hmm_range_fault calls").and_then(|made| {
            // An invalidation that comes between makes for another one.
            ensure((calls..calls + 8).contains(&made), || format!("{made}, not {calls}"))
        });
        checks.push(Check::new(format!("a call for {pages} pages"), made));
    }
    checks
}

fn prefetch_calls(prefetch: &Markdown) -> Vec<Check> {
    let mut checks = Vec::new();
    for memory in ["fresh", "present"] {
        for backing in BACKINGS {
            let calls = prefetch.cell(&[memory, backing], "calls per GiB, less retries");
            checks
                .push(Check::new(format!("calls per GiB, {memory}, {backing}"), is(calls, "512")));
        }
    }
    checks
}

fn who_faults(speeds: &Markdown) -> Vec<Check> {
    let mut checks = Vec::new();
    for command in ["copy", "fill", "histogram", "saxpy"] {
        for backing in BACKINGS {
            let number = |way, column| speeds.number(&[command, backing, way], column);
            let result = number("mirror", "page requests").and_then(|faults| {
                let pinned = number("pinned", "pages pinned")?;
                let [ahead, none] = [
                    number("mirror, prefetched", "page requests")?,
                    number("pinned", "page requests")?,
                ];
                let mirrored = number("mirror", "pages pinned")?;
                // The counts of a histogram are always mirrored.
                ensure(
                    faults > 1 && ahead <= 1 && none <= 1 && pinned == 4096 && mirrored == 0,
                    || {
                        format!(
                            "{faults}, {ahead}, {none} requests; {mirrored}, {pinned} pages pinned"
                        )
                    },
                )
            });
            checks.push(Check::new(format!("{command}, {backing}: who faults, who pins"), result));
        }
    }
    checks
}

fn is(cell: Result<&str, String>, wanted: &str) -> Result<(), String> {
    cell.and_then(|cell| ensure(cell == wanted, || format!("'{cell}', not '{wanted}'")))
}
