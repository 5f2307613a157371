// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's programs: those that test, each in a machine of its own, workloads with
//! their counts, and the module's life.

use farfault_tests::check::{Check, LEAKS, LOG, each, ensure, good_end, ktap, says};
use farfault_tests::hosting::Hosting;
use farfault_tests::run::{Farfault, Finished, Step, USUAL, host_file, marked, script_of, seed};
use farfault_tests::unit::Unit;
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

/// Where the DMA API is checked each leaf is a mapping, and is neither joined nor split.
/// These leaves are physical addresses, which are as good without an IOMMU.
const PHYSICAL: &str = "\
unload && insmod /lib/modules/farfault.ko break_dma=1 || exit 1
leaves
code=$?
unload && insmod /lib/modules/farfault.ko || exit 1
exit $code";

const WORKLOADS: [(&str, &str); 7] = [
    ("saxpy", "saxpy 1000000"),
    ("wordcount", "wordcount /text"),
    ("chase", "chase 20000"),
    ("stress", "stress --processes 3 --queues 2 --commands 150 --seed SEED"),
    ("touch", "first-touch --mib 64 --mark"),
    LEAKS,
    LOG,
];

/// The driver comes and goes.
const LIFE: [(&str, &str); 4] = [("module", MODULE), LEAKS, LOG, ("broken", BROKEN)];

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

pub fn units() -> Vec<Unit> {
    let program = |(name, command): (&'static str, &'static str)| {
        Unit::new(format!("programs::{name}"), move |farfault| program(farfault, name, command))
            .of_content()
    };
    let mut units: Vec<Unit> = KTAP.into_iter().map(program).collect();
    units.push(Unit::new("programs::workloads", workloads).of_content());
    units.push(Unit::new("programs::module", module).of_content());
    units
}

/// Each test of a program, by its own name; what the program must have cost.
fn program(farfault: &Farfault, name: &str, command: &str) -> Result<Vec<Check>, String> {
    let is_checked = farfault.kernel.has("CONFIG_DMA_API_DEBUG");
    let command = if name == "leaves" && is_checked { PHYSICAL } else { command };
    let steps = [(name, command), LEAKS, LOG].map(|(name, command)| Step::apart(name, command));
    let finished = farfault.script(&USUAL, &script_of(&steps, "mark NAME"))?;
    let mut checks: Vec<Check> =
        ktap(&finished, name).into_iter().map(|check| check.within(name)).collect();
    if name == "submission" {
        checks.push(Check::new(
            "submission costs no exit",
            submission(farfault.hosting(), &finished.stats),
        ));
    }
    checks.extend(good_end(&finished));
    Ok(checks)
}

fn module(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let steps = LIFE.map(|(name, command)| Step::apart(name, command));
    let finished = farfault.script(&USUAL, &script_of(&steps, ""))?;
    let mut checks = each(&finished, LIFE.map(|(name, _)| name));
    checks.extend(good_end(&finished));
    checks.push(Check::new("a broken device costs a queue", broken(&finished)));
    Ok(checks)
}

fn workloads(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let seed = seed()?.to_string();
    let step = |(name, command): (&str, &str)| Step::apart(name, &command.replace("SEED", &seed));
    let steps = WORKLOADS.map(step);
    // A text that is surely there: this program's own source, many times over.
    let text = host_file()?;
    std::fs::write(&text, include_str!("programs.rs").repeat(300))
        .map_err(|error| format!("cannot write a text: {error}"))?;
    let file = format!("--file={}:/text", text.path().display());
    let finished = farfault
        .script(&[&USUAL, &[file.as_str()][..]].concat(), &script_of(&steps, "mark NAME"))?;
    let mut checks = each(&finished, WORKLOADS.map(|(name, _)| name));
    checks.extend(good_end(&finished));
    checks.extend(fault_counts(farfault.hosting(), &finished.stats));
    Ok(checks)
}

/// Who waits for a queue that nobody can answer is told.
fn broken(finished: &Finished) -> Result<(), String> {
    ["queue 0 is halted", "its faults make no sense", "bad_records 1", "queues_halted 1"]
        .into_iter()
        .try_for_each(|words| says(finished, "broken", words))
}

/// 64 MiB of fresh 4 KiB pages touched by the device: what a batch may cost.
fn fault_counts(hosting: Hosting, stats: &Value) -> Vec<Check> {
    const PAGES: u64 = 64 << 8;
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
    let two_accesses = || {
        let (waits, batches) = (hosting.waits(stats, "after")?, batches()?);
        ensure(waits <= 2 * batches, || format!("{waits} accesses for {batches} batches"))
    };
    let every_page = || {
        let (asked, ahead) = (count("device/page_requests")?, count("driver/stream_pages")?);
        // Some are asked for while they are made present ahead.
        ensure(asked + ahead >= PAGES, || {
            format!("{asked} requests and {ahead} pages behind them for {PAGES} fresh pages")
        })?;
        // The completion's page may be among them.
        let mapped = count("driver/pages_mapped")?;
        ensure((PAGES..=PAGES + 1).contains(&mapped), || format!("{mapped} pages mapped"))
    };
    vec![
        check("every page is mapped once", every_page()),
        // One more for the completion's page.
        check("at most a batch for 2 MiB", at_most("driver/batches", Ok(SPANS + 1))),
        check("one interrupt a batch", at_most("device/msix_fault", batches())),
        check("a CPU waits for two accesses a batch", two_accesses()),
        check("one hmm_range_fault for 2 MiB", at_most("driver/range_fault_calls", Ok(SPANS + 1))),
    ]
}

/// Between its marks the program `submission` only submits.
fn submission(hosting: Hosting, stats: &Value) -> Result<(), String> {
    const MARK: &str = "submitted";
    let (waits, doorbells) = (hosting.waits(stats, MARK)?, hosting.doorbells(stats, MARK)?);
    let done = marked(stats, MARK, "device/descriptors")?;
    ensure(done >= 1000 && doorbells >= 1, || {
        format!("{done} descriptors done, {doorbells} doorbells: too few to tell")
    })?;
    ensure(waits == 0, || format!("a CPU waits for {waits} accesses for {done} commands"))
}
