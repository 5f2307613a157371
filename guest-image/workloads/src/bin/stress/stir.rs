// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What happens to memory while the device is at work on it: pages move, are
//! shared with a child, and are copied because the CPU writes beside the device.
#![allow(unsafe_code, reason = "looks at memory that the device may write to")]

use crate::buffer::Kind;
use crate::margins::Margins;
use farfault_workloads::Failure;
use farfault_workloads::children::{Child, exit_now};
use farfault_workloads::memory::{Gentle, Place};
use farfault_workloads::random::Random;

/// How often the CPU writes beside the device.
const SCRIBBLES: u32 = 16;
/// Exit code of a child whose memory did not keep still.
const MOVED: i32 = 3;

/// Does one of these things, and has the CPU write; says whether the kernel did it.
pub fn stir(
    places: &[(Place, Kind)],
    margins: &mut [Margins<'_>],
    random: &mut Random,
    forks: bool,
) -> Result<bool, Failure> {
    let done = match random.below(6) {
        0 => advise(places, Gentle::Cold, random),
        1 => advise(places, Gentle::PageOut, random),
        2 => advise(places, Gentle::Collapse, random),
        // Has the kernel move pages together, whosever they are, if it will.
        3 => std::fs::write("/proc/sys/vm/compact_memory", "1").is_ok(),
        _ if forks => {
            fork(places)?;
            true
        }
        _ => false,
    };
    for _ in 0..SCRIBBLES {
        margins.iter_mut().for_each(|margin| margin.scribble(random));
    }
    Ok(done)
}

fn advise(places: &[(Place, Kind)], advice: Gentle, random: &mut Random) -> bool {
    let (place, _) = places[random.below(places.len())];
    place.advise(advice)
}

/// Shares all pages with a child. What it has to itself must not change any
/// more, although the device goes on for its parent.
fn fork(places: &[(Place, Kind)]) -> Result<(), Failure> {
    let private = || places.iter().filter(|(_, kind)| kind.is_private());
    let samples = || {
        // SAFETY: buffers in use, mapped for reading and writing.
        private().fold(0, |sum: u64, (place, _)| sum ^ unsafe { place.samples() })
    };
    let child = Child::start(|| {
        let before = samples();
        for _ in 0..8 {
            std::thread::yield_now();
            if samples() != before {
                exit_now(MOVED);
            }
        }
        Ok(())
    })?;
    match child.wait()? {
        0 => Ok(()),
        _ => Err("a child saw its memory change after the fork".into()),
    }
}
