// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guests played by a script in QEMU's place.

use super::*;
use crate::gdb::{Invitation, Port};
use crate::machine::{Initrd, MachineEnd};
use crate::pmem::Pmem;
use crate::session::{RunEnd, SessionOptions, Stdio, Terms};
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// A guest whose kernel's name tells the script what to do.
fn served(dir: &Path, kernel: &str) -> Served {
    // Once: its date is a part of the machine's name.
    if !dir.join(kernel).exists() {
        fs::write(dir.join(kernel), kernel).expect("written");
    }
    let spec = MachineSpec {
        kernel: dir.join(kernel),
        initrd: vec![Initrd::Bytes(b"initrd".to_vec())],
        memory: 512 << 20,
        vcpus: 2,
        cmdline: "quiet".to_owned(),
        ..MachineSpec::default()
    };
    Served {
        qemu: Qemu::at(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-qemu")),
        emulator: Emulator::Tcg,
        image: Some(dir.to_owned()),
        nvdimms: Nvdimms::new(Vec::new()),
        spec,
        orders: Orders { prepare: None, archive: [].into(), terms: Terms::default() },
        states: None,
        about: String::new(),
        verbose: false,
    }
}

fn file(stream: UnixStream) -> File {
    File::from(OwnedFd::from(stream))
}

/// How a run ended, what it printed, and how often it was booted.
fn boot(kernel: &str) -> (RunEnd, String, usize) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let served = served(scratch.path(), kernel);
    let (mut stdout, output) = UnixStream::pair().expect("stdout");
    let null = || File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
    let stdio = Stdio { input: null(), output: file(output), error: null() };
    let boot_limit = Duration::from_secs(60);
    let options = SessionOptions { boot_limit, ..SessionOptions::default() };
    let mut session = Session::new(options, stdio);
    let (mut recorder, mut counted) = (Recorder::new("qemu"), Sample::default());
    let disk = served.disk().expect("an initrd");
    let result = starts::boot(&mut recorder, |recorder| {
        served.attempt(Start::Boot(&disk, None), &[], &mut session, recorder, &mut counted)
    });
    drop(session);
    let mut text = String::new();
    stdout.read_to_string(&mut text).expect("output");
    assert!(counted.device.contains_key("walks"), "{counted:?}");
    assert_eq!(counted.vmm["register_reads"], 0, "nobody came to the device");
    let boots = scratch.path().join(format!("{kernel}.boots"));
    let boots = fs::read_to_string(boots).expect("boots").lines().count();
    (result.expect("a result").end, text, boots)
}

#[test]
fn what_the_guest_says_passes_through() {
    assert_eq!(boot("answers"), (RunEnd::Exit(3), "hello\n".to_owned(), 1));
}

#[test]
fn a_panic_before_init_is_tried_again_once() {
    assert_eq!(boot("panics-once"), (RunEnd::Exit(3), "hello\n".to_owned(), 2));
    assert_eq!(boot("panics-always"), (RunEnd::Lost(MachineEnd::Panic), String::new(), 2));
}

#[test]
fn a_device_that_cannot_be_plugged_in_ends_the_run() {
    let why = "QEMU refuses 'device_add': no such driver".to_owned();
    assert_eq!(boot("no-device"), (RunEnd::Failed(why), String::new(), 1));
}

fn words(served: &Served) -> String {
    let words = served.words().into_iter().map(|word| word.into_string().expect("text"));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_words_are_those_of_the_machine() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut served = served(scratch.path(), "k");
    let plain = words(&served);
    for part in [
        "-accel tcg,thread=multi -cpu EPYC-Rome -smp 2 -m 512M ",
        ",share=on ",
        "-device pcie-root-port,id=behind,chassis=1",
        "size=90% no_timer_check quiet -initrd INITRD",
    ] {
        assert!(plain.contains(part), "{part}: {plain}");
    }
    for part in ["iommu", "split", "-gdb", "-S", "memmap", "-incoming"] {
        assert!(!plain.contains(part), "{part}: {plain}");
    }
    served.spec.iommu = true;
    served.emulator = Emulator::Kvm;
    let port = Port::Tcp(TcpListener::bind("127.0.0.1:0").expect("a port"));
    served.spec.debugger = Some(Arc::new(Invitation { port, number: 1, wait: true }));
    served.nvdimms = Nvdimms::new(vec![Pmem::File { path: "f".into(), size: 16 << 20 }]);
    let all = words(&served);
    for part in [
        "-accel kvm -cpu host ",
        ",kernel-irqchip=split,",
        "-gdb chardev:gdb -S",
        "memmap=0x1000000!0x2000000000 quiet",
        "mem-path=f,size=16777216",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let place = |part| all.find(part).expect(part);
    assert!(place("intel-iommu,intremap=on,caching-mode=on") < place("virtio-serial-pci"));
}

#[test]
fn what_differs_in_the_machine_differs_in_its_name() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let name = |change: &dyn Fn(&mut Served)| {
        let mut served = served(scratch.path(), "k");
        change(&mut served);
        served.shape().expect("a name")
    };
    let pmem = |path: &str, mib: u64| {
        Nvdimms::new(vec![Pmem::File { path: path.into(), size: mib << 20 }])
    };
    let plain = name(&|_| ());
    let with_pmem = name(&|served| served.nvdimms = pmem("a", 16));
    assert_eq!(name(&|served| served.nvdimms = pmem("b", 16)), with_pmem);
    assert_eq!(name(&|served| served.orders.archive = [1].into()), plain);
    // The device comes later.
    assert_eq!(name(&|served| served.spec.device.engines = 7), plain);
    let changes: [&dyn Fn(&mut Served); 6] = [
        &|served| served.spec.vcpus = 1,
        &|served| served.spec.memory = 1 << 30,
        &|served| served.spec.iommu = true,
        &|served| served.spec.cmdline = "nosmp".to_owned(),
        &|served| served.spec.initrd.clear(),
        &|served| served.orders.prepare = Some([1].into()),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert!(![&plain, &with_pmem].contains(&&name(change)), "change {index}");
    }
}
