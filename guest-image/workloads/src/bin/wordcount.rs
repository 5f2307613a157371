// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `wordcount FILE`: the device counts words and bytes of a mapped file that
//! the CPU has not touched, and the CPU counts again.

use farfault_client::Device;
use farfault_workloads::memory::{Access, Region, Sharing};
use farfault_workloads::program::{Program, Summary};
use farfault_workloads::{Failure, reference};
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

const PROGRAM: Program = Program {
    name: "wordcount",
    usage: "[--shared] FILE",
    about: "Has the device count words and byte values of a file mapped with mmap.",
};

fn main() -> ExitCode {
    PROGRAM.run(
        |options| {
            let sharing =
                if options.switch("--shared") { Sharing::Shared } else { Sharing::Private };
            let path: PathBuf = options.operand("FILE")?.ok_or("FILE is missing")?;
            Ok((sharing, path))
        },
        |(sharing, path)| work(sharing, &path),
    )
}

fn work(sharing: Sharing, path: &PathBuf) -> Result<Summary, Failure> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| told(&error))?;
    let length = usize::try_from(file.metadata().map_err(|error| told(&error))?.len())?;
    if length == 0 {
        return Err(told(&"is empty, and an empty file cannot be mapped").into());
    }
    let text = Region::of_file(&file, length, sharing, Access::Read).map_err(|e| told(&e))?;

    let mut queue = Device::open()?.queue(16)?;
    let mut counts = [0; 256];
    let words = queue.scope(|s| {
        let words = s.word_count(&text)?;
        let histogram = s.histogram(&text, &mut counts)?;
        histogram.wait()?;
        words.wait()
    })?;

    let verified = words == reference::word_count(&text) && counts == reference::histogram(&text);
    Ok(Summary::new(verified).with("words", words).with("bytes", length))
}
