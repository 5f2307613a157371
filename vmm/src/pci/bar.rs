// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A BAR as a value: how large it is, and what a guest finds in it.

use crate::mapping::Mapping;
use std::ops::Range;
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

/// A memory BAR.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Number of its first register, 0 to 5.
    pub index: usize,
    pub width: Width,
    pub prefetchable: bool,
    /// Bytes, a power of two of at least 16.
    pub size: u64,
    /// What is in it. What is between areas is up to the function; in ours, nothing.
    pub areas: Vec<Area>,
}

/// Bits of a BAR's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Bits32,
    /// It takes two registers.
    Bits64,
}

#[derive(Clone, Debug)]
pub struct Area {
    /// Offsets in the BAR.
    pub range: Range<u64>,
    pub backing: Backing,
}

/// What an access to a BAR reaches.
#[derive(Clone, Debug)]
pub enum Backing {
    /// The device; every access exits.
    Registers,
    /// The function's MSI-X table; every access exits.
    MsixTable,
    /// A write to the start of each `stride` bytes fires the next event, without an
    /// exit where the host can do so. All else is as for registers.
    Doorbells {
        /// Bytes from one to the next.
        stride: u64,
        /// One for each.
        events: Vec<Arc<EventFd>>,
    },
    /// Memory of a device of the host. An access reaches it without an exit where the host can
    /// do so, and is as for registers elsewhere.
    Mapped(Arc<Mapping>),
}

/// A BAR that answers elsewhere than before: what a write to configuration space
/// has changed of the machine's address map, for the map's owner to follow.
#[derive(Debug)]
pub struct BarMove {
    pub bar: Arc<Bar>,
    /// Where it was, if it answered at all.
    pub from: Option<u64>,
    /// Where it is now, if anywhere.
    pub to: Option<u64>,
}

impl Bar {
    /// One of ours: 64 bits wide, and what is read from it may have effects.
    pub fn new(index: usize, size: u64, areas: Vec<Area>) -> Bar {
        Bar { index, width: Width::Bits64, prefetchable: false, size, areas }
    }

    /// What is at `offset`, and where that begins.
    pub fn at(&self, offset: u64) -> Option<&Area> {
        self.areas.iter().find(|area| area.range.contains(&offset))
    }

    /// The events of its doorbells by their offsets.
    pub fn doorbells(&self) -> impl Iterator<Item = (u64, &Arc<EventFd>)> {
        self.areas.iter().flat_map(|area| {
            let (stride, events) = match &area.backing {
                Backing::Doorbells { stride, events } => (*stride, events.as_slice()),
                _ => (1, [].as_slice()),
            };
            (area.range.start..).step_by(stride as usize).zip(events)
        })
    }

    /// What of it is memory of the host's, by its offset.
    pub fn mappings(&self) -> impl Iterator<Item = (u64, &Arc<Mapping>)> {
        self.areas.iter().filter_map(|area| match &area.backing {
            Backing::Mapped(mapping) => Some((area.range.start, mapping)),
            _ => None,
        })
    }
}
