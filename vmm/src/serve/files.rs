// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The client's memory: files that it shares, each mapped once, however many DMA maps are of
//! it. A map of its own for each would soon be more than Linux lets a process have.

use super::cut_off::{self, Watch};
use farfault_device_model::Stretch;
use farfault_vfio_user::{Errno, PAGE};
use nix::sys::mman::{MapFlags, ProtFlags};
use nix::sys::stat::{SFlag, fstat};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, MmapRegion,
};

/// Files that there can be at a time. Engines look at one after the other.
const MAX_FILES: usize = 32;

/// What makes two descriptors the same memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    writable: bool,
}

struct Mapped {
    identity: Identity,
    region: GuestRegionMmap,
    watch: Watch,
}

/// Files, each at a guest physical address of the device model.
#[derive(Default)]
pub struct Files {
    mapped: Vec<Mapped>,
    /// Where the next one goes.
    next: u64,
}

impl Files {
    /// Where the `size` bytes at `offset` of a file are, and whether the file is new here.
    /// `unused` says which stretches nobody needs, if room has to be made.
    pub fn place(
        &mut self,
        file: OwnedFd,
        offset: u64,
        size: u64,
        writable: bool,
        unused: impl Fn(Stretch) -> bool,
    ) -> Result<(u64, bool), Errno> {
        let about = fstat(&file).map_err(errno)?;
        let regular = SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
        let length = about.st_size as u64 & !(PAGE - 1);
        let end = offset.checked_add(size).filter(|end| regular && *end <= length);
        let end = end.ok_or(Errno::INVAL)?;
        let identity = Identity { device: about.st_dev, inode: about.st_ino, writable };
        let there = self.mapped.iter().find(|mapped| mapped.serves(identity, end));
        if let Some(Mapped { region, .. }) = there {
            return Ok((region.start_addr().0 + offset, false));
        }
        if self.mapped.len() == MAX_FILES {
            self.mapped.retain(|mapped| !unused(mapped.stretch()));
        }
        if self.mapped.len() == MAX_FILES {
            return Err(Errno::NOSPC);
        }
        let base = self.next;
        // A page between two, so that nothing runs from one into the other.
        self.next = base.checked_add(length + PAGE).ok_or(Errno::NOSPC)?;
        self.mapped.push(Mapped::new(identity, file, length, base)?);
        Ok((base + offset, true))
    }

    /// All of it.
    pub fn memory(&self) -> GuestMemoryMmap {
        let same = |mapped: &Mapped| {
            let region = &mapped.region;
            GuestRegionMmap::with_arc(region.get_mmap(), region.start_addr())
        };
        let regions: Option<Vec<_>> = self.mapped.iter().map(same).collect();
        // They lie one behind the other, so this fails only if there are none.
        GuestMemoryMmap::from_regions(regions.unwrap_or_default()).unwrap_or_default()
    }

    /// Whether the device has come upon a place that a file no longer has.
    pub fn is_cut_off(&self) -> bool {
        self.mapped.iter().any(|mapped| mapped.watch.has_seen_one())
    }
}

impl Mapped {
    fn new(identity: Identity, file: OwnedFd, length: u64, base: u64) -> Result<Self, Errno> {
        let protection = if identity.writable {
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE
        } else {
            ProtFlags::PROT_READ
        };
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        let length = usize::try_from(length).map_err(|_| Errno::NOMEM)?;
        let file = FileOffset::new(File::from(file), 0);
        let mapping = MmapRegion::build(Some(file), length, protection.bits(), flags.bits())
            .map_err(|_| Errno::NOMEM)?;
        let watch = cut_off::watch(mapping.as_ptr() as usize, length).ok_or(Errno::NOSPC)?;
        let region = GuestRegionMmap::with_arc(Arc::new(mapping), GuestAddress(base));
        Ok(Self { identity, region: region.ok_or(Errno::NOSPC)?, watch })
    }

    fn stretch(&self) -> Stretch {
        Stretch { start: self.region.start_addr().0, last: self.region.last_addr().0 }
    }

    /// Whether it can stand for a file up to `end`.
    fn serves(&self, identity: Identity, end: u64) -> bool {
        let as_good = Identity { writable: self.identity.writable, ..identity };
        self.identity == as_good
            && (self.identity.writable || !identity.writable)
            && end <= self.region.len()
    }
}

fn errno(error: nix::Error) -> Errno {
    Errno::from_raw_os_error(error as i32)
}
