// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What mirrored memory costs and permits, beside pinned memory. Counts and
//! states in the tables of the program `measure` are tests, times are not.

use crate::check::{Check, clean_log, ensure, exit_code, found, gauges, succeeded};
use farfault_tests::markdown::Markdown;
use farfault_tests::run::{Farfault, Finished, Step, script_of};

const STEPS: [(&str, &str); 8] = [
    (
        "swap",
        "modprobe zram && echo 128M >/sys/block/zram0/disksize && mkswap /dev/zram0 && swapon /dev/zram0",
    ),
    ("permits", "measure --mib 8 permits"),
    ("sizes", "measure --mib 1024 sizes"),
    ("lengths", "measure --mib 8 lengths"),
    ("prefetch", "measure --mib 64 prefetch"),
    ("speeds", "measure --mib 8 speeds"),
    ("gauges", "cat /sys/kernel/debug/farfault/*/counters"),
    ("log", "dmesg"),
];

/// What `measure permits` must find in the mirror's two columns, and in that of pinned memory.
/// A cell need only hold the words.
const PERMITS: [(&str, &str, &str, &str); 14] = [
    ("pages pinned", "4 KiB", "0", "2048"),
    ("pages pinned", "2 MiB", "0", "2048"),
    ("reclaim (MADV_PAGEOUT)", "4 KiB", "reclaimed", "none reclaimed"),
    ("reclaim (MADV_PAGEOUT)", "2 MiB", "reclaimed", "none reclaimed"),
    ("migration (soft offline of a page)", "4 KiB", "moved", "refused"),
    ("migration (soft offline of a page)", "2 MiB", "moved", "refused"),
    ("collapse (MADV_COLLAPSE)", "4 KiB", "collapsed", "refused"),
    (
        "munmap",
        "4 KiB",
        "memory comes back, the device is refused",
        "memory stays taken, the device still has it",
    ),
    (
        "munmap",
        "2 MiB",
        "memory comes back, the device is refused",
        "memory stays taken, the device still has it",
    ),
    (
        "fork, both alive",
        "4 KiB",
        "all shared until written, the device follows the parent",
        "all copied at once, the device follows the parent",
    ),
    (
        "discard (MADV_DONTNEED), written anew",
        "4 KiB",
        "the device sees it",
        "the device sees what is gone",
    ),
    (
        "discard (MADV_DONTNEED), written anew",
        "2 MiB",
        "the device sees it",
        "the device sees what is gone",
    ),
    (
        "file truncated",
        "4 KiB",
        "the device is refused; grown again, the device sees it",
        "the device still has what was cut off; grown again, the device sees what is gone",
    ),
    (
        "file truncated",
        "2 MiB",
        "the device is refused; grown again, the device sees it",
        "the device still has what was cut off; grown again, the device sees what is gone",
    ),
];

/// Bytes of tables per GiB: of 2 MiB pages, and of 4 KiB pages.
const SIZES: [(&str, u64); 2] = [("2 MiB", 8 << 10), ("4 KiB", (21 << 20) / 10)];

pub fn run(farfault: &Farfault) -> Vec<Check> {
    let steps = STEPS.map(|(name, command)| Step { name: name.into(), command: command.into() });
    let options = ["--cpus=2", "--memory=2G", "--timeout=420"].map(str::to_owned);
    match farfault.script(&options, &script_of(&steps, "mark NAME")) {
        Ok(finished) => checks(&finished),
        Err(why) => vec![Check::new("start", Err(why))],
    }
}

fn checks(finished: &Finished) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, _) in STEPS {
        checks.push(Check::new(name, succeeded(finished, name)));
    }
    let table = |step: &str| match found(finished, step) {
        Ok(section) => Markdown::read(&section.output),
        Err(_) => Markdown::default(),
    };
    let permits = table("permits");
    for (row, backing, mirror, pinned) in PERMITS {
        for (way, words) in [("mirror", mirror), ("mirror, prefetched", mirror), ("pinned", pinned)]
        {
            let cell = permits.cell(&[row, backing], way);
            checks.push(Check::new(format!("{row}, {backing}, {way}"), holds(cell, words)));
        }
    }
    checks.push(Check::new("compaction moves nothing that is pinned", compaction(&permits)));
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
    checks.extend(calls(&table("lengths"), &table("prefetch"), &table("speeds")));
    checks.push(Check::new("exit code", exit_code(finished, 0)));
    checks.push(Check::new("log is clean", clean_log(finished, "log")));
    checks.push(Check::new("gauges are back at zero", gauges(finished)));
    checks
}

/// What it moves is up to it, but nothing that is pinned.
fn compaction(permits: &Markdown) -> Result<(), String> {
    let cell = |way| permits.cell(&["compaction (compact_memory)", "4 KiB"], way);
    println!("note: compaction: mirrored {}, {}", cell("mirror")?, cell("mirror, prefetched")?);
    is(cell("pinned"), "none moved")
}

/// Calls of `hmm_range_fault`, which are what prefetch and pinning save.
fn calls(lengths: &Markdown, prefetch: &Markdown, speeds: &Markdown) -> Vec<Check> {
    let mut checks = Vec::new();
    for (pages, calls) in [("1", 2048), ("16", 128), ("64", 32), ("512", 4)] {
        let made = lengths.number(&[pages], "hmm_range_fault calls").and_then(|made| {
            // An invalidation that comes between makes for another one.
            ensure((calls..calls + 8).contains(&made), || format!("{made}, not {calls}"))
        });
        checks.push(Check::new(format!("a call for {pages} pages"), made));
    }
    for (memory, backing) in
        [("fresh", "4 KiB"), ("fresh", "2 MiB"), ("present", "4 KiB"), ("present", "2 MiB")]
    {
        let number = |column| prefetch.number(&[memory, backing], column);
        let result = number("hmm_range_fault calls per GiB").and_then(|calls| {
            let retries = number("retries per GiB")?;
            ensure(calls == 512 + retries, || format!("{calls} calls, {retries} retries"))
        });
        checks.push(Check::new(format!("512 calls per GiB, {memory}, {backing}"), result));
    }
    for command in ["copy", "fill", "histogram", "saxpy"] {
        for backing in ["4 KiB", "2 MiB"] {
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

fn holds(cell: Result<&str, String>, words: &str) -> Result<(), String> {
    // A number is not part of another one.
    let number = words.parse::<u64>().is_ok();
    cell.and_then(|cell| {
        let holds = if number { cell == words } else { cell.contains(words) };
        let none = !words.starts_with("none") && cell.starts_with("none");
        ensure(holds && !none, || format!("'{cell}', not '{words}'"))
    })
}

fn is(cell: Result<&str, String>, wanted: &str) -> Result<(), String> {
    cell.and_then(|cell| ensure(cell == wanted, || format!("'{cell}', not '{wanted}'")))
}
