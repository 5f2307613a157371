// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The words that QEMU is started with.

use super::guest::PORT;
use super::{Emulator, Served};
use crate::qemu::{Arguments, Ram};
use std::ffi::OsString;

/// What the kernel is told first: where the console is, that a panic ends the run, how a restart
/// ends it quickly, that the initramfs may have more than half of memory, and that the timer is
/// there: when the kernel looks for itself, on a host that is busy, it finds none and panics.
const CMDLINE: &str = "console=ttyS0 panic=-1 reboot=t initramfs_options=size=90% no_timer_check";

/// A CPU without FSRM, which TCG's `max` has: with that a kernel copies short words byte by byte,
/// and a device that reads one meanwhile sees a part of it changed.
const TCG: &str = "-accel tcg,thread=multi -cpu EPYC-Rome";

/// The virtio ports of a guest, in the order of their sockets.
const PORTS: [&str; 4] = ["stdin", "stdout", "stderr", "control"];

/// What QEMU inherits, by the names that its options take: numbers of descriptors, or paths.
#[derive(Debug, Default)]
pub struct Inherited {
    pub serial: String,
    /// One for each of [`PORTS`].
    pub ports: Vec<String>,
    pub monitor: String,
    pub ram: Option<Ram>,
    /// The initrd, for a boot.
    pub disk: Option<String>,
    /// Whether it is to go on from a state, of which the monitor tells it.
    pub goes_on: bool,
    /// All files of persistent memory.
    pub pmem: Vec<String>,
    /// A TCP port.
    pub debuggers: Option<String>,
}

impl Served {
    /// QEMU's arguments.
    pub fn arguments(&self, inherited: &Inherited) -> Vec<OsString> {
        let mut words = Arguments::new();
        words.words(match self.emulator {
            Emulator::Kvm => "-accel kvm -cpu host",
            Emulator::Tcg => TCG,
        });
        words.add("-smp", self.spec.vcpus.to_string());
        // Interrupts go through an IOMMU only where QEMU has the IOAPIC.
        let irqchip = if self.spec.iommu { ",kernel-irqchip=split" } else { "" };
        words.machine(self.spec.memory, &self.nvdimms, inherited.ram.as_ref(), irqchip);
        words.add("-kernel", &self.spec.kernel);
        words.add("-append", self.cmdline());
        if let Some(disk) = &inherited.disk {
            words.add("-initrd", disk);
        }
        if inherited.goes_on {
            words.add("-incoming", "defer");
        }
        words.monitor(&inherited.monitor);
        words.serial(&inherited.serial);
        if self.spec.iommu {
            // It must be there before what is behind it.
            words.add("-device", "intel-iommu,intremap=on,caching-mode=on");
        }
        words.ports(PORTS.into_iter().zip(inherited.ports.iter().map(String::as_str)), 0);
        words.add("-device", format!("pcie-root-port,id={PORT},chassis=1"));
        if let Some(fd) = &inherited.debuggers {
            words.add("-chardev", format!("socket,id=gdb,fd={fd},server=on,wait=off"));
            words.add("-gdb", "chardev:gdb");
        }
        if self.spec.debugger.as_ref().is_some_and(|invitation| invitation.wait) {
            words.words("-S");
        }
        words.nvdimms(&self.nvdimms, &inherited.pmem);
        words.into_inner()
    }

    /// The kernel's words. Persistent memory is what our own machine has: memory of that kind in
    /// the map of memory.
    fn cmdline(&self) -> String {
        let mut words = vec![CMDLINE.to_owned()];
        let pmem = |range: &std::ops::Range<u64>| {
            format!("memmap={:#x}!{:#x}", range.end - range.start, range.start)
        };
        words.extend(self.nvdimms.ranges().iter().map(pmem));
        words.push(self.spec.cmdline.clone());
        words.join(" ")
    }

    /// What QEMU would be started as, with names in place of what it inherits.
    pub fn words(&self) -> Vec<OsString> {
        let inherited = Inherited {
            serial: "SERIAL".into(),
            ports: PORTS.map(str::to_uppercase).into(),
            monitor: "MONITOR".into(),
            ram: Some(Ram { path: "RAM".into(), shared: true }),
            disk: Some("INITRD".into()),
            pmem: self.nvdimms.names(),
            debuggers: self.spec.debugger.as_ref().map(|_| "GDB".into()),
            ..Inherited::default()
        };
        let mut words = self.qemu.words();
        words.extend(self.arguments(&inherited));
        words
    }
}
