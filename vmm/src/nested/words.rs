// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The words that QEMU is started with. Devices are few: each is probed by an emulated CPU.

use super::FirstGuest;
use std::ffi::OsString;

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

/// Memory that is a file.
#[derive(Debug)]
pub struct Ram {
    pub path: String,
    /// Whether what the guest writes goes to the file.
    pub shared: bool,
}

impl FirstGuest {
    /// Bytes of its memory.
    pub fn memory(&self) -> u64 {
        self.guest_memory + FIRST_GUEST_MEMORY
    }

    /// QEMU's arguments.
    pub fn arguments(&self, inherited: &Inherited) -> Vec<OsString> {
        let bytes = self.memory();
        let mut words: Vec<OsString> = [
            "-nodefaults -no-user-config -display none -no-reboot",
            "-device pvpanic -action panic=exit-failure",
            "-accel tcg,thread=multi -cpu EPYC-Rome -smp 3",
        ]
        .iter()
        .flat_map(|line| line.split(' '))
        .map(OsString::from)
        .collect();
        let mut add = |option: &str, value: OsString| words.extend([option.into(), value]);
        let [memory, machine] = self.nvdimms.slots(bytes);
        let machine = format!("q35,smbus=off,sata=off,usb=off,vmport=off,hpet=off{machine}");
        add("-m", format!("{}M{memory}", bytes >> 20).into());
        match &inherited.ram {
            None => add("-machine", machine.into()),
            Some(Ram { path, shared }) => {
                // Who takes a state up must not write to it.
                let how = if *shared { "share=on" } else { "share=off,readonly=on,rom=off" };
                let ram = format!("memory-backend-file,id=ram,size={bytes},mem-path={path},{how}");
                add("-machine", format!("{machine},memory-backend=ram").into());
                add("-object", ram.into());
                // Memory that is a file is no part of the rest, and neither is that the machine
                // stood still when the rest was written.
                add("-global", "migration.x-ignore-shared=on".into());
                add("-global", "migration.store-global-state=off".into());
            }
        }
        add("-kernel", self.kernel.clone().into());
        add("-append", CMDLINE.into());
        if let Some(disk) = &inherited.disk {
            add("-initrd", disk.into());
        }
        if let Some(state) = &inherited.state {
            add("-incoming", format!("file:{state}").into());
        }
        if let Some(monitor) = &inherited.monitor {
            add("-chardev", format!("socket,id=monitor,fd={monitor}").into());
            add("-mon", "chardev=monitor,mode=control".into());
        }
        add("-chardev", format!("socket,id=serial,fd={}", inherited.serial).into());
        add("-serial", "chardev:serial".into());
        let ports = PORTS.len() + 1 + usize::from(inherited.debuggers.is_some());
        add("-device", format!("virtio-serial-pci,max_ports={ports}").into());
        for (name, fd) in PORTS.iter().zip(&inherited.ports) {
            add("-chardev", format!("socket,id={name},fd={fd}").into());
            add("-device", format!("virtserialport,chardev={name},name=farfault.{name}").into());
        }
        if let Some(fd) = &inherited.debuggers {
            add("-chardev", format!("socket,id=gdb,fd={fd},server=on,wait=off").into());
            add("-device", "virtserialport,chardev=gdb,name=farfault.gdb".into());
        }
        for (object, device) in self.nvdimms.arguments(&inherited.pmem) {
            add("-object", object.into());
            add("-device", device.into());
        }
        words
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
