// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Events tied to places in a BAR: a guest's write there wakes a thread of
//! ours without leaving the kernel, wherever the guest has put the BAR.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use vmm_sys_util::eventfd::EventFd;

/// Ties events to guest physical addresses.
pub trait EventRegistry: Send + Sync {
    /// From now on a write to `address`, of any size and value, fires `event`.
    fn attach(&self, event: &EventFd, address: u64) -> io::Result<()>;
    /// Undoes [`EventRegistry::attach`].
    fn detach(&self, event: &EventFd, address: u64) -> io::Result<()>;
}

/// The events of one BAR.
pub struct BarEvents {
    registry: Arc<dyn EventRegistry>,
    events: Vec<(u64, EventFd)>,
    attached: Mutex<Vec<(u64, usize)>>,
}

impl BarEvents {
    /// Events by their offsets in the BAR, not attached yet.
    pub fn new(registry: Arc<dyn EventRegistry>, events: Vec<(u64, EventFd)>) -> BarEvents {
        BarEvents { registry, events, attached: Mutex::new(Vec::new()) }
    }

    /// The events in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &EventFd> {
        self.events.iter().map(|(_, event)| event)
    }

    /// Follows the BAR to where the guest has moved it. An event that cannot
    /// be attached there is not lost: the write then exits and reaches the
    /// device as any other access.
    pub fn moved(&self, base: Option<u64>) {
        let mut attached = self.attached.lock();
        for (address, index) in attached.drain(..) {
            if let Some((_, event)) = self.events.get(index) {
                let _ = self.registry.detach(event, address);
            }
        }
        let Some(base) = base else { return };
        for (index, (offset, event)) in self.events.iter().enumerate() {
            let Some(address) = base.checked_add(*offset) else { continue };
            if self.registry.attach(event, address).is_ok() {
                attached.push((address, index));
            }
        }
    }
}
