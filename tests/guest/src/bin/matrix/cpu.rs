// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory as the CPU sees it.
#![allow(unsafe_code, reason = "loads and stores on bare addresses")]

use crate::model::Subject;
use farfault_guest_programs::pagemap::Pagemap;
use farfault_guest_programs::{Failure, memory};
use nix::Result as Called;
use nix::errno::Errno;
use nix::libc;
use nix::unistd::{read, write};
use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::AsRawFd;
use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

/// Loads and stores of one process: by the kernel, through a pipe, so that they answer EFAULT
/// where direct ones would be a signal.
pub struct Cpu {
    out: PipeReader,
    into: PipeWriter,
}

impl Cpu {
    pub fn new() -> Result<Self, Failure> {
        let (out, into) = pipe()?;
        Ok(Self { out, into })
    }

    pub fn load(&self, address: u64) -> Called<u64> {
        self.load_bytes(address).map(u64::from_le_bytes)
    }

    pub fn page(&self, address: u64) -> Called<[u8; memory::PAGE]> {
        self.load_bytes(address)
    }

    fn load_bytes<const N: usize>(&self, address: u64) -> Called<[u8; N]> {
        let from = with_exposed_provenance(address as usize);
        // SAFETY: the kernel checks the address.
        let moved = Errno::result(unsafe { libc::write(self.into.as_raw_fd(), from, N) })?;
        let mut bytes = [0; N];
        let got = read(&self.out, &mut bytes)?;
        if moved as usize == N && got == N { Ok(bytes) } else { Err(Errno::EFAULT) }
    }

    pub fn store(&self, address: u64, value: u64) -> Called<()> {
        self.store_all(address, &[value])
    }

    /// Several words, one after another.
    pub fn store_all(&self, address: u64, words: &[u64]) -> Called<()> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let to = with_exposed_provenance_mut(address as usize);
        write(&self.into, &bytes)?;
        // SAFETY: the kernel checks the address, and no reference leads there.
        let stored = Errno::result(unsafe { libc::read(self.out.as_raw_fd(), to, bytes.len()) });
        if stored.is_err() {
            // What is left in the pipe must not be taken for the next.
            read(&self.out, &mut bytes)?;
        }
        stored.map(drop)
    }
}

/// The frames behind the samples, 0 where there is none.
pub fn frames(subject: &Subject) -> Result<Vec<u64>, Failure> {
    let pagemap = Pagemap::own()?;
    subject.samples.iter().map(|sample| Ok(pagemap.entry(sample.at)?.frame())).collect()
}
