// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the machine has tied to addresses of BARs: a guest's write to a doorbell
//! wakes a thread of ours without leaving the kernel, and an access to memory of a
//! device of the host reaches that, wherever the guest has put the BAR.

use super::bar::BarMove;
use crate::mapping::Mapping;
use std::io;
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

/// Ties events to guest physical addresses.
pub trait EventRegistry: Send + Sync {
    /// From now on a write to `address`, of any size and value, fires `event`.
    fn attach(&self, event: &EventFd, address: u64) -> io::Result<()>;
    /// Undoes [`EventRegistry::attach`].
    fn detach(&self, event: &EventFd, address: u64) -> io::Result<()>;
}

/// Shows memory of this process at guest physical addresses.
pub trait MemoryRegistry: Send + Sync {
    /// From now on the guest finds `memory` at `address`.
    fn show(&self, memory: &Arc<Mapping>, address: u64) -> io::Result<()>;
    /// Undoes [`MemoryRegistry::show`]; no vCPU reaches the memory when this returns.
    fn hide(&self, memory: &Arc<Mapping>, address: u64) -> io::Result<()>;
}

/// The doorbells and the memory of all BARs where they are now.
pub struct AddressMap {
    events: Arc<dyn EventRegistry>,
    memory: Arc<dyn MemoryRegistry>,
    attached: Vec<(u64, Arc<EventFd>)>,
    shown: Vec<(u64, Arc<Mapping>)>,
}

impl AddressMap {
    /// No BAR answers anywhere yet.
    pub fn new(events: Arc<dyn EventRegistry>, memory: Arc<dyn MemoryRegistry>) -> AddressMap {
        AddressMap { events, memory, attached: Vec::new(), shown: Vec::new() }
    }

    /// Follows BARs to where the guest has moved them. What cannot be there is not
    /// lost: an access then exits and reaches the device as any other.
    pub fn follow(&mut self, moves: &[BarMove]) {
        // What goes makes room for what comes.
        for BarMove { bar, from, .. } in moves {
            let at = |offset| from.and_then(|base| base.checked_add(offset));
            for (offset, event) in bar.doorbells() {
                let _ = at(offset).map(|address| self.detach(event, address));
            }
            for (offset, memory) in bar.mappings() {
                let _ = at(offset).map(|address| self.hide(memory, address));
            }
        }
        for BarMove { bar, to, .. } in moves {
            let at = |offset| to.and_then(|base| base.checked_add(offset));
            for (offset, event) in bar.doorbells() {
                if let Some(address) = at(offset)
                    && self.events.attach(event, address).is_ok()
                {
                    self.attached.push((address, Arc::clone(event)));
                }
            }
            for (offset, memory) in bar.mappings() {
                if let Some(address) = at(offset)
                    && self.memory.show(memory, address).is_ok()
                {
                    self.shown.push((address, Arc::clone(memory)));
                }
            }
        }
    }

    fn detach(&mut self, event: &Arc<EventFd>, address: u64) {
        if take(&mut self.attached, address, event) {
            let _ = self.events.detach(event, address);
        }
    }

    fn hide(&mut self, memory: &Arc<Mapping>, address: u64) {
        if take(&mut self.shown, address, memory) {
            let _ = self.memory.hide(memory, address);
        }
    }
}

/// Takes `what` at `address` out of a list; says whether it was there.
fn take<T>(list: &mut Vec<(u64, Arc<T>)>, address: u64, what: &Arc<T>) -> bool {
    let found = list.iter().position(|(at, other)| *at == address && Arc::ptr_eq(other, what));
    found.map(|index| list.swap_remove(index)).is_some()
}
