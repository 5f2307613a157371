// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Allocations of the driver fail, each in turn. The sites that the guest's program `failures`
//! knows are compared with those in the driver's source: a new one must be tried, too. Behind
//! an IOMMU, where to map a page for the device takes memory.

use farfault_tests::allocations;
use farfault_tests::check::{Check, LEAKS, LOG, ensure, found, good_end, ktap, succeeded};
use farfault_tests::run::{Farfault, Finished, Step, script_of};
use farfault_tests::unit::Unit;
use std::collections::BTreeSet;
use std::path::Path;

/// Functions that are not tried: the driver's checks of itself, which say "not ok" then.
const LEFT_OUT: [&str; 1] = ["ff_selfcheck_pgtable"];

/// Each has a machine of its own: all sites together take more than half an hour.
const PARTS: u32 = 8;

/// Room for what the driver says each time that it is bound: the log must be whole.
const LOG_SIZE: &str = "--cmdline-append=log_buf_len=4M";

/// The log without the traces that Linux itself prints of an allocation that has failed, as it does
/// where it finds no stack for a new thread at hand.
const LOG_BUT_FAILURES: &str = "find_leaks && dmesg | \
     sed -E '/(vmalloc error|page allocation failure): /,/Call Trace:/d'";

pub fn units() -> Vec<Unit> {
    let part = |part| {
        Unit::new(format!("failing-allocations::part-{part}"), move |ff| run(ff, part))
            .of_content()
            .wants(Some("IOMMU"))
    };
    (1..=PARTS).map(part).collect()
}

fn run(farfault: &Farfault, part: u32) -> Result<Vec<Check>, String> {
    let failures = format!("failures {part}/{PARTS}");
    let steps = [
        ("list", "failures --list"),
        ("failures", &failures),
        ("work afterwards", "saxpy 100000"),
        LEAKS,
        (LOG.0, LOG_BUT_FAILURES),
    ];
    let steps = steps.map(|(name, command)| Step::new(name, command));
    let options = [
        "--iommu",
        "--cpus=2",
        "--memory=1G",
        "--timeout=900",
        "--driver-params=dmirror=1",
        "--device=vram=8M",
        LOG_SIZE,
    ];
    let finished = farfault.script(&options, &script_of(&steps, ""))?;
    Ok(checks(&finished))
}

fn checks(finished: &Finished) -> Vec<Check> {
    let mut checks = ktap(finished, "failures");
    tell(finished);
    checks.push(Check::new("every site in the source is tried", all_tried(finished)));
    checks.push(Check::new("work afterwards", succeeded(finished, "work afterwards")));
    checks.extend(good_end(finished));
    checks
}

/// Shows how many allocations have failed at each site.
fn tell(finished: &Finished) {
    let output = found(finished, "failures").map(|found| found.output).unwrap_or_default();
    let mut counts = "";
    for line in output.lines() {
        match line.strip_prefix("# ") {
            Some(told) if told.contains("ended in an error") => counts = told,
            Some(_) => {}
            None => {
                if let Some((_, name)) = line.strip_prefix("ok ").and_then(|l| l.split_once(' ')) {
                    println!("note: failures: {name}: {counts}");
                }
            }
        }
    }
}

fn all_tried(finished: &Finished) -> Result<(), String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-driver");
    let mut wanted = allocations::sites(&source)?;
    wanted.retain(|function| !LEFT_OUT.contains(&function.as_str()));
    let list = found(finished, "list")?.output;
    let function = |line: &str| line.split('/').next().unwrap_or_default().to_owned();
    let tried: BTreeSet<String> = list.lines().map(function).collect();
    println!("note: failures: {} sites in the source, {} tried", wanted.len(), tried.len());
    let differences: Vec<_> = wanted.symmetric_difference(&tried).collect();
    ensure(differences.is_empty(), || format!("in the source or tried only: {differences:?}"))
}
