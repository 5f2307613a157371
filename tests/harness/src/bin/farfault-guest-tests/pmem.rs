// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Persistent memory persists, with ext4 and xfs: three boots of the same two files.
//! The first ends by a reset of the machine right after msync, with nothing
//! unmounted, the second by a SIGKILL of the VMM, the third in good order.

use farfault_tests::check::{
    Check, SWITCHED_OFF, clean_log, ensure, exit_code, found, number, says, succeeded,
};
use farfault_tests::run::{Farfault, Finished, LOADS_XFS, Step, host_file, script_of};
use farfault_tests::unit::{PERSISTENT_MEMORY, Unit};
use std::fs::File;
use std::path::Path;
use tempfile::NamedTempFile;

/// A file system on persistent memory.
struct FileSystem {
    name: &'static str,
    mib: u64,
    disk: &'static str,
    /// What the kernel says when it mounts one that was not unmounted.
    recovered: &'static str,
}

/// xfs wants 300 MiB at least.
const FILE_SYSTEMS: [FileSystem; 2] = [
    FileSystem {
        name: "ext4",
        mib: 98,
        disk: "/dev/pmem0",
        recovered: "EXT4-fs (pmem0): recovery complete",
    },
    FileSystem {
        name: "xfs",
        mib: 352,
        disk: "/dev/pmem1",
        recovered: "XFS (pmem1): Ending recovery",
    },
];

/// A reset without a sync or an unmount before it.
const RESET: &str = "echo b >/proc/sysrq-trigger; sleep 10000";

pub fn units() -> Vec<Unit> {
    vec![Unit::new("pmem", run).of_content().wants(Some(PERSISTENT_MEMORY))]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let files = [host_file()?, host_file()?];
    let as_they_are: Vec<String> = files.iter().map(pmem).collect();
    let sized: Vec<String> = as_they_are
        .iter()
        .zip(&FILE_SYSTEMS)
        .map(|(option, system)| format!("{option},size={}M", system.mib))
        .collect();

    let script = self::script(&["make", "mount", "write 1", "log", "reset"]);
    let reset = farfault.script(&options(&sized), &script)?;
    let mut checks = first_boot(&reset, &files);

    let script = self::script(&["mount", "check 1", "write 2", "log", "synced"]);
    let killed = farfault.killed_at(&options(&as_they_are), &script, "@@ begin synced")?;
    checks.extend(later_boot("reset", &killed, &["check 1", "write 2"]));
    for file in &files {
        await_release(file.path())?;
    }

    let script = self::script(&["mount", "check 1", "check 2", "unmount", "log"]);
    let last = farfault.script(&options(&as_they_are), &script)?;
    checks.extend(later_boot("kill", &last, &["check 1", "check 2", "unmount"]));
    checks.push(Check::new("exit code", exit_code(&last, 0)));
    Ok(checks)
}

fn pmem(file: &NamedTempFile) -> String {
    format!("--pmem={}", file.path().display())
}

fn options(pmem: &[String]) -> Vec<String> {
    let fixed = ["--memory=512M", "--timeout=300", LOADS_XFS].map(str::to_owned);
    fixed.into_iter().chain(pmem.iter().cloned()).collect()
}

/// What is done in a boot, in words: each for both file systems, but for those of the machine.
fn script(words: &[&str]) -> String {
    let mut steps = Vec::new();
    for word in words {
        let machine = match *word {
            "log" => Some("dmesg"),
            "reset" => Some(RESET),
            "synced" => Some("sleep 10000"),
            _ => None,
        };
        match machine {
            Some(command) => steps.push(Step::new(*word, command)),
            None => steps.extend(FILE_SYSTEMS.iter().map(|system| system.step(word))),
        }
    }
    script_of(&steps, "")
}

impl FileSystem {
    fn step(&self, word: &str) -> Step {
        let Self { name, disk, .. } = self;
        let command = match word.split_once(' ') {
            Some(("write", seed)) => format!("persist /{name}/file-{seed} --seed {seed}"),
            Some((_, seed)) => format!("persist --check /{name}/file-{seed} --seed {seed}"),
            None if word == "make" => format!("prepare make {name}-dax {disk}"),
            None if word == "mount" => format!("prepare mount {name}-dax {disk} /{name}"),
            None => format!("umount /{name}"),
        };
        Step::new(self.step_name(word), command)
    }

    fn step_name(&self, word: &str) -> String {
        format!("{}-{}", self.name, word.replace(' ', "-"))
    }
}

/// A killed VMM's QEMU dies a moment later; until then the file is locked.
fn await_release(path: &Path) -> Result<(), String> {
    let file = File::open(path).and_then(|file| file.lock());
    file.map_err(|error| format!("{}: {error}", path.display()))
}

/// The machine was reset while both file systems were in use.
fn first_boot(reset: &Finished, files: &[NamedTempFile]) -> Vec<Check> {
    let mut checks = Vec::new();
    for (system, file) in FILE_SYSTEMS.iter().zip(files) {
        let mut check = |what: &str, result| {
            checks.push(Check::new(format!("{}: {what}", system.name), result));
        };
        let done = |word| succeeded(reset, &system.step_name(word));
        check("is made", done("make"));
        check("is mounted with DAX", done("mount"));
        check("CPU and device write with MAP_SYNC", done("write 1"));
        check("the device maps it by 2 MiB", large_leaves(reset, system));
        check("the host's file has the size asked for", size(file, system.mib << 20));
    }
    checks.push(Check::new("the first log is clean", clean_log(reset, "log")));
    checks.push(Check::new("the machine is reset", exit_code(reset, SWITCHED_OFF)));
    checks
}

/// A boot after one that ended by an `end` that left file systems as they were.
fn later_boot(end: &str, boot: &Finished, words: &[&str]) -> Vec<Check> {
    let mut checks = Vec::new();
    for system in &FILE_SYSTEMS {
        for word in ["mount"].iter().chain(words) {
            let name = format!("{}: after the {end}: {word}", system.name);
            checks.push(Check::new(name, succeeded(boot, &system.step_name(word))));
        }
        let name = format!("{}: after the {end}: the journal was needed", system.name);
        // Which shows that nothing had been unmounted.
        checks.push(Check::new(name, says(boot, "log", system.recovered)));
    }
    checks.push(Check::new(format!("the log after the {end} is clean"), clean_log(boot, "log")));
    checks
}

fn size(file: &NamedTempFile, wanted: u64) -> Result<(), String> {
    let length = file.path().metadata().map_err(|error| error.to_string())?.len();
    ensure(length == wanted, || format!("the file has {length} bytes, not {wanted}"))
}

fn large_leaves(boot: &Finished, system: &FileSystem) -> Result<(), String> {
    let output = found(boot, &system.step_name("write 1"))?.output;
    let leaves = number(&output, "leaves_2m");
    ensure(leaves.is_some_and(|leaves| leaves > 0), || format!("no large leaf in: {output}"))
}
