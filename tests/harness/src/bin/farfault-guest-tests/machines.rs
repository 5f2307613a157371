// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many boots under one roof: where KVM is usable, guests of every shape are
//! booted one after another, and their ends and costs are looked at.

use crate::check::{Check, clean_log, ensure, found};
use crate::scenario::Scenario;
use farfault_tests::run::{Farfault, Finished, Step, script_of};
use serde_json::Value;
use std::{fs, io};
use tempfile::TempDir;

pub const SCENARIO: Scenario = Scenario { name: "machines", run };

/// Exits to userspace from start to process 1, PIO and MMIO together.
const BOOT_EXITS: u64 = 600;
/// Private memory of the VMM outside guest RAM.
const PRIVATE_KIB: u64 = 8 << 10;

/// A boot: its name, options, guest command, and the exit code it must have. One that ends
/// by itself shows its kernel log too.
const BOOTS: [(&str, &str, &str, i32); 12] = [
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
    ("runs-where-nothing-is", "--kernel=/bare/runs-where-nothing-is", "true", GUEST_DIED),
    ("reads-a-port-four-times", "--kernel=/bare/reads-a-port-four-times", "true", GUEST_DIED),
    ("spins", "--kernel=/bare/spins --boot-timeout=2", "true", TIMED_OUT),
    ("time-limit", "--timeout=5 --cmdline-append=loglevel=7", "sleep 1000", TIMED_OUT),
];
/// Kernels of a few instructions, which begin in long mode with the first GiB mapped.
#[rustfmt::skip]
const BARE: [(&str, &[u8]); 3] = [
    ("runs-where-nothing-is", &[
        0xb8, 0x00, 0x00, 0x00, 0x38,             // mov eax, 0x38000000
        0xff, 0xe0,                               // jmp rax
    ]),
    ("reads-a-port-four-times", &[
        0xba, 0xfd, 0x03, 0x00, 0x00,             // mov edx, COM1's line status
        0xbf, 0x00, 0x08, 0x00, 0x01,             // mov edi, 0x1000800
        0xb9, 0x04, 0x00, 0x00, 0x00,             // mov ecx, 4
        0xf3, 0x6c,                               // rep insb
        0x8b, 0x04, 0x25, 0x00, 0x08, 0x00, 0x01, // mov eax, [0x1000800]
        0x89, 0xc1,                               // mov ecx, eax
        0xc1, 0xc1, 0x08,                         // rol ecx, 8
        0x39, 0xc8,                               // cmp eax, ecx
        0x75, 0x08,                               // jne fail
        0xba, 0x00, 0x06, 0x00, 0x00,             // mov edx, the sleep control register
        0xb0, 0x34,                               // mov al, soft off
        0xee,                                     // out dx, al
        0x0f, 0x0b,                               // fail: ud2
    ]),
    ("spins", &[0xeb, 0xfe]),                     // jmp $
];
/// Exit codes of `farfault` for guests that are not heard of again.
const GUEST_DIED: i32 = 120;
const TIMED_OUT: i32 = 124;

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
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
    let bare = bare_kernels().map_err(|error| format!("cannot write kernels: {error}"))?;
    let options = [
        format!("--file={}:/bare", bare.path().display()),
        "--in-first-guest".to_owned(),
        "--memory=4G".to_owned(),
        "--timeout=600".to_owned(),
        format!("--file={}:/vmlinuz", farfault.image.join("vmlinuz").display()),
    ];
    let finished = farfault.script(&options, &script)?;
    Ok(checks(&finished))
}

fn bare_kernels() -> io::Result<TempDir> {
    let folder = TempDir::new()?;
    for (name, code) in BARE {
        fs::write(folder.path().join(name), elf(code))?;
    }
    Ok(folder)
}

/// An ELF file of one segment, at 16 MiB.
fn elf(code: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    let words = |words: &[u64]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
    file.extend(words(&[16 << 20, 64, 0]));
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0]);
    file.extend(words(&[1024, 16 << 20, 16 << 20, code.len() as u64, 4096, 4096]));
    file.resize(1024, 0);
    file.extend(code);
    file
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
    for (name, words) in [
        ("runs-where-nothing-is", "at 0x38000000"),
        ("reads-a-port-four-times", "switched itself off"),
    ] {
        checks.push(Check::new(format!("{name} says so"), says(finished, name, words)));
    }
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
    // Nothing at all was not counted.
    ensure((1..=limit).contains(&value), || format!("{counter} is {value}, not 1 to {limit}"))
}
