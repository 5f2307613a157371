// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The first guest's initrd: the image's, then an archive with this program and the second
//! guest's kernel and initrd. It lives in memory and goes away with the process.

use crate::archive::{self, Archive, ArchiveError, GuestCommand, Preparation, Role};
use crate::machine::Initrd;
use crate::qemu::{Unreadable, concatenate};
use crate::session::{Orders, Terms};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// The second guest's kernel, in the first.
pub const INNER_KERNEL: &str = "/farfault/kernel";
/// The second guest's initrd, in the first.
pub const INNER_INITRD: &str = "/farfault/initrd";
/// This program, in the first guest, and what it is asked for.
const INNER_PROGRAM: &str = "/farfault/farfault";
const INNER_REQUEST: &str = "/farfault/request";

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot pack the first guest's files")]
    Archive(#[from] ArchiveError),
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Inner(#[from] Unreadable),
    #[error("cannot hold the first guest's initrd in memory")]
    Memory(#[from] io::Error),
}

/// What the first guest carries beside its own initrd.
#[derive(Debug)]
pub struct InnerGuest {
    /// The second guest's kernel.
    pub kernel: PathBuf,
    /// The pieces of its initrd.
    pub initrd: Vec<Initrd>,
    /// What this program is asked for in the first guest; nothing if the command is to run
    /// in the first guest itself.
    pub request: Option<String>,
}

impl InnerGuest {
    /// The first guest's own command, if it runs this program.
    pub fn words(&self) -> Option<[&'static str; 3]> {
        self.request.as_ref().map(|_| [INNER_PROGRAM, "inner", INNER_REQUEST])
    }

    /// The orders for the first guest's init, if it is to run this program.
    pub fn launch(&self) -> Result<Option<Orders>, ArchiveError> {
        let Some(words) = self.words() else { return Ok(None) };
        let mut archive = Archive::new(Vec::new());
        archive.command(&GuestCommand {
            argv: words.map(str::to_owned).into(),
            env: BTreeMap::new(),
            cwd: "/".to_owned(),
            tty: false,
            direct: true,
        })?;
        let archive = archive.finish()?.into();
        Ok(Some(Orders { prepare: None, archive, terms: Terms::default() }))
    }
}

/// Packs it into an anonymous file.
pub fn pack(image: &Path, inner: &InnerGuest) -> Result<File, PackError> {
    let memory =
        memfd_create(c"farfault-initrd", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from)?;
    let mut out = BufWriter::with_capacity(1 << 20, File::from(memory));
    let len = File::open(image)
        .and_then(|mut image| io::copy(&mut image, &mut out))
        .map_err(|error| PackError::Read(image.to_owned(), error))?;
    archive::align(&mut out, len)?;
    let mut archive = Archive::new(out);
    archive.path(Path::new("/proc/self/exe"), INNER_PROGRAM)?;
    archive.path(&inner.kernel, INNER_KERNEL)?;
    archive.bytes(INNER_INITRD, 0o644, &concatenate(&inner.initrd)?)?;
    if let Some(request) = &inner.request {
        archive.bytes(INNER_REQUEST, 0o600, request.as_bytes())?;
    }
    archive.preparation(&Preparation {
        role: Role::L1,
        driver: false,
        driver_params: String::new(),
        late_device: false,
        mark_ack: false,
    })?;
    let out = archive.finish()?;
    Ok(out.into_inner().map_err(io::IntoInnerError::into_error)?)
}
