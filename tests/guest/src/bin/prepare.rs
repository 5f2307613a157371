// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `prepare`: gives a guest what tests want, before they run.

use farfault_guest_programs::program::{BAD_USAGE, FAILED};
use farfault_guest_programs::setup::{self, FileSystem};
use std::process::ExitCode;

const USAGE: &str = "\
usage: prepare swap                     swap in compressed memory
       prepare disks                    /dev/ram0 and /dev/ram1
       prepare make KIND DISK           an empty file system
       prepare mount KIND DISK FOLDER   one that is there
       prepare KIND DISK FOLDER         both
KIND: ext4, ext4-small, ext4-dax, xfs, xfs-dax, tmpfs";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["swap"] => setup::swap(),
        ["disks"] => setup::ram_disks(),
        ["make", kind, disk] => FileSystem::named(kind).and_then(|kind| kind.make(disk)),
        ["mount", kind, disk, folder] => {
            FileSystem::named(kind).and_then(|kind| kind.mount(disk, folder))
        }
        [kind, disk, folder] => FileSystem::named(kind)
            .and_then(|kind| kind.make(disk).and_then(|()| kind.mount(disk, folder))),
        ["--help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(BAD_USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("prepare: {why}");
            ExitCode::from(FAILED)
        }
    }
}
