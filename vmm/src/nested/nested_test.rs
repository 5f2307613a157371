// SPDX-License-Identifier: Apache-2.0 OR MIT
//! First guests played by a script in QEMU's place.

use super::*;
use crate::machine::MachineEnd;
use crate::pmem::Pmem;
use crate::session::{RunEnd, SessionOptions, Stdio, Terms};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

struct Seen {
    result: SessionResult,
    report: Value,
    stdout: String,
    boots: usize,
}

/// A first guest whose kernel's name tells the script what to do.
fn first_guest(dir: &Path, kernel: &str) -> FirstGuest {
    for file in [kernel, "initrd"] {
        fs::write(dir.join(file), file).expect("written");
    }
    FirstGuest {
        qemu: Qemu::at(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-qemu")),
        kernel: dir.join(kernel),
        initrd: dir.join("initrd"),
        inner: InnerGuest {
            kernel: dir.join(kernel),
            initrd: Vec::new(),
            request: Some("{}".into()),
        },
        image: dir.to_owned(),
        orders: Orders { prepare: None, archive: [].into(), terms: Terms::default() },
        debuggers: None,
        states: None,
        about: String::new(),
        verbose: false,
        machine: String::new(),
        guest_memory: 512 << 20,
        draft: None,
        nvdimms: Nvdimms::new(Vec::new()),
    }
}

fn run(kernel: &str) -> Seen {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let dir = scratch.path();
    let first = first_guest(dir, kernel);
    let file = |stream: UnixStream| File::from(OwnedFd::from(stream));
    let (mut stdout, output) = UnixStream::pair().expect("stdout");
    let null = || File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
    let stdio = Stdio { input: null(), output: file(output), error: null() };
    let boot_limit = Duration::from_secs(60);
    let options = SessionOptions { boot_limit, ..SessionOptions::default() };
    let mut session = Session::new(options, stdio);
    let mut recorder = Recorder::new("nested");
    let result = first.run(&mut session, &mut recorder).expect("result");
    drop(session);
    let mut text = String::new();
    stdout.read_to_string(&mut text).expect("output");
    let boots = fs::read_to_string(dir.join(format!("{kernel}.boots"))).expect("boots");
    let report = recorder.report(Default::default());
    let report = serde_json::to_value(report).expect("JSON");
    Seen { result, report, stdout: text, boots: boots.lines().count() }
}

#[test]
fn what_the_first_guest_says_passes_through() {
    let seen = run("boots");
    assert_eq!(seen.result.end, RunEnd::Exit(3));
    assert_eq!(seen.stdout, "hello\n");
    assert_eq!(seen.report["device"]["faults"], 7);
    assert_eq!(seen.report["hosting"], "nested");
    assert_eq!(seen.report["boots"]["retried_before_pid1"], 0);
    assert_eq!(seen.boots, 1);
}

#[test]
fn a_panic_before_init_is_tried_again_once_and_counted() {
    let seen = run("panics-once");
    assert_eq!((seen.result.end, seen.boots), (RunEnd::Exit(3), 2));
    assert_eq!(seen.report["boots"]["retried_before_pid1"], 1);
    let seen = run("panics-always");
    assert_eq!((seen.result.end, seen.boots), (RunEnd::Lost(MachineEnd::Panic), 2));
    assert_eq!(seen.report["boots"]["retried_before_pid1"], 1);
}

#[test]
fn a_panic_after_init_is_not_tried_again() {
    let seen = run("panics-late");
    assert_eq!((seen.result.end, seen.boots), (RunEnd::Lost(MachineEnd::Panic), 1));
    assert_eq!(seen.report["boots"]["retried_before_pid1"], 0);
}

#[test]
fn a_qemu_that_fails_says_why() {
    let seen = run("does-not-boot");
    let why = "QEMU ended with code 1: qemu: no such \u{1b}[2Jkernel".to_owned();
    assert_eq!((seen.result.end, seen.boots), (RunEnd::Failed(why), 1));
}

#[test]
fn what_is_wrong_with_the_second_guest_shows_before_a_boot() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut first = first_guest(scratch.path(), "boots");
    first.draft = Some(MachineSpec { vcpus: 0, ..MachineSpec::default() });
    let null = || File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
    let stdio = Stdio { input: null(), output: null(), error: null() };
    let mut session = Session::new(SessionOptions::default(), stdio);
    let error = first.run(&mut session, &mut Recorder::new("nested")).expect_err("no CPU");
    assert!(matches!(error, NestedError::Machine(MachineError::Vcpus(0))), "{error}");
    assert!(!scratch.path().join("boots.boots").exists());
}

#[test]
fn of_persistent_memory_the_sizes_shape_a_machine() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut first = first_guest(scratch.path(), "boots");
    let mut shape = |files: &[(&str, u64)]| {
        let file = |(path, mib): &(&str, u64)| Pmem::File { path: path.into(), size: mib << 20 };
        first.nvdimms = Nvdimms::new(files.iter().map(file).collect());
        first.shape().expect("a name")
    };
    let one = shape(&[("a", 16)]);
    assert_eq!(shape(&[("b", 16)]), one);
    for other in [&[][..], &[("a", 18)], &[("a", 16), ("a", 16)]] {
        assert_ne!(shape(other), one, "{other:?}");
    }
}
