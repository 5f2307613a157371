// SPDX-License-Identifier: Apache-2.0 OR MIT
//! More memory than the device has, all of it preferred there: how many pages move for each
//! that is accessed, and whether all come on.
//!
//! Each process adds to numbers, so that what is lost on the way shows in the sums.

use crate::plot::Plot;
use crate::table::Table;
use farfault_client::{Advice, Device};
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::counters;
use farfault_guest_programs::memory::{PAGE, Region};
use farfault_guest_programs::random::Random;
use farfault_guest_programs::{Failure, views};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Working sets, in percent of device memory.
const SIZES: [u32; 4] = [50, 100, 150, 400];
/// Times that a stream goes through all.
const ROUNDS: usize = 3;
/// Pages that a stream adds to by one command.
const CHUNK: usize = 256;
/// Pages that are accessed at random.
const ACCESSES: usize = 2000;
const NUMBERS: usize = PAGE / size_of::<f32>();

const COUNTERS: [&str; 3] = ["moved_preferred", "moved_evicted", "moves_refused"];

#[derive(Clone, Copy, PartialEq)]
enum Pattern {
    Stream,
    Random,
}

impl Pattern {
    fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Random => "random",
        }
    }

    /// The pages of a set of `pages`, first and number, that are accessed one after another.
    fn accesses(self, pages: usize, seed: u64) -> Vec<(usize, usize)> {
        match self {
            Self::Stream => (0..ROUNDS)
                .flat_map(|_| (0..pages).step_by(CHUNK))
                .map(|first| (first, CHUNK.min(pages - first)))
                .collect(),
            Self::Random => {
                let mut random = Random::new(seed, &[]);
                (0..ACCESSES).map(|_| (random.below(pages), 1)).collect()
            }
        }
    }
}

pub fn measure(_bytes: usize) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        "pattern",
        "working set, % of device memory",
        "processes",
        "pages accessed",
        "moved there",
        "evicted",
        "refused by mm",
        "moved there per page",
        "slowest when the first is done, %",
    ]);
    let mut lines = Vec::new();
    for (letter, pattern, processes) in [
        ('s', Pattern::Stream, 1),
        ('r', Pattern::Random, 1),
        ('S', Pattern::Stream, 2),
        ('R', Pattern::Random, 2),
    ] {
        let mut points = Vec::new();
        for size in SIZES {
            let Run { accessed, moved, slowest } = run(pattern, size, processes)?;
            let per_page = moved[0] as f64 / accessed as f64;
            let row = [pattern.name().to_owned(), size.to_string(), processes.to_string()];
            let row = row.into_iter().chain([accessed.to_string()]);
            let row = row.chain(moved.map(|pages| pages.to_string()));
            table.row(row.chain([format!("{per_page:.2}"), slowest.to_string()]));
            points.push(100.0 * per_page);
        }
        let name = match (pattern, processes) {
            (Pattern::Stream, 1) => "stream",
            (Pattern::Random, 1) => "random",
            (Pattern::Stream, _) => "two streams",
            (Pattern::Random, _) => "two at random",
        };
        lines.push((letter, name, points));
    }
    Ok(table.with(Plot {
        across: "working set, % of device memory",
        up: "pages moved there per 100 accessed",
        ticks: SIZES.to_vec(),
        series: lines,
    }))
}

struct Run {
    accessed: u64,
    moved: [u64; COUNTERS.len()],
    slowest: u64,
}

/// Has so many processes access a part of a working set each.
fn run(pattern: Pattern, size: u32, processes: usize) -> Result<Run, Failure> {
    let vram = usize::try_from(Device::open()?.info().vram)?;
    if vram == 0 {
        return Err("the device has no memory of its own: --device vram=SIZE".into());
    }
    let pages = vram / PAGE * size as usize / 100 / processes;
    let mut shared = Region::shared_anonymous(PAGE)?;
    let done = Progress(&views::atomics(&mut shared)[..=processes]);
    let accesses: Vec<_> =
        (0..processes).map(|who| pattern.accesses(pages, 7 + who as u64)).collect();
    let each: u64 = accesses[0].iter().map(|(_, count)| *count as u64).sum();
    let go = Signpost::new()?;
    let start = |(who, accesses): (usize, &Vec<_>)| {
        Child::start(|| {
            go.wait()?;
            work(accesses, pages, |some| done.add(who, some, each))
        })
    };
    let children = accesses.iter().enumerate().map(start).collect::<Result<Vec<_>, _>>()?;
    let before = now()?;
    (0..processes).try_for_each(|_| go.reach())?;
    children.into_iter().try_for_each(Child::succeed)?;
    let after = now()?;
    Ok(Run {
        accessed: each * processes as u64,
        moved: std::array::from_fn(|i| after[i] - before[i]),
        slowest: done.slowest(each),
    })
}

/// One process: adds 1 to each number of the pages that it accesses, and judges the sums.
fn work(
    accesses: &[(usize, usize)],
    pages: usize,
    mut done: impl FnMut(usize),
) -> Result<(), Failure> {
    let device = Device::open()?;
    let mut queue = device.queue(16)?;
    let mut sums = Region::small_pages(pages * PAGE)?;
    device.advise(&sums[..], Advice::PreferDevice)?;
    let ones = vec![1.0_f32; CHUNK * NUMBERS];
    let mut expected = vec![0.0_f32; pages];
    for &(first, count) in accesses {
        let numbers = first * NUMBERS..(first + count) * NUMBERS;
        queue.saxpy(1.0, &ones[..count * NUMBERS], &mut views::floats_mut(&mut sums)[numbers])?;
        expected[first..first + count].iter_mut().for_each(|sum| *sum += 1.0);
        done(count);
    }
    let found = views::floats_mut(&mut sums).chunks(NUMBERS);
    for (page, (found, expected)) in found.zip(expected).enumerate() {
        if found.iter().any(|sum| *sum != expected) {
            return Err(format!("page {page}: not {expected} everywhere").into());
        }
    }
    Ok(())
}

fn now() -> Result<[u64; COUNTERS.len()], Failure> {
    let counters = counters::read()?;
    Ok(COUNTERS.map(|name| counters.get(name).copied().unwrap_or(0)))
}

/// How many pages each process has accessed; and behind that, how many the slowest had when the
/// first was done, and one more.
struct Progress<'a>(&'a [AtomicU64]);

impl Progress<'_> {
    /// Process `who` has accessed some more, of `all` that it is going to.
    fn add(&self, who: usize, some: usize, all: u64) {
        let [counts @ .., at_end] = self.0 else { return };
        if counts[who].fetch_add(some as u64, Relaxed) + some as u64 == all {
            let slowest = counts.iter().map(|count| count.load(Relaxed)).min().unwrap_or(0);
            let _ = at_end.compare_exchange(0, slowest + 1, Relaxed, Relaxed);
        }
    }

    /// How far the slowest was then, in percent.
    fn slowest(&self, all: u64) -> u64 {
        self.0.last().map_or(0, |at_end| (at_end.load(Relaxed).max(1) - 1) * 100 / all)
    }
}
