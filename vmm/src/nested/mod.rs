// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nested mode: without usable KVM, QEMU's TCG runs a first guest whose CPU
//! has SVM, and this very program runs there on its KVM.

mod child;
mod disk;
mod pmem_bars;
mod qemu;

use crate::machine::GuestStreams;
use crate::pmem::PmemError;
use crate::session::{RunEnd, Session, SessionResult, connect};
use crate::stats::Recorder;
use child::Child;
use disk::PackError;
pub use disk::{INNER_INITRD, INNER_KERNEL, INNER_STATS, InnerGuest};
pub use pmem_bars::PmemBars;
pub use qemu::{Qemu, QemuError};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// What the first guest needs beside the memory of its own guest: its kernel,
/// this program, and the second guest's kernel and initrd, twice while they
/// are unpacked.
const FIRST_GUEST_MEMORY: u64 = 1536 << 20;
/// The kernel's words in the first guest. It is thrown away after one use and
/// every instruction of it is emulated, so it spends none on hardening.
///
/// Programs, and so the second guest's vCPUs, keep off CPU 0. QEMU (11.1, and all
/// that has IGNNE) clears a bit of the first CPU's `hflags2` with a plain
/// read-modify-write whenever any CPU executes FXRSTOR or XRSTOR
/// (`cpu_clear_ignne()`). That may undo what the first CPU changes there itself,
/// and VMRUN and #VMEXIT change much: nested paging that stays on makes a triple
/// fault, a global interrupt flag that stays clear makes a CPU hear nothing more.
/// `fpu-storm` brings it about within seconds.
const CMDLINE: &str = "console=ttyS0 quiet panic=-1 reboot=t mitigations=off init_on_alloc=0 \
                       transparent_hugepage=always nowatchdog isolcpus=0";
#[derive(Debug, thiserror::Error)]
pub enum NestedError {
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Pmem(#[from] PmemError),
    #[error("cannot start {}", .0.display())]
    Start(PathBuf, #[source] io::Error),
    #[error("cannot connect the first guest")]
    Connect(#[from] io::Error),
}

/// The first guest, described.
#[derive(Debug)]
pub struct FirstGuest {
    pub qemu: Qemu,
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    /// What it carries for the second guest.
    pub inner: InnerGuest,
    /// The second guest's memory.
    pub guest_memory: u64,
    /// Its persistent memory.
    pub bars: PmemBars,
}

impl FirstGuest {
    /// Boots it, and holds the session with it. A first guest that panics
    /// before its init is up is an accident of the emulation and is tried
    /// once more; nothing after that is.
    pub fn run(
        &self,
        session: &mut Session,
        recorder: &mut Recorder,
    ) -> Result<SessionResult, NestedError> {
        let disk = disk::pack(&self.initrd, &self.inner)?;
        let pmem = self.bars.open()?;
        let first = self.attempt(&disk, &pmem, session, recorder)?;
        if first.started || !matches!(first.end, RunEnd::Lost(_)) {
            return Ok(first);
        }
        recorder.retried();
        self.attempt(&disk, &pmem, session, recorder)
    }

    fn attempt(
        &self,
        disk: &File,
        pmem: &[File],
        session: &mut Session,
        recorder: &mut Recorder,
    ) -> Result<SessionResult, NestedError> {
        let (ends, ports) = connect()?;
        let GuestStreams { serial, stdin, stdout, stderr, control } = ports;
        let streams: [OwnedFd; 5] =
            [serial.into(), stdin.into(), stdout.into(), stderr.into(), control.into()];
        let fds = streams.each_ref().map(|fd| fd.as_raw_fd().to_string());
        let mut inherited = Vec::from(streams);
        let mut open = |file: &File| {
            let file = file.try_clone()?;
            let name = format!("/dev/fd/{}", file.as_raw_fd());
            inherited.push(file.into());
            Ok::<_, io::Error>(name)
        };
        let memory = pmem.iter().map(&mut open).collect::<Result<Vec<_>, _>>()?;
        let disk = open(disk)?;
        let mut command = self.qemu.command();
        command.args(self.arguments(&fds, &disk, &memory));
        // The streams end with QEMU: ours are closed.
        let child = Child::start(command, inherited)
            .map_err(|error| NestedError::Start(self.qemu.path.clone(), error))?;
        Ok(session.attend(ends, &child, child.runner(), recorder)?)
    }

    /// What QEMU would be started as.
    pub fn words(&self) -> Vec<OsString> {
        let fds = ["SERIAL", "STDIN", "STDOUT", "STDERR", "CONTROL"].map(str::to_owned);
        let mut words = self.qemu.words();
        words.extend(self.arguments(&fds, "INITRD", &self.bars.names()));
        words
    }

    /// QEMU's arguments. Devices are few: each is probed by an emulated CPU.
    fn arguments(&self, fds: &[String; 5], disk: &str, pmem: &[String]) -> Vec<OsString> {
        let [serial, ports @ ..] = fds;
        let mib = (self.guest_memory + FIRST_GUEST_MEMORY) >> 20;
        let mut words: Vec<OsString> = [
            "-nodefaults -no-user-config -display none -no-reboot",
            "-device pvpanic -action panic=exit-failure",
            "-machine q35,smbus=off,sata=off,usb=off,vmport=off,hpet=off",
            "-accel tcg,thread=multi -cpu EPYC-Rome -smp 3",
        ]
        .iter()
        .flat_map(|line| line.split(' '))
        .map(OsString::from)
        .collect();
        let mut add = |option: &str, value: OsString| words.extend([option.into(), value]);
        add("-m", format!("{mib}M").into());
        add("-kernel", self.kernel.clone().into());
        add("-initrd", disk.into());
        add("-append", CMDLINE.into());
        add("-chardev", format!("socket,id=serial,fd={serial}").into());
        add("-serial", "chardev:serial".into());
        add("-device", "virtio-serial-pci,max_ports=5".into());
        for (name, fd) in ["stdin", "stdout", "stderr", "control"].iter().zip(ports) {
            add("-chardev", format!("socket,id={name},fd={fd}").into());
            add("-device", format!("virtserialport,chardev={name},name=farfault.{name}").into());
        }
        for (object, device) in self.bars.arguments(pmem) {
            add("-object", object.into());
            add("-device", device.into());
        }
        words
    }
}

#[cfg(test)]
#[path = "nested_test.rs"]
mod tests;
