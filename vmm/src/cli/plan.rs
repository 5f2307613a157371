// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From what the user said to what is to be started, with every choice made
//! and checked.

use super::options::{Accel, VmArgs};
use super::request::Request;
use super::values;
use crate::archive::{self, Archive, GuestCommand, Role};
use crate::exit::Failure;
use crate::image::{Image, ImageError};
use crate::machine::{Blame, Initrd, Machine, MachineError, MachineSpec};
use crate::nested::{
    FirstGuest, INNER_INITRD, INNER_KERNEL, INNER_STATS, InnerGuest, PmemBars, Qemu,
};
use crate::pmem::Pmem;
use farfault_device_model::DeviceConfig;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

/// Pieces of persistent memory of a guest: as many as always find a place in the first guest.
const MAX_PMEM: usize = 8;

/// What a kernel is told that shall use its IOMMU, and be done with a mapping when
/// it is unmapped: it would wait a while otherwise, and invalidate many at once.
const IOMMU_WORDS: &str = "intel_iommu=on iommu.strict=1";

/// Finds a part of an image.
type Part = fn(&Image) -> Result<PathBuf, ImageError>;

/// A guest that can be started.
#[derive(Debug)]
pub struct Plan {
    request: Request,
    command: GuestCommand,
    kernel: PathBuf,
    initrd: PathBuf,
    image: Option<Image>,
    /// Whether the user's terminal becomes the guest's.
    pub raw: bool,
}

impl Plan {
    /// The guest that somebody wants.
    pub fn new(request: &Request) -> Result<Plan, Failure> {
        let args = &request.vm;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (role, argv) = match &request.command {
            Some(argv) => (Role::Guest, argv.clone()),
            // The command leads a session that has no terminal, so that the first one it opens
            // becomes its own.
            None if args.console => {
                (Role::Shell, words(&["sh", "-c", "exec sh -l <>/dev/ttyS0 >&0 2>&1"]))
            }
            None => (Role::Shell, words(&["sh", "-l"])),
        };
        let takes_terminal = (args.console || role == Role::Shell) && !args.no_input;
        let raw = takes_terminal && io::stdin().is_terminal();
        let image = match (&args.kernel, &args.initrd) {
            (Some(_), Some(_)) => Image::find(args.image.as_deref()).ok(),
            _ => Some(Image::find(args.image.as_deref()).map_err(Failure::host_lacks)?),
        };
        let part = |chosen: &Option<PathBuf>, of: Part| match (chosen, &image) {
            (Some(path), _) => readable(path).map(|()| path.clone()),
            (None, Some(image)) => of(image).map_err(Failure::host_lacks),
            (None, None) => Err(Failure::host_lacks("no guest image")),
        };
        let mut env: BTreeMap<_, _> = args.env.iter().cloned().collect();
        if raw && let Ok(term) = std::env::var("TERM") {
            env.entry("TERM".to_owned()).or_insert(term);
        }
        Ok(Plan {
            kernel: part(&args.kernel, Image::kernel)?,
            initrd: part(&args.initrd, Image::initrd)?,
            command: GuestCommand {
                argv,
                env,
                cwd: args.cwd.clone(),
                tty: raw && role == Role::Shell && !args.console,
                role,
                driver: !args.no_driver,
                driver_params: args.driver_params.clone().unwrap_or_default(),
                mark_ack: true,
            },
            request: request.clone(),
            image,
            raw,
        })
    }

    /// The machine, for KVM.
    pub fn machine(&self) -> Result<MachineSpec, Failure> {
        let mut cmdline: Vec<&str> = Vec::new();
        if !self.request.vm.console && self.request.vm.verbose < 2 {
            cmdline.push("quiet");
        }
        if self.request.vm.iommu {
            cmdline.push(IOMMU_WORDS);
        }
        cmdline.extend(self.request.vm.cmdline_append.as_deref());
        let wrong = |why| Failure::usage(format!("--device {}: {why}", self.request.vm.device));
        let device: DeviceConfig = values::keyed(&self.request.vm.device).map_err(wrong)?;
        device.validate().map_err(|error| wrong(error.to_string()))?;
        Ok(MachineSpec {
            kernel: self.kernel.clone(),
            initrd: vec![Initrd::File(self.initrd.clone()), Initrd::Bytes(self.extra()?)],
            cmdline: cmdline.join(" "),
            memory: self.request.vm.memory,
            pmem: self.pmem()?,
            vcpus: self.request.vm.cpus,
            device,
            iommu: self.request.vm.iommu,
        })
    }

    /// Persistent memory, in the order in which the user names it.
    fn pmem(&self) -> Result<Vec<Pmem>, Failure> {
        let files = self.request.vm.pmem.iter().map(|file| Pmem::of_file(&file.path, file.size));
        let joined = self.request.vm.pmem_parts.iter().map(|parts| Pmem::of_parts(parts));
        let found: Vec<Pmem> =
            files.chain(joined).collect::<Result<_, _>>().map_err(Failure::usage)?;
        if found.len() > MAX_PMEM {
            return Err(Failure::usage(format!("--pmem: a guest has at most {MAX_PMEM} of them")));
        }
        Ok(found)
    }

    /// The archive with the command and the user's files.
    fn extra(&self) -> Result<Vec<u8>, Failure> {
        let mut archive = Archive::new(Vec::new());
        for (host, guest) in self.files_of(false) {
            archive.user_file(&host, &guest).map_err(Failure::usage)?;
        }
        archive.command(&self.command).map_err(Failure::vmm)?;
        archive.finish().map_err(Failure::vmm)
    }

    /// The user's files, if they are for the first guest, or for the second.
    fn files_of(&self, first: bool) -> Vec<(PathBuf, String)> {
        let files =
            self.request.vm.files.iter().filter(|_| self.request.vm.in_first_guest == first);
        files.map(|file| (file.host.clone(), file.guest.clone())).collect()
    }

    /// The first guest, for nested mode.
    pub fn first_guest(&self) -> Result<FirstGuest, Failure> {
        // Whatever is wrong with the inner machine shows here, and not after a boot.
        let spec = self.machine()?;
        Machine::check(&spec).map_err(machine_failure)?;
        let image = match &self.image {
            Some(image) => image,
            None => &Image::find(self.request.vm.image.as_deref()).map_err(Failure::host_lacks)?,
        };
        let tools = image.manifest.tools.as_deref();
        let bars = PmemBars::new(spec.pmem);
        Ok(FirstGuest {
            qemu: Qemu::find(self.request.vm.qemu.as_deref(), tools)
                .map_err(Failure::host_lacks)?,
            kernel: image.first_kernel().map_err(Failure::host_lacks)?,
            initrd: image.first_initrd().map_err(Failure::host_lacks)?,
            guest_memory: spec.memory,
            inner: InnerGuest {
                kernel: spec.kernel,
                initrd: concatenate(&spec.initrd)?,
                request: self.inner_request(&bars)?,
                command: self.command.argv.clone(),
                tty: self.raw,
                files: self.files_of(true),
            },
            bars,
        })
    }

    /// What this program is asked for in the first guest: all that was asked for here, but
    /// that the user's files are in the initrd already, and what concerns only this side.
    fn inner_request(&self, bars: &PmemBars) -> Result<Option<String>, Failure> {
        if self.request.vm.in_first_guest {
            return Ok(None);
        }
        let vm = VmArgs {
            accel: Accel::Kvm,
            kernel: Some(INNER_KERNEL.into()),
            initrd: Some(INNER_INITRD.into()),
            image: None,
            qemu: None,
            files: Vec::new(),
            pmem: Vec::new(),
            pmem_parts: bars.inner_parts(),
            env: self.command.env.clone().into_iter().collect(),
            stats: false,
            stats_json: Some(INNER_STATS.into()),
            quiet: self.request.vm.verbose == 0,
            ..self.request.vm.clone()
        };
        let request = Request { vm, command: self.request.command.clone() };
        serde_json::to_string(&request).map(Some).map_err(Failure::vmm)
    }
}

/// Gives a machine's error the exit code of the one to blame.
pub fn machine_failure(error: MachineError) -> Failure {
    match error.blame() {
        Blame::User => Failure::usage(error),
        Blame::Host => Failure::host_lacks(error),
        Blame::Vmm => Failure::vmm(error),
    }
}

fn readable(path: &Path) -> Result<(), Failure> {
    let status = File::open(path).and_then(|file| file.metadata());
    match status {
        Ok(status) if status.is_file() => Ok(()),
        Ok(_) => Err(Failure::usage(format!("{} is not a file", path.display()))),
        Err(error) => Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
    }
}

/// All pieces of an initrd, each where the kernel looks for it.
fn concatenate(pieces: &[Initrd]) -> Result<Vec<u8>, Failure> {
    let mut whole = Vec::new();
    for piece in pieces {
        let len = whole.len() as u64;
        archive::align(&mut whole, len).map_err(Failure::vmm)?;
        match piece {
            Initrd::Bytes(bytes) => whole.extend_from_slice(bytes),
            Initrd::File(path) => {
                let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut whole));
                copied.map_err(|error| {
                    Failure::usage(format!("cannot read {}: {error}", path.display()))
                })?;
            }
        }
    }
    Ok(whole)
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
