// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Persistent memory persists: three boots of one file, the first of which ends
//! in good order and the second by a SIGKILL of the VMM after msync.

use crate::check::{Check, clean_log, ensure, exit_code, found, succeeded};
use farfault_tests::run::{Farfault, Finished, Step, script_of};
use std::fs::File;
use std::path::{Path, PathBuf};

const SIZE: u64 = 98 << 20;

const MAKE: &str = "mkfs.ext4 -q -b 4096 -E stride=512,stripe_width=512 /dev/pmem0";
const MOUNT: &str = "mkdir -p /pmem && mount -t ext4 -o dax=always /dev/pmem0 /pmem";

/// A file of the host that goes away with its test.
pub struct HostFile(PathBuf);

impl HostFile {
    /// A name for it; it is made by whoever needs it.
    pub fn new(name: &str) -> HostFile {
        let path = std::env::temp_dir().join(format!("farfault-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        HostFile(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub fn run(farfault: &Farfault) -> Vec<Check> {
    let file = HostFile::new("pmem");
    match boots(farfault, &file) {
        Ok(checks) => checks,
        Err(why) => vec![Check::new("start", Err(why))],
    }
}

fn boots(farfault: &Farfault, file: &HostFile) -> Result<Vec<Check>, String> {
    let path = file.path();
    let sized = format!("--pmem={},size={}K", path.display(), SIZE >> 10);
    let as_it_is = format!("--pmem={}", path.display());
    let boot = |pmem: &str, steps: &[(&str, String)]| {
        let steps: Vec<Step> = steps
            .iter()
            .map(|(name, command)| Step { name: (*name).to_owned(), command: command.clone() })
            .collect();
        (options(pmem), script_of(&steps, ""))
    };
    let (write, check) = ("persist /pmem/", "persist --check /pmem/");
    let (options, script) = boot(
        &sized,
        &[
            ("make", MAKE.to_owned()),
            ("mount", MOUNT.to_owned()),
            ("write", format!("{write}first --seed 1")),
            ("unmount", "umount /pmem".to_owned()),
        ],
    );
    let first = farfault.script(&options, &script)?;
    let length = path.metadata().map_err(|error| error.to_string())?.len();

    let (options, script) = boot(
        &as_it_is,
        &[
            ("mount", MOUNT.to_owned()),
            ("first", format!("{check}first --seed 1")),
            ("write", format!("{write}second --seed 2")),
            ("log", "dmesg".to_owned()),
            ("synced", String::from("sleep 10000")),
        ],
    );
    let killed = farfault.killed_at(&options, &script, "@@ begin synced")?;
    await_release(path)?;

    let (options, script) = boot(
        &as_it_is,
        &[
            ("mount", MOUNT.to_owned()),
            ("first", format!("{check}first --seed 1")),
            ("second", format!("{check}second --seed 2")),
            ("log", "dmesg".to_owned()),
        ],
    );
    let last = farfault.script(&options, &script)?;
    Ok(checks(&first, length, &killed, &last))
}

fn options(pmem: &str) -> Vec<String> {
    ["--memory=512M", "--timeout=180", pmem].map(str::to_owned).to_vec()
}

/// A killed VMM's QEMU dies a moment later; until then the file is locked.
fn await_release(path: &Path) -> Result<(), String> {
    let file = File::open(path).and_then(|file| file.lock());
    file.map_err(|error| format!("{}: {error}", path.display()))
}

/// The file system was made so that a huge page of the file is one of the memory.
fn large_leaves(first: &Finished) -> Result<(), String> {
    let output = found(first, "write")?.output;
    let pair = output.split_whitespace().find_map(|word| word.strip_prefix("leaves_2m="));
    let leaves = pair.and_then(|count| count.parse::<u64>().ok());
    ensure(leaves.is_some_and(|leaves| leaves > 0), || format!("no large leaf in: {output}"))
}

fn checks(first: &Finished, length: u64, killed: &Finished, last: &Finished) -> Vec<Check> {
    let size = ensure(length == SIZE, || format!("the file has {length} bytes, not {SIZE}"));
    vec![
        Check::new("a file system is made", succeeded(first, "make")),
        Check::new("it is mounted with DAX", succeeded(first, "mount")),
        Check::new("CPU and device write with MAP_SYNC", succeeded(first, "write")),
        Check::new("the device maps it by 2 MiB", large_leaves(first)),
        Check::new("it is unmounted", succeeded(first, "unmount")),
        Check::new("exit code", exit_code(first, 0)),
        Check::new("the host's file has the size asked for", size),
        Check::new("a second boot finds it", succeeded(killed, "first")),
        Check::new("the second boot writes", succeeded(killed, "write")),
        Check::new("the second boot's log is clean", clean_log(killed, "log")),
        Check::new("a boot after the VMM was killed mounts it", succeeded(last, "mount")),
        Check::new("what was there stays there", succeeded(last, "first")),
        Check::new("what was synced before the kill is there", succeeded(last, "second")),
        Check::new("the last boot's log is clean", clean_log(last, "log")),
    ]
}
