// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Has KSM merge all pages of a subject into one.

use crate::cpu::Cpu;
use crate::model::{LINK, Mapped, Subject, stamp};
use farfault_guest_programs::Failure;
use farfault_guest_programs::kernel_files::{number, write};
use farfault_guest_programs::ktap::expect;
use farfault_guest_programs::pagemap::Pagemap;

const KSM: &str = "/sys/kernel/mm/ksm";

/// Gives all samples the same content.
pub fn equalise(cpu: &Cpu, subject: &mut Subject) -> Result<(), Failure> {
    let word = stamp(1, 0);
    for sample in subject.samples.iter_mut().filter(|sample| sample.is_there()) {
        cpu.store_all(sample.at + LINK, &[0, word, 0])?;
        sample.written(word);
    }
    Ok(())
}

/// Returns when all of it is merged. KSM scans a page twice before, so it has to
/// come round.
pub fn merge(subject: &mut Subject) -> Result<(), Failure> {
    for (file, word) in [("pages_to_scan", "100000"), ("sleep_millisecs", "0"), ("run", "1")] {
        write(&format!("{KSM}/{file}"), word)?;
    }
    let scans = || number(&format!("{KSM}/full_scans"));
    let start = scans()?;
    while !is_merged(subject)? && scans()? < start + 10 {
        std::thread::yield_now();
    }
    write(&format!("{KSM}/run"), "0")?;
    subject.whole = false;
    subject.mapped(Mapped::No);
    subject.reading_maps(Mapped::No);
    expect("all samples share a frame", is_merged(subject)?)
}

fn is_merged(subject: &Subject) -> Result<bool, Failure> {
    let pagemap = Pagemap::own()?;
    let there = subject.samples.iter().filter(|sample| sample.is_there());
    let frames = there.map(|sample| Ok(pagemap.entry(sample.at)?.frame()));
    let frames = frames.collect::<Result<Vec<_>, Failure>>()?;
    // Those that are swapped out have none.
    Ok(frames.iter().all(|frame| *frame != 0 && *frame == frames[0]))
}
