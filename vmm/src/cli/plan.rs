// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From what the user said to what is to be started, with every choice made
//! and checked.

use super::decode::sources;
use super::request::Request;
use super::values::{self, UserFile};
use crate::archive::{Archive, ArchiveError, GuestCommand, Preparation, Role};
use crate::exit::Failure;
use crate::image::{Image, ImageError};
use crate::machine::{Blame, Initrd, MachineError, MachineSpec};
use crate::oops::Decoder;
use crate::pmem::Pmem;
use crate::session::{Orders, Terms};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Pieces of persistent memory of a guest: as many as always find a place in the first guest.
const MAX_PMEM: usize = 8;

/// What a kernel is told that shall use its IOMMU, and be done with a mapping when
/// it is unmapped: it would wait a while otherwise, and invalidate many at once.
const IOMMU_WORDS: &str = "intel_iommu=on iommu.strict=1";

/// What a kernel is told that shall be where its debug information says.
const GDB_WORDS: &str = "nokaslr";

/// Where the kernel's modules are: init needs these before there is a command.
const MODULES: [&str; 2] = ["lib/modules", "usr/lib/modules"];
/// Files that take longer to bring to a running guest than a boot with them.
pub(super) const LARGE: usize = 32 << 20;

/// Finds a part of an image.
type Part = fn(&Image) -> Result<PathBuf, ImageError>;

/// A guest that can be started.
#[derive(Debug)]
pub struct Plan {
    pub(super) request: Request,
    command: GuestCommand,
    preparation: Preparation,
    kernel: PathBuf,
    initrd: PathBuf,
    pub(super) image: Option<Image>,
    /// Whether the user's terminal becomes the guest's.
    pub raw: bool,
}

impl Plan {
    /// The guest that somebody wants.
    pub fn new(request: &Request) -> Result<Plan, Failure> {
        let args = &request.vm;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let shell = request.command.is_none();
        let argv = match &request.command {
            Some(argv) => argv.clone(),
            // The command leads a session that has no terminal, so that the first one it opens
            // becomes its own.
            None if args.console => words(&["sh", "-c", "exec sh -l <>/dev/ttyS0 >&0 2>&1"]),
            None => words(&["sh", "-l"]),
        };
        let takes_terminal = (args.console || shell) && !args.no_input;
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
                tty: raw && shell && !args.console,
                direct: false,
            },
            preparation: Preparation {
                role: Role::Guest,
                driver: !args.no_driver,
                driver_params: args.driver_params.clone().unwrap_or_default(),
                late_device: false,
                mark_ack: true,
            },
            request: request.clone(),
            image,
            raw,
        })
    }

    /// The same for a machine that gets its device once the guest is ready.
    pub fn with_late_device(mut self) -> Plan {
        self.preparation.late_device = true;
        self
    }

    /// The machine, for KVM, and what its guest is to do.
    pub fn machine(&self) -> Result<(MachineSpec, Orders), Failure> {
        let (early, late) = self.files()?;
        let mut spec = self.machine_with(early)?;
        spec.orders = late.len() as u64;
        let prepare = self
            .preparing_command()
            .map(|command| archive_of(&[], |archive| archive.command(&command)).map(Arc::from));
        let orders =
            Orders { prepare: prepare.transpose()?, archive: late.into(), terms: self.terms() };
        Ok((spec, orders))
    }

    /// The machine, for a command that is not known yet.
    pub fn machine_without_orders(&self) -> Result<MachineSpec, Failure> {
        let (early, _) = self.files()?;
        self.machine_with(early)
    }

    fn machine_with(&self, extra: Vec<u8>) -> Result<MachineSpec, Failure> {
        let mut cmdline: Vec<&str> = Vec::new();
        if !self.request.vm.console && self.request.vm.verbose < 2 {
            cmdline.push("quiet");
        }
        if self.request.vm.iommu {
            cmdline.push(IOMMU_WORDS);
        }
        if self.request.vm.gdb.is_some() {
            cmdline.push(GDB_WORDS);
        }
        cmdline.extend(self.request.vm.cmdline_append.as_deref());
        let device = values::device(&self.request.vm.device)?;
        Ok(MachineSpec {
            kernel: self.kernel.clone(),
            initrd: vec![Initrd::File(self.initrd.clone()), Initrd::Bytes(extra)],
            orders: 0,
            cmdline: cmdline.join(" "),
            memory: self.request.vm.memory,
            pmem: self.pmem()?,
            vcpus: self.request.vm.cpus,
            device,
            iommu: self.request.vm.iommu,
            passed_through: self.request.vm.vfio.clone(),
            debugger: None,
        })
    }

    /// What is to run before the command.
    fn preparing_command(&self) -> Option<GuestCommand> {
        self.request.vm.prepare.as_ref().map(|script| GuestCommand {
            argv: ["sh", "-c", script].map(str::to_owned).into(),
            env: BTreeMap::new(),
            cwd: "/".to_owned(),
            tty: false,
            direct: false,
        })
    }

    /// What finds the sources of what the guest runs.
    pub fn decoder(&self) -> Decoder<'_> {
        let args = &self.request.vm;
        Decoder::new(|| sources(self.image.as_ref(), args.kernel.as_deref(), &args.files))
    }

    /// What a session in a first guest has to know of the run.
    fn terms(&self) -> Terms {
        let args = &self.request.vm;
        Terms {
            run_limit: args.timeout.filter(|_| args.gdb.is_none()),
            verbose: args.verbose,
            serial: args.serial,
        }
    }

    /// Persistent memory, in the order in which the user names it.
    fn pmem(&self) -> Result<Vec<Pmem>, Failure> {
        let files = self.request.vm.pmem.iter().map(|file| Pmem::of_file(&file.path, file.size));
        let physical = self.request.vm.pmem_at.iter().cloned().map(Pmem::Physical);
        let found: Vec<Pmem> =
            files.chain(physical.map(Ok)).collect::<Result<_, _>>().map_err(Failure::usage)?;
        if found.len() > MAX_PMEM {
            return Err(Failure::usage(format!("--pmem: a guest has at most {MAX_PMEM} of them")));
        }
        Ok(found)
    }

    /// The archive that init finds in the initramfs, and the one with its orders.
    fn files(&self) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let all = &self.request.vm.files;
        // A first guest needs none of them before its command, and the second is not meant.
        let is_early = |file: &&UserFile| !self.request.vm.in_first_guest && is_module(file);
        let (modules, others): (Vec<&UserFile>, _) = all.iter().partition(is_early);
        let early = archive_of(&modules, |archive| archive.preparation(&self.preparation))?;
        let late = archive_of(&others, |archive| archive.command(&self.command))?;
        // What runs first may be among them.
        let is_small = late.len() <= LARGE || self.request.vm.in_first_guest;
        if is_small && self.request.vm.prepare.is_none() {
            return Ok((early, late));
        }
        let everything: Vec<&UserFile> = all.iter().collect();
        let early = archive_of(&everything, |archive| archive.preparation(&self.preparation))?;
        Ok((early, archive_of(&[], |archive| archive.command(&self.command))?))
    }
}

fn is_module(file: &UserFile) -> bool {
    let path: Vec<&str> = file.guest.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    MODULES.iter().any(|folder| path.join("/").starts_with(folder))
}

/// An archive with the user's files and one of our own.
fn archive_of(
    files: &[&UserFile],
    own: impl FnOnce(&mut Archive<Vec<u8>>) -> Result<(), ArchiveError>,
) -> Result<Vec<u8>, Failure> {
    let mut archive = Archive::new(Vec::new());
    for UserFile { host, guest } in files {
        archive.user_file(host, guest).map_err(Failure::usage)?;
    }
    own(&mut archive).map_err(Failure::vmm)?;
    archive.finish().map_err(Failure::vmm)
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

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
