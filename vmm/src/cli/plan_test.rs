// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Plans made from command lines, with files that stand in for an image.

use super::*;
use crate::cli::options::{Accel, Action, Cli, VmArgs};
use crate::exit::{HOST_LACKS, USAGE};
use crate::nested::{INNER_INITRD, INNER_KERNEL};
use crate::qemu::Nvdimms;
use crate::served::Emulator;
use clap::Parser;
use std::fs;
use tempfile::TempDir;

/// A kernel and an initrd that are there, which is all that a plan looks at.
fn image() -> TempDir {
    let image = tempfile::tempdir().expect("a scratch directory");
    for part in ["vmlinux", "vmlinuz", "initrd", "l1-vmlinux", "l1-initrd"] {
        fs::write(image.path().join(part), part).expect("written");
    }
    let version = farfault_abi::regs::VERSION >> 16;
    let manifest = format!(r#"{{"device_version":{version},"init_version":3}}"#);
    fs::write(image.path().join("manifest.json"), manifest).expect("written");
    image
}

fn plan(image: &TempDir, line: &str) -> Result<Plan, Failure> {
    Plan::new(&request(image, line))
}

fn request(image: &TempDir, line: &str) -> Request {
    let line = line.replace("IMAGE", image.path().to_str().expect("UTF-8"));
    let cli = Cli::try_parse_from(line.split_whitespace()).expect("a good command line");
    match cli.action {
        Action::Run(args) => Request { vm: args.vm, command: Some(args.command) },
        Action::Shell(vm) => Request { vm, command: None },
        Action::Qemu(args) => Request { vm: args.vm, command: Some(args.command) },
        other => panic!("no guest: {other:?}"),
    }
}

#[test]
fn a_machine_is_what_was_asked_for() {
    let image = image();
    let line = "farfault run --image IMAGE --memory 1G --cpus 3 --device engines=3,lookahead=8 \
                --cmdline-append nosmp -- true";
    let (spec, _) = plan(&image, line).and_then(|plan| plan.machine()).expect("a machine");
    assert_eq!((spec.memory, spec.vcpus), (1 << 30, 3));
    assert_eq!((spec.device.engines, spec.device.lookahead), (3, 8));
    assert_eq!(spec.cmdline, "quiet nosmp");
    assert_eq!(spec.kernel, image.path().join("vmlinux"));
    let console = plan(&image, "farfault run --image IMAGE --console -- true").expect("a plan");
    assert_eq!(console.machine().expect("a machine").0.cmdline, "");
    assert!(!spec.iommu);
    let line = "farfault run --image IMAGE --iommu --cmdline-append intel_iommu=off -- true";
    let (spec, _) = plan(&image, line).and_then(|plan| plan.machine()).expect("a machine");
    assert!(spec.iommu);
    // The user has the last word.
    assert_eq!(spec.cmdline, "quiet intel_iommu=on iommu.strict=1 intel_iommu=off");
}

#[test]
fn functions_of_the_host_come_in_their_order_and_nothing_of_them_is_kept() {
    let image = image();
    let line = "farfault run --image IMAGE --vfio 0000:02:00.1 --vfio 01:00.0 -- true";
    let plan = plan(&image, line).expect("a plan");
    let (spec, _) = plan.machine().expect("a machine");
    let addresses: Vec<_> = spec.passed_through.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["0000:02:00.1", "0000:01:00.0"]);
    assert!(!plan.may_be_kept(&spec));
}

#[test]
fn bad_wishes_get_one_line_and_the_right_code() {
    let image = image();
    let cases = [
        ("--device engines=0", USAGE, "--device engines=0: "),
        ("--device wheels=4", USAGE, "unknown field `wheels`"),
        ("--device engines=x", USAGE, "--device engines=x: "),
        ("--kernel /nowhere", USAGE, "cannot read /nowhere: "),
        ("--kernel /tmp", USAGE, "/tmp is not a file"),
        ("--file /nowhere/file", USAGE, "cannot read /nowhere/file for the guest"),
        ("--image /nowhere", HOST_LACKS, "run guest-image/build"),
    ];
    for (options, code, words) in cases {
        let line = match options.starts_with("--image") {
            true => format!("farfault run {options} -- true"),
            false => format!("farfault run --image IMAGE {options} -- true"),
        };
        let failure = plan(&image, &line).and_then(|plan| plan.machine()).expect_err(options);
        assert_eq!(failure.code, code, "{options}");
        assert!(failure.to_string().contains(words), "{options}: {failure}");
    }
}

fn inner(asked: &Request, nvdimms: &Nvdimms) -> Request {
    Plan::new(asked).expect("a plan").inner_request(nvdimms).expect("a request")
}

#[test]
fn the_first_guest_is_asked_for_the_machine_that_was_asked_for_here() {
    let image = image();
    let line = "farfault run --image IMAGE --memory 1G --cpus 2 --device lookahead=8 --env A=b=c -n \
                --driver-params x=1 --timeout 5 --boot-timeout 0.5 --stats --iommu \
                --file /etc/hostname --cwd /tmp --cmdline-append nosmp -v -- sh -c --stats";
    let asked = request(&image, line);
    let nvdimms = Nvdimms::new(vec![Pmem::File { path: "f".into(), size: 16 << 20 }]);
    // What is different there; all else must be as it is here.
    let vm = VmArgs {
        accel: Accel::Kvm,
        kernel: Some(INNER_KERNEL.into()),
        initrd: Some(INNER_INITRD.into()),
        image: None,
        files: Vec::new(),
        pmem_at: nvdimms.ranges().to_owned(),
        env: Vec::new(),
        cwd: "/".into(),
        no_input: false,
        timeout: None,
        stats: false,
        stats_json: None,
        verbose: 0,
        quiet: true,
        ..asked.vm.clone()
    };
    assert_eq!(inner(&asked, &nvdimms), Request { vm, command: None });
    // Runs of the same machine ask for the same.
    let other = "farfault run --image IMAGE --memory 1G --cpus 2 --device lookahead=8 \
                 --driver-params x=1 --boot-timeout 0.5 --iommu --cmdline-append nosmp -- true";
    assert_eq!(inner(&request(&image, other), &nvdimms), inner(&asked, &nvdimms));
}

#[test]
fn modules_come_before_the_command_and_much_comes_with_the_boot() {
    let image = image();
    let large = image.path().join("large");
    File::create(&large).and_then(|file| file.set_len(LARGE as u64 + 1)).expect("made");
    let line = |files: &str| format!("farfault run --image IMAGE {files} -- true");
    let sizes = |files: &str| {
        let plan = plan(&image, &line(files)).expect("a plan");
        let (spec, orders) = plan.machine().expect("a machine");
        let Some(Initrd::Bytes(early)) = spec.initrd.get(1) else { panic!("no archive") };
        assert_eq!(spec.orders, orders.archive.len() as u64);
        (early.len(), orders.archive.len(), plan.may_be_kept(&spec))
    };
    let (bare, command, kept) = sizes("");
    assert!(kept);
    let module = "IMAGE/vmlinux:/usr//lib/./modules/x.ko";
    assert!(matches!(sizes(&format!("--file {module}")), (early, late, true)
        if early > bare && late == command));
    assert!(matches!(sizes("--file IMAGE/vmlinux:/lib/x"), (early, late, true)
        if early == bare && late > command));
    assert!(matches!(sizes("--file IMAGE/large"), (early, late, false)
        if early > LARGE && late == command));
    for shown in ["--fresh", "--console", "-vv"] {
        assert!(!sizes(shown).2, "{shown}");
    }
}

#[test]
fn a_guest_on_qemu_gets_its_device_late() {
    let image = image();
    let qemu = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-qemu");
    let late = |options: &str| {
        let line = format!("farfault qemu --image IMAGE --qemu {qemu} {options} -- true");
        let plan = plan(&image, &line).expect("a plan").with_late_device();
        let served = plan.served(Emulator::Tcg).expect("a guest");
        let Some(Initrd::Bytes(early)) = served.spec.initrd.get(1) else { panic!("no archive") };
        let early = String::from_utf8_lossy(early).contains(r#""late_device":true"#);
        (served.spec.kernel, early, served.states.is_some())
    };
    let own = image.path().join("vmlinuz");
    assert_eq!(late(""), (own.clone(), true, true));
    assert_eq!(late("--fresh"), (own, true, false));
    let given = image.path().join("vmlinux");
    assert_eq!(late("--kernel IMAGE/vmlinux"), (given, true, true));
}
