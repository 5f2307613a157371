// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the user can get wrong, each answered with one line and its own exit
//! code before anything is booted.

use crate::check::{Check, exit_code, one_line};
use crate::scenario::Scenario;
use farfault_tests::run::Farfault;

pub const SCENARIO: Scenario = Scenario { name: "refusals", run };

const BAD_USAGE: i32 = 64;
const HOST_LACKS: i32 = 69;

/// Name, command line, exit code, and words of the complaint.
const CASES: [(&str, &[&str], i32, &str); 13] = [
    ("unknown option", &["run", "--bogus", "--", "true"], BAD_USAGE, "--bogus"),
    ("no command", &["run"], BAD_USAGE, "CMD"),
    ("too little memory", &["run", "--memory=16M", "--", "true"], BAD_USAGE, "16M"),
    ("too many CPUs", &["run", "--cpus=17", "--", "true"], BAD_USAGE, "17"),
    ("unknown device option", &["run", "--device=wings=2", "--", "true"], BAD_USAGE, "wings"),
    (
        "device option out of range",
        &["run", "--device=engines=0", "--", "true"],
        BAD_USAGE,
        "engines",
    ),
    (
        "a kernel that is none",
        &["run", "--kernel=/etc/passwd", "--", "true"],
        BAD_USAGE,
        "/etc/passwd",
    ),
    (
        "a kernel that is missing",
        &["run", "--kernel=/nonexistent", "--", "true"],
        BAD_USAGE,
        "/nonexistent",
    ),
    (
        "a file that is missing",
        &["run", "--file=/nonexistent", "--", "true"],
        BAD_USAGE,
        "/nonexistent",
    ),
    (
        "persistent memory in a file that is missing",
        &["run", "--pmem=/nonexistent", "--", "true"],
        BAD_USAGE,
        "/nonexistent",
    ),
    (
        "persistent memory in a folder",
        &["run", "--pmem=/,size=64M", "--", "true"],
        BAD_USAGE,
        "is not a file",
    ),
    (
        "persistent memory of an odd size",
        &["run", "--pmem=/nonexistent,size=17M", "--", "true"],
        BAD_USAGE,
        "in steps of 2 MiB",
    ),
    (
        "a missing image",
        &["run", "--image=/nonexistent", "--", "true"],
        HOST_LACKS,
        "guest-image/build",
    ),
];

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let check = |(name, words, code, complaint): &(&str, &[&str], i32, &str)| {
        let finished = farfault.run(words)?;
        let refused = exit_code(&finished, *code).and_then(|()| one_line(&finished, complaint));
        Ok(Check::new(*name, refused))
    };
    CASES.iter().map(check).collect()
}
