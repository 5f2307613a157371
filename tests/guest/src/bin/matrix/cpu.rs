// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory as the CPU sees it.

use crate::calls::{self, Pipe};
use crate::model::{Sample, Subject};
use farfault_guest_programs::pagemap::Pagemap;
use farfault_guest_programs::{Failure, memory};
use nix::Result as Called;

/// Loads and stores of one process.
pub struct Cpu {
    pipe: Pipe,
}

impl Cpu {
    pub fn new() -> Result<Self, Failure> {
        Ok(Self { pipe: Pipe::new()? })
    }

    pub fn load(&self, address: u64) -> Called<u64> {
        calls::load(&self.pipe, address).map(u64::from_le_bytes)
    }

    pub fn page(&self, address: u64) -> Called<[u8; memory::PAGE]> {
        calls::load(&self.pipe, address)
    }

    pub fn store(&self, address: u64, value: u64) -> Called<()> {
        calls::store(&self.pipe, address, &value.to_le_bytes())
    }

    /// Several words, one after another.
    pub fn store_all(&self, address: u64, words: &[u64]) -> Called<()> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        calls::store(&self.pipe, address, &bytes)
    }
}

/// The frames behind the samples, 0 where there is none.
pub fn frames(subject: &Subject) -> Result<Vec<u64>, Failure> {
    let pagemap = Pagemap::own()?;
    let frame = |sample: &Sample| {
        let entry = pagemap.entry(sample.at)?;
        Ok(if entry.is_present() { entry.frame() } else { 0 })
    };
    subject.samples.iter().map(frame).collect()
}
