// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A buffer of some kind of memory, with a copy of what it must hold.

use farfault_workloads::Failure;
use farfault_workloads::memory::{
    Access, HUGE_PAGE, MADV_DONTNEED, MADV_REMOVE, PAGE, Region, Sharing, memory_file, unnamed_file,
};
use farfault_workloads::random::Random;
use std::io::Write;
use std::ops::Range;

/// What kind of memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    SmallPages,
    HugePages,
    SharedAnonymous,
    MemoryFile,
    PrivateFile,
    SharedFile,
}

impl Kind {
    /// What each worker has; two that are large, for commands that take a while.
    pub const ALL: [Self; 7] = {
        use Kind::*;
        [SmallPages, HugePages, HugePages, SharedAnonymous, MemoryFile, PrivateFile, SharedFile]
    };

    /// Whether a forked child has it to itself.
    pub fn is_private(self) -> bool {
        matches!(self, Self::SmallPages | Self::HugePages | Self::PrivateFile)
    }
}

/// Bytes of those that do not consist of huge pages.
const LENGTH: usize = 64 * PAGE;

/// Memory the device works on, and its shadow, which only the CPU knows.
pub struct Buffer {
    pub kind: Kind,
    pub memory: Region,
    pub shadow: Vec<u8>,
    /// What a private mapping falls back to when its pages are discarded.
    origin: Vec<u8>,
}

impl Buffer {
    pub fn new(kind: Kind, random: &mut Random) -> Result<Self, Failure> {
        let mut origin = vec![0; if kind == Kind::HugePages { HUGE_PAGE } else { LENGTH }];
        let length = origin.len();
        let map = |sharing, file: std::io::Result<std::fs::File>, contents: &[u8]| {
            let mut file = file?;
            file.write_all(contents)?;
            Ok::<_, Failure>(Region::of_file(&file, length, sharing, Access::Write)?)
        };
        let memory = match kind {
            Kind::SmallPages => Region::small_pages(length)?,
            Kind::HugePages => Region::huge_pages(length)?,
            Kind::SharedAnonymous => Region::shared_anonymous(length)?,
            Kind::MemoryFile => map(Sharing::Shared, memory_file(length as u64), &origin)?,
            Kind::SharedFile => map(Sharing::Shared, unnamed_file(length as u64), &origin)?,
            Kind::PrivateFile => {
                random.fill(&mut origin);
                map(Sharing::Private, unnamed_file(length as u64), &origin)?
            }
        };
        Ok(Self { kind, memory, shadow: origin.clone(), origin })
    }

    /// Has the CPU write to it.
    pub fn scribble(&mut self, random: &mut Random) {
        let range = random.range(self.shadow.len(), 1);
        random.fill(&mut self.shadow[range.clone()]);
        self.memory[range.clone()].copy_from_slice(&self.shadow[range]);
    }

    /// Makes `range` hold floats that calculate without surprises.
    pub fn put_floats(&mut self, range: Range<usize>, random: &mut Random) {
        for chunk in self.shadow[range.clone()].chunks_exact_mut(4) {
            chunk.copy_from_slice(&(random.below(1000) as f32 - 500.0).to_le_bytes());
        }
        self.memory[range.clone()].copy_from_slice(&self.shadow[range]);
    }

    /// Changes what lies behind the addresses, in a way whose outcome is known.
    pub fn disturb(&mut self, random: &mut Random) -> Result<(), Failure> {
        let pages = random.range(self.shadow.len(), PAGE);
        match random.below(4) {
            0 => self.memory.relocate()?,
            1 => {
                self.memory.advise_range(pages.start, pages.len(), MADV_DONTNEED)?;
                if self.kind.is_private() {
                    self.shadow[pages.clone()].copy_from_slice(&self.origin[pages]);
                }
            }
            2 if matches!(self.kind, Kind::SharedAnonymous | Kind::MemoryFile) => {
                self.memory.advise_range(pages.start, pages.len(), MADV_REMOVE)?;
                self.shadow[pages].fill(0);
            }
            _ => {
                self.memory.protect(pages.start, pages.len(), Access::Read)?;
                self.memory.protect(pages.start, pages.len(), Access::Write)?;
            }
        }
        Ok(())
    }

    /// Compares all of it.
    pub fn verify(&self) -> Result<(), Failure> {
        let difference = self.memory.iter().zip(&self.shadow).position(|(a, b)| a != b);
        match difference {
            None => Ok(()),
            Some(offset) => {
                let (found, expected) = (self.memory[offset], self.shadow[offset]);
                let kind = self.kind;
                Err(format!(
                    "{kind:?} memory holds {found:#04x} at offset {offset:#x}, not {expected:#04x}"
                )
                .into())
            }
        }
    }
}
