// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The words that QEMU is started with.

use super::FirstGuest;
use crate::qemu::{Arguments, Ram};
use std::ffi::OsString;

/// What the first guest needs beside the memory of its own guest: its kernel,
/// this program, and the second guest's kernel and initrd, twice while they
/// are unpacked.
const FIRST_GUEST_MEMORY: u64 = 1536 << 20;

/// The kernel's words in the first guest. It is thrown away after one use and
/// every instruction of it is emulated, so it spends none on hardening. On a host that is busy it
/// would find no timer and panic, so it does not look.
///
/// Programs, and so the second guest's vCPUs, keep off CPU 0. QEMU (11.1, and all
/// that has IGNNE) clears a bit of the first CPU's `hflags2` with a plain
/// read-modify-write whenever any CPU executes FXRSTOR or XRSTOR
/// (`cpu_clear_ignne()`). That may undo what the first CPU changes there itself,
/// and VMRUN and #VMEXIT change much: nested paging that stays on makes a triple
/// fault, a global interrupt flag that stays clear makes a CPU hear nothing more.
/// `fpu-storm` brings it about within seconds.
const CMDLINE: &str = "console=ttyS0 quiet panic=-1 reboot=t mitigations=off init_on_alloc=0 \
                       transparent_hugepage=always nowatchdog isolcpus=0 no_timer_check \
                       cryptomgr.notests=1";

/// The virtio ports of a first guest, in the order of their sockets.
pub const PORTS: [&str; 5] = ["stdin", "stdout", "stderr", "control", "inner"];

/// What QEMU inherits, by the names that its options take: numbers of descriptors, or paths.
#[derive(Debug, Default)]
pub struct Inherited {
    pub serial: String,
    /// One for each of [`PORTS`].
    pub ports: Vec<String>,
    /// The initrd, for a boot.
    pub disk: Option<String>,
    /// All files of persistent memory.
    pub pmem: Vec<String>,
    /// Its memory, if that is a file.
    pub ram: Option<Ram>,
    /// The rest of the state that is taken up.
    pub state: Option<String>,
    pub monitor: Option<String>,
    /// A TCP port where debuggers of the second guest come.
    pub debuggers: Option<String>,
}

impl FirstGuest {
    /// Bytes of its memory.
    pub fn memory(&self) -> u64 {
        self.guest_memory + FIRST_GUEST_MEMORY
    }

    /// QEMU's arguments.
    pub fn arguments(&self, inherited: &Inherited) -> Vec<OsString> {
        let mut words = Arguments::new();
        words.words("-accel tcg,thread=multi -cpu EPYC-Rome -smp 3");
        words.machine(self.memory(), &self.nvdimms, inherited.ram.as_ref(), "");
        words.add("-kernel", &self.kernel);
        words.add("-append", CMDLINE);
        if let Some(disk) = &inherited.disk {
            words.add("-initrd", disk);
        }
        if let Some(state) = &inherited.state {
            words.add("-incoming", format!("file:{state}"));
        }
        if let Some(monitor) = &inherited.monitor {
            words.monitor(monitor);
        }
        words.serial(&inherited.serial);
        let ports = PORTS.into_iter().zip(inherited.ports.iter().map(String::as_str));
        words.ports(ports, inherited.debuggers.iter().count());
        if let Some(fd) = &inherited.debuggers {
            words.add("-chardev", format!("socket,id=gdb,fd={fd},server=on,wait=off"));
            words.add("-device", "virtserialport,chardev=gdb,name=farfault.gdb");
        }
        words.nvdimms(&self.nvdimms, &inherited.pmem);
        words.into_inner()
    }

    /// What QEMU would be started as, with names in place of what it inherits.
    pub fn words(&self) -> Vec<OsString> {
        let inherited = Inherited {
            serial: "SERIAL".into(),
            ports: PORTS.map(str::to_uppercase).into(),
            disk: Some("INITRD".into()),
            pmem: self.nvdimms.names(),
            debuggers: self.debuggers.as_ref().map(|_| "GDB".into()),
            ..Inherited::default()
        };
        let mut words = self.qemu.words();
        words.extend(self.arguments(&inherited));
        words
    }
}
