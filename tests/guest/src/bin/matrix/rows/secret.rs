// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A row of secret memory: it is in no page table but that of its process, and no driver
//! may have it.
#![allow(unsafe_code, reason = "memfd_secret is not to be had otherwise")]

use crate::calls::{self, MAP_SHARED, READ_WRITE, Source};
use crate::environment::Environment;
use crate::model::Kind;
use crate::row::Rule::{Refused, Senseless};
use crate::row::{Made, Row};
use crate::rows::LOSSES;
use nix::errno::Errno;
use nix::libc;
use std::fs::File;
use std::os::fd::FromRawFd;

pub const ROWS: &[Row] =
    &[Row::new("secretmem", "memfd_secret, which no driver may have", Kind::Secret, secret)
        .shared()
        .but(&[
            (&["free", "collapse"], Refused(Errno::EINVAL)),
            (&["hwpoison", "migrate"], Refused(Errno::EFAULT)),
            (&["truncate", "writeback"], Refused(Errno::EINVAL)),
            (&["punch-hole", "collapse-range"], Refused(Errno::EOPNOTSUPP)),
            (&["reflink"], Senseless("its file can only be mapped")),
            (&["ksm", "split"], Senseless("the kernel leaves its pages alone")),
            (&["pageout", "swap"], Senseless("its pages are not reclaimed")),
            (LOSSES, Senseless("its pages are not reclaimed")),
        ])];

fn secret(_: &Environment, row: &Row, length: u64) -> Made {
    // SAFETY: makes a file descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = Errno::result(fd).map_err(|errno| format!("memfd_secret: {errno}"))?;
    // SAFETY: a new descriptor that nobody else has.
    let file = unsafe { File::from_raw_fd(fd as i32) };
    file.set_len(length)?;
    let span = calls::map(length, row.leaf, READ_WRITE, MAP_SHARED, Source::File(&file))?;
    // The CPU has it, but not through the kernel.
    let mut subject = row.at(span).kept_from_devices();
    subject.file = Some(file);
    Ok(subject)
}
