// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the machine has tied to addresses of BARs: a guest's write to a doorbell
//! wakes a thread of ours without leaving the kernel, wherever the guest has put
//! the BAR.

use super::bar::BarMove;
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

/// The doorbells of all BARs where they are now.
pub struct AddressMap {
    registry: Arc<dyn EventRegistry>,
    attached: Vec<(u64, Arc<EventFd>)>,
}

impl AddressMap {
    /// No BAR answers anywhere yet.
    pub fn new(registry: Arc<dyn EventRegistry>) -> AddressMap {
        AddressMap { registry, attached: Vec::new() }
    }

    /// Follows BARs to where the guest has moved them. An event that cannot be
    /// attached there is not lost: the write then exits and reaches the device
    /// as any other access.
    pub fn follow(&mut self, moves: Vec<BarMove>) {
        for BarMove { bar, from, to } in moves {
            for (offset, event) in bar.doorbells() {
                let at = |base: Option<u64>| base?.checked_add(offset);
                if let Some(address) = at(from) {
                    self.detach(event, address);
                }
                if let Some(address) = at(to)
                    && self.registry.attach(event, address).is_ok()
                {
                    self.attached.push((address, Arc::clone(event)));
                }
            }
        }
    }

    fn detach(&mut self, event: &Arc<EventFd>, address: u64) {
        let mut attached = self.attached.iter();
        let found = attached.position(|(at, other)| *at == address && Arc::ptr_eq(other, event));
        if let Some(index) = found {
            self.attached.swap_remove(index);
            let _ = self.registry.detach(event, address);
        }
    }
}
