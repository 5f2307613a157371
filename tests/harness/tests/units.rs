// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest's suite says of itself before anything is booted.

use std::collections::BTreeSet;
use std::process::{Command, Output};

fn tests(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_farfault-guest-tests"))
        .args(words)
        .env_remove("FARFAULT_IMAGE")
        .env_remove("FARFAULT_NIGHTLY")
        .output()
        .expect("the program runs")
}

fn listed(words: &[&str]) -> Vec<String> {
    let output = tests(&[&["--list"], words].concat());
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn units_are_listed_without_an_image() {
    let all = listed(&[]);
    for scenario in ["guest pmem", "guest races::mappings", "guest matrix::anonymous"] {
        assert!(all.iter().any(|name| name == scenario), "{scenario}: {all:#?}");
    }
    assert_eq!(listed(&["matrix::dax-ext4", "pmem"]), ["guest pmem", "guest matrix::dax-ext4"]);
}

#[test]
fn shards_are_complete_and_disjoint() {
    let suites = ["--suites", "fmt,unit,guest"];
    let all = listed(&suites);
    assert_eq!(all[..2], ["fmt", "unit"]);
    for count in [1, 2, 3, 7, all.len() + 1] {
        let shard =
            |index| listed(&[&suites[..], &["--shard", &format!("{index}/{count}")]].concat());
        let parts: Vec<String> = (1..=count).flat_map(shard).collect();
        assert_eq!(parts.len(), all.len(), "{count}");
        let same = parts.iter().collect::<BTreeSet<_>>() == all.iter().collect();
        assert!(same, "{count}: {parts:?}");
    }
}

#[test]
fn what_is_wrong_is_said_in_a_line() {
    for (words, complaint) in [
        (&["nosuch"][..], "no test of the guest is called 'nosuch'; see --list"),
        (&["--list", "nosuch"], "no test of the guest is called 'nosuch'; see --list"),
        (&["--list", "--shard", "0/0"], "'0/0' is no shard"),
        (&["--list", "--shard", "5/4"], "'5/4' is no shard"),
        (&["--list", "--shard", "x"], "'x' is no shard"),
        (&["--shard", "1/2"], "not provided: --list"),
        (&["--bogus"], "--bogus"),
    ] {
        let Output { status, stdout, stderr } = tests(words);
        let told = String::from_utf8_lossy(&stderr);
        assert_eq!((status.code(), told.lines().count()), (Some(64), 1), "{words:?}: {told}");
        assert!(told.contains(complaint) && stdout.is_empty(), "{words:?}: {told}");
    }
}
