// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `first-touch`: the device is the first to write to fresh memory, so that every page
//! of it is a far fault or part of a batch; the CPU checks what it finds.

use farfault_client::Device;
use farfault_workloads::memory::{self, Region};
use farfault_workloads::options::within;
use farfault_workloads::program::{Program, Summary};
use farfault_workloads::{Failure, marks, views};
use std::process::ExitCode;

const PROGRAM: Program = Program {
    name: "first-touch",
    usage: "[--mib M] [--page small|huge|shared] [--mark]",
    about: "Has the device fill M MiB (default 64) of memory that nobody has touched.\n\
            --page shared takes memory that children would share.\n\
            --mark sets the marks `before` and `after` around the device's work.",
};

/// No byte of it is zero or like another.
const PATTERN: u64 = 0x1122_3344_5566_7788;

/// Of what the memory is made.
#[derive(Clone, Copy, Debug)]
enum Page {
    Small,
    Huge,
    Shared,
}

struct Work {
    bytes: usize,
    page: Page,
    mark: bool,
}

fn main() -> ExitCode {
    PROGRAM.run(
        |options| {
            let mib: usize = options.option("--mib", 64)?;
            let page: String = options.option("--page", "small".to_owned())?;
            let page = match page.as_str() {
                "small" => Page::Small,
                "huge" => Page::Huge,
                "shared" => Page::Shared,
                other => return Err(format!("--page '{other}': say small, huge or shared").into()),
            };
            let bytes = within("--mib", mib, 1..=1 << 20)? << 20;
            Ok(Work { bytes, page, mark: options.switch("--mark") })
        },
        |work| run(&work),
    )
}

fn run(work: &Work) -> Result<Summary, Failure> {
    let mut region = match work.page {
        Page::Small => Region::small_pages(work.bytes)?,
        Page::Shared => Region::shared_anonymous(work.bytes)?,
        Page::Huge => {
            memory::allow_huge_pages()?;
            Region::huge_pages(work.bytes)?
        }
    };
    let mut queue = Device::open()?.queue(16)?;
    queue.nop()?; // the ring's own faults belong to no one's count

    if work.mark {
        marks::mark("before")?;
    }
    queue.fill(views::words_mut(&mut region), PATTERN)?;
    if work.mark {
        marks::mark("after")?;
    }

    let words = views::words(&region);
    let verified = words.iter().all(|&word| word == PATTERN);
    Ok(Summary::new(verified)
        .with("elements", words.len())
        .with("bytes", region.len())
        .with("page", format!("{:?}", work.page).to_lowercase()))
}
