// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernel modules: those that are listed for this kernel, and the driver.
//!
//! Who packs them has worked out the order, so that the guest needs no modprobe.
//! A line of the list is the name of a file beside it.

use crate::failure::{self, Doing, Failure};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use std::ffi::CString;
use std::fs::File;
use std::path::Path;

/// Each kernel has its modules in a folder of its release, and the list is there.
const FOLDER: &str = "/lib/modules";
const LIST: &str = "at-boot";
const CMDLINE: &str = "/proc/cmdline";
const DRIVER: &str = "/lib/modules/farfault.ko";

/// Loads the modules that are listed for the kernel that runs, if any are.
pub fn load_listed() -> Result<(), Failure> {
    let release = nix::sys::utsname::uname().doing("ask the kernel for its release")?;
    let folder = Path::new(FOLDER).join(release.release());
    if !folder.join(LIST).exists() {
        return Ok(());
    }
    let list = failure::read(folder.join(LIST))?;
    let cmdline = failure::read(CMDLINE)?;
    let cmdline = String::from_utf8_lossy(&cmdline);
    names(&String::from_utf8_lossy(&list))
        .try_for_each(|name| load(&folder.join(name), &parameters_for(name, &cmdline)))
}

/// Loads the guest driver, which then has the device if that is there already.
pub fn load_driver(params: &str) -> Result<(), Failure> {
    let known = parameters(&failure::read(DRIVER)?);
    // The kernel takes a module all the same, and says so in its log only.
    if let Some(name) = unknown(params, &known) {
        return Err(Failure::NoParameter { name, known: known.join(", ") });
    }
    load(Path::new(DRIVER), params)
}

/// Fails unless the machine can run guests.
pub fn require_kvm() -> Result<(), Failure> {
    if Path::new("/dev/kvm").exists() { Ok(()) } else { Err(Failure::NoKvm) }
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|name| !name.is_empty())
}

/// The parameters of a module on the kernel's command line (`kvm_amd.npt=0`), which are
/// modprobe's to find.
fn parameters_for(file: &str, cmdline: &str) -> String {
    let module = file.trim_end_matches(".ko").replace('-', "_");
    let words = cmdline.split_whitespace().filter_map(|word| word.split_once('.'));
    let own = words.filter(|(name, _)| name.replace('-', "_") == module);
    own.map(|(_, parameter)| parameter).collect::<Vec<_>>().join(" ")
}

fn load(path: &Path, params: &str) -> Result<(), Failure> {
    let file = File::open(path).map_err(Failure::file("open", path))?;
    let refused = |errno| match errno {
        Errno::ENOEXEC => Failure::Foreign { path: path.into() },
        _ => Failure::Module { path: path.into(), params: params.into(), errno },
    };
    let parameters = CString::new(params).map_err(|_| refused(Errno::EINVAL))?;
    finit_module(&file, &parameters, ModuleInitFlags::empty()).map_err(refused)
}

/// The names of a module's parameters, as its section .modinfo has them.
fn parameters(module: &[u8]) -> Vec<String> {
    let strings = module.split(|byte| *byte == 0);
    let types = strings.filter_map(|string| string.strip_prefix(b"parmtype="));
    let names = types.filter_map(|text| text.split(|byte| *byte == b':').next());
    names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// The first of `params` that is none of `known`.
fn unknown(params: &str, known: &[String]) -> Option<String> {
    let names = params.split_whitespace().map(|word| word.split('=').next().unwrap_or(word));
    let mut names = names.map(|name| name.replace('-', "_"));
    names.find(|name| !known.contains(name) && name != "dyndbg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_keeps_its_order() {
        let list = "kvm.ko\n\n  kvm-amd.ko \na";
        let expected = ["kvm.ko", "kvm-amd.ko", "a"];
        assert_eq!(names(list).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn modules_have_parameters_on_the_command_line() {
        let line = "quiet kvm-amd.npt=0 kvm.x=1 kvm_amd.avic=0 panic=-1 kvm_amd\n";
        assert_eq!(parameters_for("kvm-amd.ko", line), "npt=0 avic=0");
        assert_eq!(parameters_for("kvm.ko", line), "x=1");
        assert_eq!(parameters_for("pvpanic-mmio.ko", line), "");
    }

    #[test]
    fn an_unknown_parameter_is_found() {
        let module =
            b"\x7fELF\0license=GPL\0parmtype=queues:uint\0parm=queues:text\0\0parmtype=a_b:bool\0";
        let known = parameters(module);
        assert_eq!(known, ["queues", "a_b"]);
        for good in ["", "queues=1 a-b", "a_b=1", "dyndbg=+p"] {
            assert_eq!(unknown(good, &known), None, "{good}");
        }
        assert_eq!(unknown("queues=1 nosuch=1", &known).as_deref(), Some("nosuch"));
        assert_eq!(unknown("queue", &known).as_deref(), Some("queue"));
    }
}
