// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A row of memory that io_uring has as a registered buffer: its pages are pinned.
#![allow(unsafe_code, reason = "io_uring by its system calls")]

use crate::calls::{MADV_NORMAL, Span};
use crate::environment::Environment;
use crate::model::Kind;
use crate::row::Rule::{Refused, Senseless};
use crate::row::{Made, Row};
use crate::rows::LOSSES;
use crate::rows::anonymous::{fresh, written};
use nix::errno::Errno;
use nix::libc;

pub const ROWS: &[Row] =
    &[Row::new("io-uring-buffer", "a registered buffer, pinned", Kind::Anonymous, registered).but(
        &[
            (&["pageout", "swap"], Senseless("pinned pages are not paged out")),
            (LOSSES, Senseless("pinned pages are not reclaimed")),
            (&["ksm"], Senseless("pinned pages are not merged")),
            (&["migrate"], Refused(Errno::EBUSY)),
            (&["collapse"], Refused(Errno::EAGAIN)),
            (&["split"], Senseless("nothing huge can be made of it")),
        ],
    )];

/// Bytes of struct io_uring_params.
const PARAMETERS: usize = 120;
const REGISTER_BUFFERS: u32 = 0;

fn registered(_: &Environment, row: &Row, length: u64) -> Made {
    let subject = written(fresh(row, length, MADV_NORMAL)?)?;
    register(subject.span).map_err(|errno| format!("io_uring: {errno}"))?;
    Ok(subject)
}

/// For as long as the process lives: nobody closes the ring.
fn register(span: Span) -> nix::Result<()> {
    let mut parameters = [0_u8; PARAMETERS];
    let parameters = parameters.as_mut_ptr();
    // SAFETY: makes a file descriptor, and fills in the parameters.
    let ring = Errno::result(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters) })?;
    // struct iovec
    let buffer = [span.start, span.length];
    let buffers = buffer.as_ptr();
    // SAFETY: contents stay as they are; io_uring is asked for no transfer.
    let done =
        unsafe { libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_BUFFERS, buffers, 1) };
    Errno::result(done).map(drop)
}
