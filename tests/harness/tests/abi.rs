// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The C headers say what the Rust definitions say, in text and in value.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs the header maker; cargo has built it where it built this test.
fn headers(args: &[&str]) -> Output {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    Command::new(cargo)
        .current_dir(root())
        .args(["run", "--quiet", "-p", "farfault-abi", "--bin", "farfault-abi-headers", "--"])
        .args(args)
        .output()
        .expect("cargo runs")
}

#[test]
fn committed_headers_are_as_generated() {
    let output = headers(&["check", "guest-driver"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn c_sees_every_value_size_and_offset_as_rust_does() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let dir = folder.path();
    // Outside a kernel tree there is no linux/bits.h; the probe brings its macros.
    std::fs::create_dir_all(dir.join("linux")).expect("temporary directory");
    std::fs::write(dir.join("linux/bits.h"), "").expect("temporary file");
    std::fs::write(dir.join("probe.c"), headers(&["probe"]).stdout).expect("temporary file");

    let compiler = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(dir.join("probe"))
        .arg(dir.join("probe.c"))
        .arg("-I")
        .arg(dir)
        .arg("-I")
        .arg(root().join("guest-driver"))
        .output()
        .expect("a C compiler named cc");
    assert!(compiler.status.success(), "{}", String::from_utf8_lossy(&compiler.stderr));

    let c = Command::new(dir.join("probe")).output().expect("the probe runs").stdout;
    let rust = headers(&["values"]).stdout;
    assert!(rust.len() > 1000, "the list of values is empty or nearly so");
    assert_eq!(String::from_utf8_lossy(&c), String::from_utf8_lossy(&rust));
}
