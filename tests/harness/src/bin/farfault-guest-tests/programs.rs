// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One boot in which the guest's programs run one after another: workloads,
//! test programs, counts, the module's life, and the kernel log at the end.

use farfault_tests::check::{Check, LEAKS, LOG, each, ensure, good_end, ktap, says};
use farfault_tests::run::{Farfault, Finished, Step, host_file, marked, script_of, seed};
use serde_json::Value;

/// What prints KTAP.
const KTAP: [(&str, &str); 9] = [
    ("refusals", "refusals"),
    ("memory-kinds", "memory-kinds"),
    ("leaves", "leaves"),
    ("snapshots", "snapshots"),
    ("range-faults", "range-faults"),
    ("userfault", "userfault"),
    ("process", "process"),
    ("submission", "submission"),
    ("selfcheck", "cat /sys/kernel/debug/farfault/*/selfcheck"),
];

/// What else is run, in this order, behind those.
const PLAIN: [(&str, &str); 9] = [
    ("saxpy", "saxpy 1000000"),
    ("wordcount", "wordcount /text"),
    ("chase", "chase 20000"),
    ("stress", "stress --processes 3 --queues 2 --commands 150 --seed SEED"),
    ("touch", "first-touch --mib 64 --mark"),
    ("module", MODULE),
    LEAKS,
    LOG,
    ("broken", BROKEN),
];

/// Refused while a context is open, and clean right after; then it works again.
const MODULE: &str = "\
exec 9<>/dev/farfault0
sleep 1000 & holder=$!
exec 9>&-
rmmod farfault 2>/dev/null && { echo 'removed while open'; exit 1; }
kill -9 $holder; wait $holder 2>/dev/null
unload || exit 1
test ! -e /dev/farfault0 || exit 1
insmod /lib/modules/farfault.ko || exit 1
saxpy 10000";

/// Behind the log, for it makes complaints: a driver to which the device seems broken.
/// The first program's queue is lost, and says so; the next one works.
const BROKEN: &str = "\
unload && insmod /lib/modules/farfault.ko break_records=1 || exit 1
saxpy 1000 && { echo 'it went well'; exit 1; }
saxpy 1000 || exit 1
dmesg | grep 'queue 0 halted: its faults make no sense'
cat /sys/kernel/debug/farfault/*/counters";

pub fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let seed = seed()?.to_string();
    let steps: Vec<Step> = KTAP
        .iter()
        .chain(&PLAIN)
        .map(|(name, command)| Step::apart(name, &command.replace("SEED", &seed)))
        .collect();
    // A text that is surely there: this program's own source, many times over.
    let text = host_file()?;
    std::fs::write(&text, include_str!("programs.rs").repeat(300))
        .map_err(|error| format!("cannot write a text: {error}"))?;
    let options = [
        "--cpus=2",
        "--memory=1G",
        "--timeout=600",
        &format!("--file={}:/text", text.path().display()),
    ];
    let finished = farfault.script(&options, &script_of(&steps, "mark NAME"))?;
    Ok(checks(&finished))
}

fn checks(finished: &Finished) -> Vec<Check> {
    let mut checks: Vec<Check> = KTAP.iter().flat_map(|(name, _)| ktap(finished, name)).collect();
    checks.extend(each(finished, PLAIN.map(|(name, _)| name)));
    checks.extend(good_end(finished));
    checks.push(Check::new("a broken device costs a queue", broken(finished)));
    checks.extend(fault_counts(&finished.stats));
    checks.push(Check::new("submission costs no exit", submission(&finished.stats)));
    checks
}

/// Who waits for a queue that nobody can answer is told.
fn broken(finished: &Finished) -> Result<(), String> {
    ["queue 0 is halted", "its faults make no sense", "bad_records 1", "queues_halted 1"]
        .into_iter()
        .try_for_each(|words| says(finished, "broken", words))
}

/// 64 MiB of fresh 4 KiB pages touched by the device: what a batch may cost.
fn fault_counts(stats: &Value) -> Vec<Check> {
    const PAGES: u64 = 64 << 8;
    const BATCH: u64 = 256;
    /// The memory need not begin at a multiple of 2 MiB.
    const SPANS: u64 = PAGES / 512 + 1;
    let count = |path: &str| marked(stats, "after", path);
    let check =
        |name: &str, result: Result<(), String>| Check::new(format!("touch::{name}"), result);
    let at_most = |what: &str, limit: Result<u64, String>| {
        let (found, limit) = (count(what)?, limit?);
        ensure(found <= limit, || format!("{what} is {found}, more than {limit}"))
    };
    let batches = || count("driver/batches");
    let every_page = || {
        let (asked, ahead) = (count("device/page_requests")?, count("driver/stream_pages")?);
        // The completion's page may be among them.
        ensure((PAGES..=PAGES + 1).contains(&(asked + ahead)), || {
            format!("{asked} requests and {ahead} pages behind them for {PAGES} fresh pages")
        })?;
        let mapped = count("driver/pages_mapped")?;
        ensure((PAGES..=PAGES + 1).contains(&mapped), || format!("{mapped} pages mapped"))
    };
    let full_batches = || {
        let (asked, batches) = (count("device/page_requests")?, batches()?);
        // One each for what is left of the first and of the last 2 MiB, and the completion's.
        ensure(asked >= BATCH * batches.saturating_sub(3), || {
            format!("{asked} page requests in {batches} batches")
        })
    };
    vec![
        check("every page is mapped once", every_page()),
        check("faults come in batches of 256", full_batches()),
        check("one interrupt a batch", at_most("device/msix_fault", batches())),
        check("two MMIO exits a batch", at_most("vmm/mmio_exits", batches().map(|n| 2 * n))),
        // One more for the completion's page.
        check("one hmm_range_fault for 2 MiB", at_most("driver/range_fault_calls", Ok(SPANS + 1))),
    ]
}

/// Between its marks the program `submission` only submits.
fn submission(stats: &Value) -> Result<(), String> {
    let count = |path: &str| marked(stats, "submitted", path);
    let (mmio, pio) = (count("vmm/mmio_exits")?, count("vmm/pio_exits")?);
    let (doorbells, done) = (count("vmm/ioeventfd_doorbells")?, count("device/descriptors")?);
    ensure(done >= 1000 && doorbells >= 1, || {
        format!("{done} descriptors done, {doorbells} doorbells: too few to tell")
    })?;
    ensure(mmio + pio == 0, || format!("{mmio} MMIO and {pio} PIO exits for {done} commands"))
}
