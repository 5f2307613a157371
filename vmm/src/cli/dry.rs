// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What `--dry-run` prints: the machine, or QEMU's command line.

use crate::machine::{Initrd, MachineSpec};
use crate::nested::FirstGuest;
use crate::pmem::Pmem;
use crate::served::Served;
use std::ffi::OsStr;

/// A machine on KVM.
pub fn machine(spec: &MachineSpec) -> String {
    let piece = |piece: &Initrd| match piece {
        Initrd::File(path) => path.display().to_string(),
        Initrd::Bytes(bytes) => format!("{} bytes with what init needs", bytes.len()),
    };
    let initrd: Vec<String> = spec.initrd.iter().map(piece).collect();
    let mut rows = vec![
        ("hosting", "kvm".to_owned()),
        ("kernel", spec.kernel.display().to_string()),
        ("initrd", initrd.join(" + ")),
        ("cmdline", spec.cmdline.clone()),
        ("memory", format!("{} MiB", spec.memory >> 20)),
        ("cpus", spec.vcpus.to_string()),
        ("device", format!("{:?}", spec.device)),
        ("iommu", if spec.iommu { "vt-d" } else { "none" }.to_owned()),
    ];
    rows.extend(spec.passed_through.iter().map(|address| ("vfio", address.to_string())));
    rows.extend(spec.pmem.iter().map(|pmem| ("pmem", described(pmem))));
    rows.iter().map(|(name, value)| format!("{name:<8} {value}\n")).collect()
}

fn described(pmem: &Pmem) -> String {
    format!("{} ({} MiB)", pmem.path().display(), pmem.size() >> 20)
}

/// A first guest, and what runs in it.
pub fn nested(first: &FirstGuest) -> String {
    let inside = first.inner.words().map_or("the command".to_owned(), |words| quoted(&words));
    let qemu = quoted(&first.words());
    let request = first.inner.request.as_deref().unwrap_or("none");
    format!("hosting  nested\nqemu     {qemu}\ninside   {inside}\nrequest  {request}\n")
}

/// A guest on QEMU.
pub fn served(served: &Served) -> String {
    format!("hosting  qemu\nqemu     {}\n", quoted(&served.words()))
}

/// Words as a shell would have to be given them.
pub fn quoted(words: &[impl AsRef<OsStr>]) -> String {
    let quote = |word: &OsStr| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    words.iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted(&["sh", "-c", "echo 'a b'", ""]), r"sh -c 'echo '\''a b'\''' ''");
    }
}
