// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a session asks of the guest that it is held with.

use crate::footprint::PrivateDirty;
use crate::machine::MachineEnd;
use crate::stats::Sample;

/// A guest that runs, as its session sees it.
pub trait Guest: Send + Sync {
    /// Ends it. What it has already written still arrives.
    fn stop(&self);
    /// Its init is up.
    fn mark_started(&self) {}
    /// It has done what it was for, and all that it wrote to a disk is there: how it would
    /// switch itself off is of no interest.
    fn switch_off(&self) {}
    /// The guest in it is prepared, and waits for orders.
    fn ready(&self) {}
    /// Has its CPUs stand still until what is returned is dropped.
    fn hold(&self) -> Hold {
        Box::new(())
    }
    fn counters(&self) -> Sample {
        Sample::default()
    }
    /// Where its CPUs were when it was stopped.
    fn last_seen(&self) -> Vec<String> {
        Vec::new()
    }
    /// What it takes of the host's memory.
    fn memory(&self) -> PrivateDirty {
        PrivateDirty::default()
    }
}

/// A guest stands still as long as somebody has it.
pub type Hold = Box<dyn Send>;

/// Runs a guest on the calling thread until it ends.
pub type Runner = Box<dyn FnOnce() -> Result<MachineEnd, String> + Send>;
