// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many boots under one roof: where KVM is usable, guests of every shape are
//! booted one after another, and their ends and costs are looked at.

use crate::check::{Check, clean_log, ensure, found};
use farfault_tests::run::{Farfault, Finished, Step, script_of};
use serde_json::Value;

/// Exits to userspace from start to process 1, PIO and MMIO together.
const BOOT_EXITS: u64 = 600;
/// Private memory of the VMM outside guest RAM.
const PRIVATE_KIB: u64 = 8 << 10;

/// A boot: its name, options, guest command, and the exit code it must have. One that ends
/// by itself shows its kernel log too.
const BOOTS: [(&str, &str, &str, i32); 9] = [
    ("elf", "--kernel=/farfault/kernel", "true", 0),
    ("bzimage-and-own-exit-code", "--kernel=/vmlinuz", "(exit 37)", 37),
    (
        "four-cpus-and-memory-around-the-hole",
        "--cpus=4 --memory=4G",
        "test $(nproc) = 4 && saxpy 10000",
        0,
    ),
    ("smallest", "--memory=128M", "saxpy 10000", 0),
    ("fpu-storm", "--cpus=2", "fpu-storm", 0),
    ("panic", "", "echo c > /proc/sysrq-trigger", GUEST_DIED),
    ("reboot", "", "echo b > /proc/sysrq-trigger", GUEST_DIED),
    ("never-answers", "--boot-timeout=10 --cmdline-append=rdinit=/bin/sh", "true", TIMED_OUT),
    ("time-limit", "--timeout=5 --cmdline-append=loglevel=7", "sleep 1000", TIMED_OUT),
];
/// Exit codes of `farfault` for guests that are not heard of again.
const GUEST_DIED: i32 = 120;
const TIMED_OUT: i32 = 124;

pub fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let steps: Vec<Step> = BOOTS
        .iter()
        .map(|(name, options, script, _)| Step {
            name: (*name).to_owned(),
            command: format!(
                "/farfault/farfault run --accel=kvm --initrd=/farfault/initrd \
                 --stats-json=/run/boot.json {} -- sh -c '{script}; code=$?; dmesg; exit $code'",
                with_defaults(options),
            ),
        })
        .collect();
    let script = script_of(
        &steps,
        "echo '@@ begin NAME-stats'\ncat /run/boot.json\nrm -f /run/boot.json\necho '@@ end NAME-stats 0'",
    );
    let options = [
        "--in-first-guest".to_owned(),
        "--memory=4G".to_owned(),
        "--timeout=600".to_owned(),
        format!("--file={}:/vmlinuz", farfault.image.join("vmlinuz").display()),
    ];
    let finished = farfault.script(&options, &script)?;
    Ok(checks(&finished))
}

/// What a boot says itself goes before what all boots have.
fn with_defaults(options: &str) -> String {
    let mut words = options.to_owned();
    for (option, default) in [("--kernel", "/farfault/kernel"), ("--timeout", "90")] {
        if !options.contains(option) {
            words.push_str(&format!(" {option}={default}"));
        }
    }
    words
}

fn checks(finished: &Finished) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, _, _, wanted) in BOOTS {
        checks.push(Check::new(name, code(finished, name, wanted)));
        if ![GUEST_DIED, TIMED_OUT].contains(&wanted) {
            let clean = clean_log(finished, name);
            checks.push(Check::new(format!("{name}::log is clean"), clean));
        }
    }
    checks.push(Check::new("panic says so", says(finished, "panic", "panic")));
    checks.push(Check::new("a time limit shows the log", says(finished, "time-limit", "  | ")));
    let shown = says(finished, "never-answers", "  | ");
    checks.push(Check::new("a guest that never answers shows its log", shown));
    for name in ["elf", "bzimage-and-own-exit-code"] {
        let limits = [("boot_exits", BOOT_EXITS), ("private_kib", PRIVATE_KIB)];
        for (counter, limit) in limits {
            let result = at_most(finished, name, counter, limit);
            checks.push(Check::new(format!("{name}::{counter}"), result));
        }
    }
    checks
}

fn code(finished: &Finished, name: &str, wanted: i32) -> Result<(), String> {
    let found = found(finished, name)?;
    ensure(found.code == Some(wanted), || {
        format!("exit code {:?} instead of {wanted}, having printed\n{}", found.code, found.output)
    })
}

fn says(finished: &Finished, name: &str, word: &str) -> Result<(), String> {
    let output = found(finished, name)?.output;
    ensure(output.contains(word), || format!("no word of '{word}' in\n{output}"))
}

fn at_most(finished: &Finished, name: &str, counter: &str, limit: u64) -> Result<(), String> {
    let text = found(finished, &format!("{name}-stats"))?.output;
    let stats: Value = serde_json::from_str(&text)
        .map_err(|error| format!("statistics that are not JSON ({error}):\n{text}"))?;
    let value = stats.pointer(&format!("/vmm/{counter}")).and_then(Value::as_u64);
    let value = value.ok_or_else(|| format!("no {counter} in\n{text}"))?;
    println!("note: {name}: {counter} {value} (at most {limit})");
    ensure(value <= limit, || format!("{counter} is {value}, more than {limit}"))
}
