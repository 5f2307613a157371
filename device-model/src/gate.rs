// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The gate that every memory access of the device passes.
//!
//! Engines and the command processor hold it for reading while they touch guest
//! memory. Reset, disabling and switching bus mastering off hold it for writing,
//! so when they return no access is in flight, and none begins. So does a change of
//! memory itself, after which no slice of what was before is used.
//!
//! RULE 1 (`space.rs`) holds for the IOMMU by it, too. What the IOMMU said is
//! used under the read guard only; a change of what it says is written down in
//! `unmapped` under the write guard, as the memory to which addresses no longer lead, and
//! an engine that finds more there than the last time drops from its TLB what leads to it
//! before it looks anything up.

use crate::dma::Stretch;
use crate::log::Log;
use crate::ram::Dma;
use crate::ring::Ring;
use crate::sync::{RwLock, RwLockReadGuard};
use crate::vram::Vram;
use crate::walk::Contexts;

/// What the driver set up before it enabled the device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    pub contexts: Contexts,
    /// Command queue, in DMA addresses.
    pub commands: Ring,
    /// Fault queue, in DMA addresses.
    pub faults: Ring,
}

/// What an engine was attached to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Term {
    /// [`Plane::epoch`].
    pub epoch: u64,
    /// [`Plane::memories`].
    pub memories: u64,
}

/// Behind the gate: memory and the way to it.
pub struct Plane {
    /// Counts resets, disables and enables: what was begun in another epoch is void.
    pub epoch: u64,
    /// CTRL_ENABLE as accepted.
    pub enabled: bool,
    pub bus_master: bool,
    /// Guest memory.
    pub memory: Dma,
    /// Memory of the device's own, of this epoch.
    pub vram: Vram,
    /// Counts the changes of what guest memory is. A change voids nothing but slices of memory: who
    /// has any attaches anew, and goes on.
    pub memories: u64,
    /// For good: it is never enabled again.
    pub stopped: bool,
    /// Where DMA addresses have led that now lead elsewhere or nowhere.
    pub unmapped: Log<Stretch>,
    /// The driver's set-up of this epoch.
    pub setup: Setup,
}

/// Why the gate is shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// The caller is of an epoch that is over, or the device is disabled.
    Over,
    /// The caller has slices of memory that is no more.
    Moved,
    BusMaster,
}

impl Plane {
    /// What an engine is attached to now.
    pub fn term(&self) -> Term {
        Term { epoch: self.epoch, memories: self.memories }
    }
}

pub struct Gate {
    plane: RwLock<Plane>,
}

impl Gate {
    /// A shut gate in front of `memory` and `vram`.
    pub fn new(memory: Dma, vram: Vram) -> Self {
        let plane = Plane {
            epoch: 0,
            enabled: false,
            bus_master: false,
            memory,
            vram,
            memories: 0,
            stopped: false,
            unmapped: Log::new(),
            setup: Setup::default(),
        };
        Self { plane: RwLock::new(plane) }
    }

    /// Goes through, in `term` or in whichever there is. A thread goes
    /// through once at a time, and before it takes any other lock.
    pub fn pass(&self, term: Option<Term>) -> Result<RwLockReadGuard<'_, Plane>, Shut> {
        let plane = self.plane.read();
        let now = plane.term();
        let term = term.unwrap_or(now);
        if !plane.enabled || term.epoch != now.epoch {
            return Err(Shut::Over);
        }
        if term != now {
            return Err(Shut::Moved);
        }
        if plane.bus_master { Ok(plane) } else { Err(Shut::BusMaster) }
    }

    /// Looks at what is behind, without permission to access memory.
    pub fn look(&self) -> RwLockReadGuard<'_, Plane> {
        self.plane.read()
    }

    /// Changes what is behind; no memory access is in flight meanwhile.
    pub fn change<R>(&self, change: impl FnOnce(&mut Plane) -> R) -> R {
        change(&mut self.plane.write())
    }
}
