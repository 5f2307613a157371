// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the user can get wrong, each answered with one line and its own exit
//! code before anything is booted.

use farfault_tests::check::{Check, exit_code, one_line};
use farfault_tests::run::Farfault;
use farfault_tests::unit::Unit;

const BAD_USAGE: i32 = 64;
const HOST_LACKS: i32 = 69;

/// Name, option, exit code, and words of the complaint.
const CASES: [(&str, &str, i32, &str); 12] = [
    ("unknown option", "--bogus", BAD_USAGE, "--bogus"),
    ("too little memory", "--memory=16M", BAD_USAGE, "16M"),
    ("too many CPUs", "--cpus=17", BAD_USAGE, "17"),
    ("unknown device option", "--device=wings=2", BAD_USAGE, "wings"),
    ("device option out of range", "--device=engines=0", BAD_USAGE, "engines"),
    ("a kernel that is none", "--kernel=/etc/passwd", BAD_USAGE, "/etc/passwd"),
    ("a kernel that is missing", "--kernel=/nonexistent", BAD_USAGE, "/nonexistent"),
    ("a file that is missing", "--file=/nonexistent", BAD_USAGE, "/nonexistent"),
    (
        "persistent memory in a file that is missing",
        "--pmem=/nonexistent",
        BAD_USAGE,
        "/nonexistent",
    ),
    ("persistent memory in a folder", "--pmem=/,size=64M", BAD_USAGE, "is not a file"),
    (
        "persistent memory of an odd size",
        "--pmem=/nonexistent,size=17M",
        BAD_USAGE,
        "in steps of 2 MiB",
    ),
    ("a missing image", "--image=/nonexistent", HOST_LACKS, "guest-image/build"),
];

pub fn units() -> Vec<Unit> {
    vec![Unit::new("refusals", run)]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let check = |name: &str, words: &[&str], code, complaint| {
        let finished = farfault.run(words)?;
        let refused = exit_code(&finished, code).and_then(|()| one_line(&finished, complaint));
        Ok(Check::new(name, refused))
    };
    let no_command = check("no command", &["run"], BAD_USAGE, "CMD");
    let others = CASES.iter().map(|(name, option, code, complaint)| {
        check(name, &["run", option, "--", "true"], *code, complaint)
    });
    others.chain([no_command]).collect()
}
