// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Another process writes to the pages, by process_vm_writev.
#![allow(unsafe_code, reason = "process_vm_writev to raw addresses of another process")]

use crate::kind::{Kind, Set};
use crate::layout::{STAMPS, WORDS};
use crate::stage::{Change, Stage};
use farfault_guest_programs::Failure;
use farfault_guest_programs::children::Child;
use farfault_guest_programs::ktap::Outcome;
use farfault_guest_programs::memory::PAGE;
use nix::errno::Errno;
use nix::libc::{self, c_void, iovec};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::ptr::with_exposed_provenance_mut;

pub const KINDS: &[Kind] = &[Kind::new("remote_write", write)];

fn write(salt: u64) -> Result<Set, Failure> {
    let ((orders, order), (answer, answers)) = (pipe()?, pipe()?);
    let writer = std::process::id() as libc::pid_t;
    let child = Child::start(|| serve(writer, &orders, &answers))?;
    Set::small(salt, Remote { order, answer, _child: child })
}

/// In the other process: writes a page of stamps for each order, an address and a stamp.
fn serve(of: libc::pid_t, mut orders: &PipeReader, mut answers: &PipeWriter) -> Outcome {
    let mut order = [0; 16];
    loop {
        orders.read_exact(&mut order)?;
        let [address, stamp] =
            [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|byte| order[at + byte])));
        let mut words = [0; WORDS];
        STAMPS.iter().for_each(|&word| words[word] = stamp);
        let written = match write_page(of, address, &mut words) {
            Ok(()) => 0,
            Err(errno) => errno as u8,
        };
        answers.write_all(&[written])?;
    }
}

fn write_page(of: libc::pid_t, address: u64, words: &mut [u64; WORDS]) -> Result<(), Errno> {
    let base: *mut c_void = with_exposed_provenance_mut(address as usize);
    let (from, to) = (
        iovec { iov_base: words.as_mut_ptr().cast(), iov_len: PAGE },
        iovec { iov_base: base, iov_len: PAGE },
    );
    // SAFETY: reads the words, and writes to the arena of the other process, which nothing borrows.
    let written = unsafe { libc::process_vm_writev(of, &raw const from, 1, &raw const to, 1, 0) };
    match Errno::result(written)? {
        whole if whole as usize == PAGE => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

struct Remote {
    order: PipeWriter,
    answer: PipeReader,
    _child: Child,
}

impl Change for Remote {
    fn step(&mut self, stage: &mut Stage<'_>) -> Outcome {
        let pages = stage.choose();
        stage.ledger.announce(pages.clone());
        if stage.random.below(2) == 0 {
            // Then it is the other process that has the pages made.
            stage.arena.advise(pages.clone(), libc::MADV_DONTNEED)?;
        }
        for page in pages.clone() {
            let (address, stamp) = (stage.arena.address(0, page), stage.ledger.stamp(page));
            self.order.write_all(&[address.to_ne_bytes(), stamp.to_ne_bytes()].concat())?;
            let mut answer = [0];
            self.answer.read_exact(&mut answer)?;
            if answer != [0] {
                let errno = Errno::from_raw(answer[0].into());
                return Err(format!("page {page} cannot be written from outside: {errno}").into());
            }
        }
        stage.ledger.publish(pages.clone());
        let page = stage.one_of(&pages);
        stage.add(page)?;
        stage.probe.seen(0, page)
    }
}
