// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The words that QEMU is started with, one subject after the other.

use super::nvdimms::Nvdimms;
use std::ffi::OsString;

/// A PC without what no guest of ours has a use for: each device is probed by an emulated CPU.
const MACHINE: &str = "q35,smbus=off,sata=off,usb=off,vmport=off,hpet=off";

/// Words in the order in which they were added.
#[derive(Debug)]
pub struct Arguments(Vec<OsString>);

/// Memory that is a file.
#[derive(Debug)]
pub struct Ram {
    pub path: String,
    /// Whether what the guest writes goes to the file.
    pub shared: bool,
}

impl Arguments {
    /// What all machines have in common: nothing that is not asked for, and an end that says why.
    pub fn new() -> Arguments {
        let mut arguments = Arguments(Vec::new());
        arguments.words("-nodefaults -no-user-config -display none -no-reboot");
        arguments.words("-device pvpanic -action panic=exit-failure");
        arguments
    }

    /// Adds words that have no space in them.
    pub fn words(&mut self, line: &str) {
        self.0.extend(line.split(' ').map(OsString::from));
    }

    /// Adds an option.
    pub fn add(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.extend([option.into(), value.into()]);
    }

    /// Adds the machine: its memory has `bytes`, and room for persistent memory beside it.
    /// `more` is what else its option says.
    pub fn machine(&mut self, bytes: u64, nvdimms: &Nvdimms, ram: Option<&Ram>, more: &str) {
        let [memory, room] = nvdimms.slots(bytes);
        let machine = format!("{MACHINE}{room}{more}");
        self.add("-m", format!("{}M{memory}", bytes >> 20));
        let Some(Ram { path, shared }) = ram else { return self.add("-machine", machine) };
        // Who takes a state up must not write to it.
        let how = if *shared { "share=on" } else { "share=off,readonly=on,rom=off" };
        let ram = format!("memory-backend-file,id=ram,size={bytes},mem-path={path},{how}");
        self.add("-machine", format!("{machine},memory-backend=ram"));
        self.add("-object", ram);
        // Memory that is a file is no part of the rest, and neither is that the machine
        // stood still when the rest was written.
        self.add("-global", "migration.x-ignore-shared=on");
        self.add("-global", "migration.store-global-state=off");
    }

    /// Adds the monitor at a socket.
    pub fn monitor(&mut self, fd: &str) {
        self.add("-chardev", format!("socket,id=monitor,fd={fd}"));
        self.add("-mon", "chardev=monitor,mode=control");
    }

    /// Adds the serial line at a socket.
    pub fn serial(&mut self, fd: &str) {
        self.add("-chardev", format!("socket,id=serial,fd={fd}"));
        self.add("-serial", "chardev:serial");
    }

    /// Adds virtio ports at sockets, each with its name, and room for `spare` others.
    pub fn ports<'p>(&mut self, ports: impl Iterator<Item = (&'p str, &'p str)>, spare: usize) {
        let ports: Vec<_> = ports.collect();
        // The first is nobody's.
        let most = 1 + ports.len() + spare;
        self.add("-device", format!("virtio-serial-pci,max_ports={most}"));
        for (name, fd) in ports {
            self.add("-chardev", format!("socket,id={name},fd={fd}"));
            self.add("-device", format!("virtserialport,chardev={name},name=farfault.{name}"));
        }
    }

    /// Adds persistent memory, whose files have these names.
    pub fn nvdimms(&mut self, nvdimms: &Nvdimms, names: &[String]) {
        for (object, device) in nvdimms.arguments(names) {
            self.add("-object", object);
            self.add("-device", device);
        }
    }

    /// All of them.
    pub fn into_inner(self) -> Vec<OsString> {
        self.0
    }
}
