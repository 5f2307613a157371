// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every exit code of `farfault --help`, with standard streams that are open,
//! closed, full, or read by nobody. A script plays QEMU and its guest, so
//! nothing boots.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_farfault");
const QEMU: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-qemu");

/// An image whose first guest behaves as its name says.
struct Image(TempDir);

impl Image {
    fn new(name: &str) -> Image {
        let scratch = tempfile::Builder::new().suffix(&format!("-{name}")).tempdir();
        let image = Image(scratch.expect("a scratch directory"));
        let version = farfault_abi::regs::VERSION >> 16;
        let manifest = format!(r#"{{"device_version":{version},"init_version":3}}"#);
        image.write("vmlinux", &kernel());
        image.write("initrd", b"initrd");
        image.write("l1-vmlinux", b"l1-vmlinux");
        image.write("l1-initrd", b"l1-initrd");
        image.write("manifest.json", manifest.as_bytes());
        image
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.at(name), content).expect("written");
    }

    /// A shell's words that run `true` with `options` in this image.
    fn run(&self, options: &str) -> String {
        let image = self.0.path().display();
        let run = format!("{PROGRAM} run --qemu {QEMU} --accel nested");
        format!("FARFAULT_IMAGE={image} {run} {options} -- true")
    }
}

/// The smallest ELF file that passes for a kernel: it is never run.
fn kernel() -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [0x100_0000u64, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0]);
    for word in [1024u64, 0x100_0000, 0x100_0000, 1, 1, 4096] {
        file.extend(word.to_le_bytes());
    }
    file.resize(1024, 0);
    file.push(0xf4);
    file
}

/// What a shell's script came to.
fn shell(script: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new("bash");
    let Output { status, stdout, stderr } =
        command.args(["-c", script]).stdin(Stdio::null()).output().expect("bash");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// The table of exit codes: how to get each, and what is said of it.
const TABLE: [(&str, &str, i32, &str); 10] = [
    ("answers", "", 3, ""),
    ("answers", "--bogus", 64, "unexpected argument '--bogus'"),
    ("answers", "--kernel /nowhere", 64, "cannot read /nowhere: "),
    ("answers", "--image /nowhere", 69, "run guest-image/build"),
    ("does-not-boot", "", 69, "QEMU ended with code 1: qemu: no such  [2Jkernel"),
    ("dies-late", "", 70, "QEMU ended with code 1: qemu: out of memory"),
    ("panics-always", "", 120, "the guest panicked"),
    ("powers-off", "", 121, "the guest switched itself off before its command had ended"),
    ("never-answers", "--boot-timeout 0.1", 124, "did not answer within 0.1 s"),
    ("hangs", "--boot-timeout 0.5 --timeout 0.1", 124, "timed out after "),
];

#[test]
fn every_code_of_the_table_whatever_becomes_of_standard_error() {
    let streams = ["", "2>&-", "2>/dev/full", "<&-", "<&- >&- 2>&-", "2> >(:)"];
    for (name, options, code, words) in TABLE {
        for stream in streams {
            let image = Image::new(name);
            let (status, _, stderr) = shell(&format!("{} {stream}", image.run(options)));
            assert_eq!(status, Some(code), "{name} {options} {stream}: {stderr}");
            assert!(stream.contains("2>") || stderr.contains(words), "{name} {options}: {stderr}");
            assert!(!stderr.contains('\x1b'), "{name} {options}: {stderr:?}");
        }
    }
}

#[test]
fn nested_mode_has_no_devices_of_the_host() {
    let image = Image::new("answers");
    let (status, _, stderr) = shell(&image.run("--vfio 01:00.0"));
    let told =
        "farfault: --vfio 0000:01:00.0 needs KVM: a first guest has no devices of this host\n";
    assert_eq!((status, stderr.as_str()), (Some(64), told));
}

#[test]
fn a_port_that_is_taken_is_bad_usage() {
    let image = Image::new("answers");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let (status, _, stderr) = shell(&image.run(&format!("--gdb {port}")));
    let told = format!("farfault: --gdb {port}: Address already in use (os error 98)\n");
    assert_eq!((status, stderr), (Some(64), told));
    drop(taken);
    assert_eq!(shell(&image.run(&format!("--gdb {port}"))).0, Some(3));
}

#[test]
fn output_that_is_lost_is_no_success() {
    let image = Image::new("answers");
    let warns = Image::new("warns");
    let full = "cannot write to standard output: No space left on device (os error 28)\n";
    let cases = [
        (image.run("") + " >/dev/full", 69, full),
        (warns.run("") + " 2>/dev/full", 69, ""),
        (format!("exec 3> >(:); wait $!; {} >&3", image.run("")), 141, ""),
        (image.run("--dry-run") + " >/dev/full", 69, full),
        (image.run("--dry-run") + " >&-", 0, ""),
        (format!("{PROGRAM} completions bash >/dev/full"), 69, full),
        (format!("{PROGRAM} --help >/dev/full"), 69, full),
    ];
    for (script, code, words) in cases {
        let (status, _, stderr) = shell(&script);
        assert_eq!(status, Some(code), "{script}: {stderr}");
        assert!(stderr.ends_with(words), "{script}: {stderr}");
        assert!(stderr.lines().count() <= 1, "{script}: {stderr}");
    }
}

#[test]
fn a_reader_may_stop_before_the_end() {
    for what in ["completions bash", "--help", "run --help"] {
        let (status, _, stderr) =
            shell(&format!("{PROGRAM} {what} | true; exit ${{PIPESTATUS[0]}}"));
        assert_eq!((status, stderr.as_str()), (Some(0), ""), "{what}");
    }
}

/// Starts a guest that hangs, with these signals ignored and no others, whatever this test
/// was started with, and sends signals.
fn signalled(ignored: &str, signals: &[&str]) -> Option<i32> {
    let image = Image::new("hangs");
    let mut command = Command::new("bash");
    let signals_are = format!("env --default-signal --ignore-signal={ignored}");
    command.args(["-c", &format!("exec {signals_are} {}", image.run(""))]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("bash");
    let mut line = String::new();
    // The guest is up.
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "up\n");
    for signal in signals {
        // The shell's own: there need be no program of that name.
        assert_eq!(shell(&format!("kill {signal} {}", child.id())).0, Some(0));
    }
    child.wait().expect("ended").code()
}

#[test]
fn a_signal_ends_the_run_unless_it_is_ignored() {
    assert_eq!(signalled("USR1", &["-TERM"]), Some(143));
    assert_eq!(signalled("USR1", &["-INT"]), Some(130));
    assert_eq!(signalled("USR1", &["-HUP"]), Some(129));
    assert_eq!(signalled("HUP", &["-HUP", "-TERM"]), Some(143));
}

#[test]
fn standard_input_is_left_alone_on_demand() {
    let image = Image::new("reads");
    let through = shell(&format!("echo one | {}", image.run("")));
    assert_eq!((through.0, through.1.as_str()), (Some(0), "one\n"));
    let kept = shell(&format!(
        "printf 'one\\ntwo\\n' | while read x; do {}; echo $x; done",
        image.run("-n")
    ));
    assert_eq!((kept.0, kept.1.as_str()), (Some(0), "one\ntwo\n"));
}

#[test]
fn a_bad_place_for_counts_is_known_before_the_run() {
    let image = Image::new("answers");
    let fifo = image.at("fifo");
    assert_eq!(shell(&format!("mkfifo {fifo}")).0, Some(0));
    let cases = [
        (fifo.clone(), "nobody reads what is written to "),
        (image.at(""), "Is a directory"),
        (image.at("no/such/folder"), "No such file or directory"),
    ];
    for (path, words) in cases {
        let (status, stdout, stderr) = shell(&image.run(&format!("--stats-json {path}")));
        assert_eq!((status, stdout.as_str()), (Some(64), ""), "{path}: {stderr}");
        assert!(stderr.contains(words) && stderr.lines().count() == 1, "{path}: {stderr}");
    }
    let full = shell(&image.run("--stats-json /dev/full"));
    assert_eq!(full.0, Some(69), "{}", full.2);
    assert!(full.2.contains("cannot write /dev/full: No space left"), "{}", full.2);
    // A reader is there from the start; it reads when all is written.
    let run = image.run(&format!("--stats-json {fifo}"));
    let read = format!("exec 3<>{fifo}; {run}; code=$?; exec 4<{fifo} 3>&-; cat <&4; exit $code");
    let (status, stdout, _) = shell(&read);
    assert_eq!(status, Some(3));
    assert!(stdout.contains("\"faults\": 7"), "{stdout}");
    let (_, _, table) = shell(&image.run("--stats"));
    assert!(table.contains("driver. [2J") && !table.contains('\x1b'), "{table:?}");
}

#[test]
fn why_qemu_does_not_start_is_shown() {
    let image = Image::new("answers");
    let qemu = image.at("qemu");
    let script = b"#!/bin/sh\necho 'qemu: libfoo.so.1: cannot open shared object' >&2\nexit 127\n";
    image.write("qemu", script);
    let run = image.run("").replace(QEMU, &qemu);
    let (status, _, stderr) = shell(&format!("chmod +x {qemu}; {run}"));
    assert_eq!(status, Some(69), "{stderr}");
    assert!(stderr.ends_with("which QEMU it is: qemu: libfoo.so.1: cannot open shared object\n"));
}

/// In a file system of its own, where the system lets us make one.
#[test]
fn a_full_disk_is_known_before_the_run() {
    let image = Image::new("answers");
    let disk = image.at("disk");
    fs::create_dir(&disk).expect("a mount point");
    let inside = |options: &str| {
        let mount =
            format!("mount -t tmpfs -o size=64k none {disk} && head -c 60k /dev/zero >{disk}/most");
        shell(&format!("unshare -rm bash -c '{mount} || exit 99; {}'", image.run(options)))
    };
    if !matches!(inside("--bogus").0, Some(64)) {
        eprintln!("no file system of our own: not tested");
        return;
    }
    for options in ["--stats-json DISK/counts", "--pmem DISK/memory,size=16M"] {
        let (status, stdout, stderr) = inside(&options.replace("DISK", &disk));
        assert_eq!((status, stdout.as_str()), (Some(69), ""), "{options}: {stderr}");
        assert!(stderr.contains("No space left") && stderr.lines().count() == 1, "{stderr}");
    }
}
