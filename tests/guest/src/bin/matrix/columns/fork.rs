// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Columns in which the process forks, and then one of the three writes.

use crate::cell::Cell;
use crate::column::Column;
use crate::cpu::{Cpu, frames};
use crate::model::{Access, GIGANTIC, Holds, Mapped, PAGE, STAMP, Sample};
use farfault_guest_programs::Failure;
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::ktap::{Outcome, expect_equal};
use std::io::{Read, Write, pipe};

pub const COLUMNS: &[Column] = &[
    Column::new("fork-parent-writes", "fork, then the parent's CPU writes", |cell| {
        fork(cell, |cell| cell.cpu_writes())
    }),
    Column::new("fork-child-writes", "fork, then the child's CPU writes", child_writes),
    Column::new("fork-device-writes", "fork, then the parent's device writes", |cell| {
        fork(cell, |cell| cell.device_writes("write by the device after the fork"))
    }),
];

/// How many children may be without a page of 1 GiB.
const FORKS: usize = 30;

/// Forks a child that does `body`. Linux 7.2 may leave a page of 1 GiB out of it, if the
/// frame of the child's table is one of some (guest-driver/kernel-bugs.md): such a child
/// is put aside, with its table, and another one forked.
fn fork_off(cell: &Cell<'_>, body: impl Fn() -> Outcome) -> Result<Child, Failure> {
    if cell.subject.leaf < GIGANTIC {
        return Child::start(body);
    }
    let mut without = Vec::new();
    while without.len() < FORKS {
        let (mut told, tell) = pipe()?;
        let child = Child::start(|| {
            let whole = !frames(&cell.subject)?.contains(&0);
            (&tell).write_all(&[u8::from(whole)])?;
            if whole { body() } else { wait_for_ever() }
        })?;
        drop(tell);
        let mut whole = [0];
        told.read_exact(&mut whole)?;
        if whole == [1] {
            if !without.is_empty() {
                println!("# bug of the kernel: children without the page: {}", without.len());
            }
            return Ok(child);
        }
        without.push(child);
    }
    Err(format!("each of {FORKS} children was without the page").into())
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// Words of the samples as `cpu` sees them, in this process.
fn words(cpu: &Cpu, addresses: &[u64]) -> Vec<Option<u64>> {
    addresses.iter().map(|&address| cpu.load(address).ok()).collect()
}

/// Of what can be read: where it is, what it holds, and what the parent will
/// have written to it next.
fn there(cell: &Cell<'_>) -> Vec<(u64, u64, u64)> {
    let samples = cell.subject.samples.iter().zip(cell.peek_words());
    let told = samples.filter_map(|(sample, next)| match sample.holds {
        Holds::Word(word) | Holds::Lapsing(word) => {
            Some((sample.at + STAMP, word, if sample.writable { next } else { word }))
        }
        Holds::Nothing => None,
    });
    told.collect()
}

/// A fork write-protects private pages, in the device's table as well. Shared
/// memory is left as it is, and so is private memory that nobody has written to.
fn forked(cell: &mut Cell<'_>) {
    let untouched = |sample: &Sample| sample.holds == Holds::Word(sample.original);
    let reading = cell.row.touch == Access::Read;
    if cell.row.shared || (reading && cell.subject.samples.iter().all(untouched)) {
        return;
    }
    cell.subject.whole &= cell.subject.leaf == PAGE;
    for sample in cell.subject.samples.iter_mut().filter(|sample| sample.is_there()) {
        sample.mapped(Mapped::No);
        sample.read_maps = Mapped::Maybe;
    }
}

/// The parent changes what it has by `write`; the child sees it if it is shared.
fn fork(cell: &mut Cell<'_>, write: fn(&mut Cell<'_>) -> Outcome) -> Outcome {
    cell.map()?;
    let commands = cell.start_commands()?;
    let there: Vec<(u64, u64, u64)> = there(cell);
    let addresses: Vec<u64> = there.iter().map(|(address, ..)| *address).collect();
    let expected =
        there.iter().map(|(_, before, after)| Some(if cell.row.shared { *after } else { *before }));
    let (expected, written): (Vec<_>, _) = (expected.collect(), Signpost::new()?);
    let child = fork_off(cell, || {
        written.wait()?;
        let seen = words(&Cpu::new()?, &addresses);
        expect_equal("words as the child sees them", &seen, &expected)
    })?;
    forked(cell);
    let result =
        write(cell).and_then(|()| commands.map_or(Ok(()), |commands| cell.end_commands(&commands)));
    written.reach()?;
    child.succeed()?;
    result?;
    cell.verify()
}

fn child_writes(cell: &mut Cell<'_>) -> Outcome {
    cell.map()?;
    let commands = cell.start_commands()?;
    let addresses = cell.subject.addresses(STAMP);
    let words = cell.next_words();
    let alone = cell.subject.cpu_alone;
    let writable: Vec<bool> =
        cell.subject.samples.iter().map(|s| s.is_there() && s.writable).collect();
    let child = fork_off(cell, || {
        let cpu = Cpu::new()?;
        for ((address, word), writable) in addresses.iter().zip(&words).zip(&writable) {
            if alone && !writable {
                continue;
            }
            let stored = cpu.store(*address, *word).is_ok();
            expect_equal("whether the child can write", &stored, writable)?;
        }
        Ok(())
    })?;
    child.succeed()?;
    forked(cell);
    if cell.row.shared {
        for (sample, word) in cell.subject.samples.iter_mut().zip(words) {
            if sample.is_there() && sample.writable {
                sample.holds = Holds::Word(word);
            }
        }
    }
    cell.look_at_all(commands)
}
