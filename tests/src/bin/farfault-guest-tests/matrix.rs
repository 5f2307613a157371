// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every kind of memory under every change, in one boot: each cell of the matrix
//! becomes a test. A cell that makes no sense is counted as skipped, with why.
//!
//! All of it takes a quarter of an hour where KVM is nested, so it is part of a
//! long run; otherwise these are the rows that differ most.
//!
//! Behind it, the cells that look for lost data are run on a driver that has been
//! told to lose it, and must fail for that reason.

use crate::check::{
    Check, clean_log, ensure, exit_code, found, gauges, ktap_but, not_applicable, succeeded,
};
use farfault_tests::ktap::{self as reader, Outcome};
use farfault_tests::run::{Farfault, Finished, Step, is_long, script_of};

/// Behind the matrix: what must be back at zero, and the driver that loses data.
const STEPS: [(&str, &str); 2] = [
    ("gauges", "cat /sys/kernel/debug/farfault/*/counters"),
    ("break", "rmmod farfault && insmod /lib/modules/farfault.ko break_dirty=1"),
];

/// The rows of a run that is not long.
const ROWS: &str = "anonymous,thp,private-file,file-ext4,memfd,uffd-missing";

/// Cells in which only the driver can know that a page is dirty. Whether a page that
/// is swapped in is still taken from its old place is up to the kernel, so its cell
/// (anonymous/swapin-write) would not fail each time.
const LOSSES: [(&str, &str); 2] = [("anonymous", "free-write"), ("memfd", "hole-write")];

pub fn run(farfault: &Farfault) -> Vec<Check> {
    let step = |name: &str, command: &str| Step { name: name.into(), command: command.into() };
    let rows = if is_long() { String::new() } else { format!(" --row {ROWS}") };
    let mut steps = vec![step("matrix", &format!("matrix{rows}"))];
    steps.extend(STEPS.iter().map(|(name, command)| step(name, command)));
    steps.extend(LOSSES.iter().map(|(row, column)| {
        step(&lossy(column), &format!("matrix --row {row} --column {column}"))
    }));
    steps.push(step("log", "dmesg"));
    let disks = ["ext4", "xfs"].map(|kind| {
        let name = format!("farfault-matrix-{kind}-{}", std::process::id());
        std::env::temp_dir().join(name)
    });
    let mut options = ["--cpus=2", "--timeout=1500"].map(str::to_owned).to_vec();
    options.extend(memory().map(str::to_owned));
    options.extend(disks.iter().map(|disk| format!("--pmem={},size=512M", disk.display())));
    let finished = farfault.script(&options, &script_of(&steps, ""));
    for disk in disks {
        // It is not there if the guest was not started.
        let _ = std::fs::remove_file(disk);
    }
    match finished {
        Ok(finished) => checks(&finished),
        Err(why) => vec![Check::new("start", Err(why))],
    }
}

/// With room for pages of 1 GiB where all rows are run; it is used only for them.
fn memory() -> [&'static str; 2] {
    match is_long() {
        true => ["--memory=8G", "--cmdline-append=hugepagesz=1G hugepages=5"],
        false => ["--memory=2G", "--cmdline-append="],
    }
}

/// Name of the step that runs `column` on the driver that loses data.
fn lossy(column: &str) -> String {
    format!("{column} is noticed")
}

fn checks(finished: &Finished) -> Vec<Check> {
    let mut checks = ktap_but(finished, "matrix", not_applicable);
    checks.push(Check::new("gauges are back at zero", gauges(finished)));
    checks.push(Check::new("break", succeeded(finished, "break")));
    for (_, column) in LOSSES {
        checks.push(Check::new(lossy(column), is_noticed(finished, column)));
    }
    checks.push(Check::new("exit code", exit_code(finished, 0)));
    checks.push(Check::new("log is clean", clean_log(finished, "log")));
    checks
}

/// The cell fails, and at the first look after pages were reclaimed.
fn is_noticed(finished: &Finished, column: &str) -> Result<(), String> {
    let output = found(finished, &lossy(column))?.output;
    let cases = reader::parse(&output)?;
    let [case] = cases.as_slice() else { return Err(format!("not one cell in\n{output}")) };
    let told = case.diagnostics.iter().any(|line| line.contains("after reclaim"));
    ensure(case.outcome == Outcome::Failed && told, || {
        format!("the loss is not noticed as such:\n{output}")
    })
}
