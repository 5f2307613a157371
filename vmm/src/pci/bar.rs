// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A BAR as a value: how large it is, and what a guest finds in it.

use std::ops::Range;
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

/// A memory BAR; all of ours are 64 bits wide and so take two registers.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Number of its first register: 0, 2 or 4.
    pub index: usize,
    /// Bytes, a power of two of at least a page.
    pub size: u64,
    /// What is in it. Between areas reads give ones and writes do nothing.
    pub areas: Vec<Area>,
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
    /// What is at `offset`, and where that begins.
    pub fn at(&self, offset: u64) -> Option<&Area> {
        self.areas.iter().find(|area| area.range.contains(&offset))
    }

    /// The events of its doorbells by their offsets.
    pub fn doorbells(&self) -> impl Iterator<Item = (u64, &Arc<EventFd>)> {
        self.areas.iter().flat_map(|area| {
            let (stride, events) = match &area.backing {
                Backing::Doorbells { stride, events } => (*stride, events.as_slice()),
                Backing::Registers | Backing::MsixTable => (1, [].as_slice()),
            };
            (area.range.start..).step_by(stride as usize).zip(events)
        })
    }
}
