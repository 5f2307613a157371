// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A row of a file that nobody may write to any more.

use crate::calls::{MAP_SHARED, PROT_READ};
use crate::environment::Environment;
use crate::model::{Kind, Mapped};
use crate::row::Rule::{Refused, Senseless};
use crate::row::{Made, Row};
use crate::rows::LOSSES;
use crate::rows::files::{of_stamped, stamp_file};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;

pub const ROWS: &[Row] =
    &[Row::new("memfd-sealed", "shared, sealed for writing", Kind::Shmem, sealed)
        .shared()
        .read_first()
        .but(&[
            (
                &["mprotect-read", "mprotect-none"],
                Senseless("it cannot be made writable, before or after"),
            ),
            (&["punch-hole"], Refused(Errno::EPERM)),
            (LOSSES, Senseless("nobody can write to it")),
        ])];

fn sealed(_: &Environment, row: &Row, length: u64) -> Made {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create(c"matrix", flags)?);
    file.set_len(length)?;
    stamp_file(&file, length)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE))?;
    let mut subject = of_stamped(file, row, length, PROT_READ, MAP_SHARED)?;
    subject.samples.iter_mut().for_each(|sample| sample.writable = false);
    subject.reading_maps(Mapped::No);
    Ok(subject)
}
