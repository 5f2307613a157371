// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest that was kept and is taken up again: its clock stood still, and whoever else
//! takes up the same state would draw the same random numbers.
// Nothing has a safe interface for the requests of /dev/urandom.
#![allow(unsafe_code)]

use crate::failure::{Doing, Failure};
use rustix::ioctl::{NoArg, Opcode, Setter, ioctl, opcode};
use rustix::time::{ClockId, Timespec, clock_settime};
use serde::Deserialize;
use std::fs::File;
use std::io;

/// What the host tells a guest that goes on.
#[derive(Debug, Deserialize, PartialEq)]
pub struct Wake {
    /// The time, in nanoseconds since 1970.
    pub realtime: u64,
    /// Entropy of the host's, in hexadecimal digits.
    pub seed: String,
}

/// `_IOW('R', 0x03, int [2])` of linux/random.h.
const RNDADDENTROPY: Opcode = opcode::write::<[i32; 2]>(b'R', 3);
/// `_IO('R', 0x07)`.
const RNDRESEEDCRNG: Opcode = opcode::none(b'R', 7);
/// Hexadecimal digits of a seed.
const DIGITS: usize = 64;
const SECOND: u64 = 1_000_000_000;

impl Wake {
    /// Sets the clock and stirs the random number generator.
    pub fn apply(&self) -> Result<(), Failure> {
        clock_settime(ClockId::Realtime, time(self.realtime)).doing("set the clock")?;
        reseed(self.seed.as_bytes()).doing("reseed the random number generator")
    }
}

fn time(nanoseconds: u64) -> Timespec {
    let part = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Timespec { tv_sec: part(nanoseconds / SECOND), tv_nsec: part(nanoseconds % SECOND) }
}

/// `struct rand_pool_info`, with room for a seed.
#[repr(C)]
struct Entropy {
    bits: i32,
    size: i32,
    digits: [u8; DIGITS],
}

/// What is added is only mixed in: what programs are given changes when that is drawn from
/// anew. Where the CPU has no RDRAND, this may be the first entropy there is.
fn reseed(seed: &[u8]) -> io::Result<()> {
    let digits = *seed.first_chunk().ok_or(io::ErrorKind::InvalidData)?;
    let random = File::open("/dev/urandom")?;
    let entropy = Entropy { bits: 4 * DIGITS as i32, size: DIGITS as i32, digits };
    // SAFETY: the request reads a rand_pool_info and as many bytes behind it as that says.
    let add = unsafe { Setter::<RNDADDENTROPY, Entropy>::new(entropy) };
    // SAFETY: as above; the file is the device that has this request.
    unsafe { ioctl(&random, add) }?;
    // SAFETY: the request takes no argument and touches no memory of ours.
    let request = unsafe { NoArg::<RNDRESEEDCRNG>::new() };
    // SAFETY: as above; the file is the device that has this request.
    Ok(unsafe { ioctl(&random, request) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_seconds_and_nanoseconds() {
        let time = time(1_764_000_000_000_000_007);
        assert_eq!((time.tv_sec, time.tv_nsec), (1_764_000_000, 7));
    }

    #[test]
    fn requests_are_those_of_the_kernel() {
        assert_eq!((RNDADDENTROPY, RNDRESEEDCRNG), (0x4008_5203, 0x5207));
        assert_eq!(std::mem::offset_of!(Entropy, digits), 8);
        assert!(reseed(b"short").is_err());
    }
}
