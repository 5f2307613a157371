// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this host offers, and what to do about what is missing.

use crate::exit::chain;
use crate::image::{Image, ImageError};
use crate::probe::{self, Unusable};
use crate::qemu::{Qemu, QemuError, RUNS_FIRST_GUESTS, SERVES_DEVICES, Version};
use std::fmt;
use std::fs;
use std::path::Path;

/// Nested mode needs a first guest's memory beside the guest's.
const WANTED_MIB: u64 = 2560;

#[derive(Debug)]
pub struct Examination {
    kvm: Result<(), Unusable>,
    image: Result<Image, ImageError>,
    parts: Result<(), ImageError>,
    qemu: Result<(Qemu, Version), QemuError>,
    available_mib: Option<u64>,
    cpus: usize,
}

pub fn examine(image: Option<&Path>, qemu: Option<&Path>) -> Examination {
    let image = Image::find(image);
    let (parts, tools) = match &image {
        Ok(image) => {
            let first = image.first_kernel().and(image.first_initrd());
            let parts = image.kernel().and(image.initrd()).and(first);
            (parts.map(drop), image.manifest.tools.clone())
        }
        Err(_) => (Ok(()), None),
    };
    Examination {
        kvm: probe::kvm(),
        parts,
        qemu: Qemu::find(qemu, tools.as_deref(), RUNS_FIRST_GUESTS)
            .and_then(|qemu| qemu.version().map(|version| (qemu, version))),
        image,
        available_mib: available(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

impl Examination {
    /// Whether `farfault run` would work.
    pub fn can_run(&self) -> bool {
        self.image.is_ok() && self.parts.is_ok() && (self.kvm.is_ok() || self.qemu.is_ok())
    }

    /// The fastest way to run, and why.
    fn fastest(&self) -> &'static str {
        match (&self.kvm, &self.qemu) {
            (Ok(()), _) => "farfault run works here, on KVM, which is the fastest way",
            (Err(_), Ok((_, version))) if *version >= SERVES_DEVICES => {
                "farfault run works here, in nested mode\n\
                 farfault qemu works here, and is the fastest way: it emulates one guest, not two"
            }
            (Err(_), _) => "farfault run works here, in nested mode, which is the fastest way",
        }
    }
}

impl fmt::Display for Examination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kvm {
            Ok(()) => writeln!(f, "kvm     usable: a probe guest ran on it")?,
            Err(why) => {
                writeln!(f, "kvm     not usable: {}", chain(why))?;
                writeln!(f, "        farfault qemu and nested mode do without, more slowly")?;
            }
        }
        match (&self.image, &self.parts) {
            (Ok(image), Ok(())) => {
                let directory = image.directory.display();
                writeln!(f, "image   {directory}, kernel {}", image.manifest.kernel_release)?;
            }
            (Err(why), _) | (_, Err(why)) => writeln!(f, "image   {}", chain(why))?,
        }
        match &self.qemu {
            Ok((qemu, version)) => writeln!(f, "qemu    {version}, {}", qemu.path.display())?,
            Err(why) => writeln!(f, "qemu    {}", chain(why))?,
        }
        match self.available_mib {
            Some(mib) if mib < WANTED_MIB => {
                writeln!(f, "memory  {mib} MiB available; nested mode wants {WANTED_MIB} MiB")?;
            }
            Some(mib) => writeln!(f, "memory  {mib} MiB available")?,
            None => writeln!(f, "memory  unknown: /proc/meminfo does not say")?,
        }
        writeln!(f, "cpus    {}", self.cpus)?;
        let verdict = "farfault run does not work here yet; see above";
        writeln!(f, "{}", if self.can_run() { self.fastest() } else { verdict })
    }
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn ill() -> Examination {
        Examination {
            kvm: Err(Unusable::Hang),
            image: Err(ImageError::Missing(PathBuf::from("/cache"))),
            parts: Ok(()),
            qemu: Err(QemuError::Missing(RUNS_FIRST_GUESTS)),
            available_mib: Some(1000),
            cpus: 2,
        }
    }

    #[test]
    fn what_is_missing_comes_with_what_to_do() {
        let text = ill().to_string();
        assert!(!ill().can_run());
        for words in [
            "kvm     not usable: KVM's probe guest does not end",
            "image   no guest image in /cache; run guest-image/build",
            "or name one with --qemu",
            "1000 MiB available; nested mode wants",
            "does not work here yet",
        ] {
            assert!(text.contains(words), "{words} not in:\n{text}");
        }
    }

    #[test]
    fn kvm_makes_qemu_needless() {
        let image = Image { directory: "/image".into(), manifest: Default::default() };
        let well = Examination { kvm: Ok(()), image: Ok(image), ..ill() };
        assert!(well.can_run());
        assert!(well.to_string().ends_with("works here, on KVM, which is the fastest way\n"));
        let lost =
            Examination { parts: Err(ImageError::Incomplete("/image/vmlinux".into())), ..well };
        assert!(!lost.can_run());
    }

    #[test]
    fn without_kvm_one_emulated_guest_is_faster_than_two() {
        let image = Image { directory: "/image".into(), manifest: Default::default() };
        let with = |version| Examination {
            image: Ok(image.clone()),
            qemu: Ok((Qemu::at("/qemu"), version)),
            ..ill()
        };
        let text = with(SERVES_DEVICES).to_string();
        assert!(text.contains("farfault qemu works here, and is the fastest way"), "{text}");
        let text = with(RUNS_FIRST_GUESTS).to_string();
        assert!(text.ends_with("in nested mode, which is the fastest way\n"), "{text}");
    }

    #[test]
    fn available_memory_is_read_from_meminfo() {
        assert_eq!(available("MemTotal: 1 kB\nMemAvailable:    2097152 kB\n"), Some(2048));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }
}
