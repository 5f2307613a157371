// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `migrate`: memory goes to the device's own and comes back, and the device works on it there.
//! What that costs is told beside a copy by the CPU.

use farfault_client::{Device, Memory};
use farfault_workloads::memory::{self, PAGE, Region};
use farfault_workloads::options::within;
use farfault_workloads::program::{Program, Summary};
use farfault_workloads::{Failure, views};
use std::process::ExitCode;
use std::time::Instant;

const PROGRAM: Program = Program {
    name: "migrate",
    usage: "[--mib M] [--page small|huge] [--rounds N]",
    about: "Moves M MiB (default 64) to device memory and back N times (default 3); the device adds\n\
            to it there. Prints the pages moved each way, and the shortest time for it against that\n\
            of a copy by the CPU. The device must have as much memory (--device vram=SIZE).",
};

struct Work {
    bytes: usize,
    huge: bool,
    rounds: u32,
}

fn main() -> ExitCode {
    PROGRAM.run(
        |options| {
            let mib: usize = options.option("--mib", 64)?;
            let page: String = options.option("--page", "small".to_owned())?;
            let huge = match page.as_str() {
                "small" => false,
                "huge" => true,
                other => return Err(format!("--page '{other}': say small or huge").into()),
            };
            let bytes = within("--mib", mib, 1..=1 << 16)? << 20;
            let rounds = within("--rounds", options.option("--rounds", 3)?, 1..=1000)?;
            Ok(Work { bytes, huge, rounds })
        },
        |work| run(&work),
    )
}

/// What moved and how long it took, one way.
#[derive(Default)]
struct Way {
    pages: u64,
    shortest: Option<f64>,
}

impl Way {
    fn go(&mut self, device: &Device, region: &Region, to: Memory) -> Result<(), Failure> {
        let start = Instant::now();
        self.pages += device.migrate(&region[..], to)?;
        shorten(&mut self.shortest, start);
        Ok(())
    }
}

fn shorten(shortest: &mut Option<f64>, start: Instant) {
    let time = start.elapsed().as_secs_f64();
    *shortest = Some(shortest.map_or(time, |before| before.min(time)));
}

fn fresh(work: &Work) -> Result<Region, Failure> {
    Ok(match work.huge {
        true => Region::huge_pages(work.bytes)?,
        false => Region::small_pages(work.bytes)?,
    })
}

fn run(work: &Work) -> Result<Summary, Failure> {
    if work.huge {
        memory::allow_huge_pages()?;
    }
    let device = Device::open()?;
    let (room, needed) = (device.info().vram, work.bytes as u64);
    if room < needed {
        return Err(format!(
            "the device has {} MiB of memory, not {}: --device vram=SIZE",
            room >> 20,
            needed >> 20
        )
        .into());
    }
    let mut queue = device.queue(16)?;
    let (mut sums, mut copy) = (fresh(work)?, fresh(work)?);
    let ones = vec![1.0_f32; work.bytes / size_of::<f32>()];
    views::floats_mut(&mut sums).fill(0.0);
    let (mut out, mut back, mut by_cpu) = (Way::default(), Way::default(), None);
    for _ in 0..work.rounds {
        out.go(&device, &sums, Memory::Device)?;
        queue.saxpy(1.0, &ones, views::floats_mut(&mut sums))?;
        back.go(&device, &sums, Memory::System)?;
        let start = Instant::now();
        copy.copy_from_slice(&sums);
        shorten(&mut by_cpu, start);
    }
    let sum = work.rounds as f32;
    let verified = views::floats(&copy).iter().all(|&found| found == sum);
    let times = |way: &Way| match (way.shortest, by_cpu) {
        (Some(moved), Some(copied)) => format!("{:.1}", moved / copied),
        _ => "-".to_owned(),
    };
    let all = work.bytes / PAGE * work.rounds as usize;
    Ok(Summary::new(verified && out.pages > 0)
        .with("elements", ones.len())
        .with("pages", all)
        .with("out", out.pages)
        .with("back", back.pages)
        .with("out_time", times(&out))
        .with("back_time", times(&back)))
}
