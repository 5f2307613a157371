// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The state that a driver negotiates and the virtqueues it sets up: shared
//! by the registers, which vCPUs touch, and the console, which works on the
//! event loop. Memory is reached through virtio-queue and vm-memory only, so
//! a ring that leads nowhere leads to a counted end of that device, no more.

use crate::pci::{Msix, NO_VECTOR};
use std::io::{Read, Write};
use std::sync::Arc;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::GuestMemoryMmap;

pub const STATUS_DRIVER_OK: u8 = 4;
pub const STATUS_FEATURES_OK: u8 = 8;
pub const STATUS_NEEDS_RESET: u8 = 64;

/// Descriptors a queue may have.
pub const QUEUE_SIZE: u16 = 128;

/// A virtqueue and the MSI-X vector of its interrupt.
pub struct VirtQueue {
    pub ring: Queue,
    pub vector: u16,
}

/// A buffer of the driver that has been taken from a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What to give back to the driver.
    pub head: u16,
    /// What the driver has written into it.
    pub bytes: Vec<u8>,
}

/// What filling a buffer of the driver came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// A buffer was filled and given to the driver.
    One,
    /// There was nothing to put into it; it stays in the queue.
    Nothing,
    /// The driver has no buffer in the queue; it kicks when it has.
    NoBuffer,
}

/// What a driver has negotiated.
pub struct DriverState {
    pub status: u8,
    pub driver_features: u64,
    pub device_select: u32,
    pub driver_select: u32,
    pub config_vector: u16,
    pub queue_select: u16,
    pub queues: Vec<VirtQueue>,
    pub bus_master: bool,
    /// The driver has asked for a reset, and what it had queued before is
    /// still on its way out.
    pub resetting: bool,
    /// Counts resets, so that whoever keeps buffers knows to forget them.
    pub generation: u64,
    memory: Arc<GuestMemoryMmap>,
    msix: Arc<Msix>,
}

impl DriverState {
    /// The state after power-on.
    pub fn new(
        queues: usize,
        memory: Arc<GuestMemoryMmap>,
        msix: Arc<Msix>,
    ) -> Option<DriverState> {
        let queue = || Some(VirtQueue { ring: Queue::new(QUEUE_SIZE).ok()?, vector: NO_VECTOR });
        Some(DriverState {
            status: 0,
            driver_features: 0,
            device_select: 0,
            driver_select: 0,
            config_vector: NO_VECTOR,
            queue_select: 0,
            queues: (0..queues).map(|_| queue()).collect::<Option<_>>()?,
            bus_master: false,
            resetting: false,
            generation: 0,
            memory,
            msix,
        })
    }

    /// Forgets everything the driver has said.
    pub fn reset(&mut self) {
        let (memory, msix) = (Arc::clone(&self.memory), Arc::clone(&self.msix));
        if let Some(new) = DriverState::new(self.queues.len(), memory, msix) {
            let (bus_master, generation) = (self.bus_master, self.generation + 1);
            *self = DriverState { bus_master, generation, ..new };
        }
    }

    /// Whether the queues may be worked on.
    pub fn is_live(&self) -> bool {
        self.bus_master
            && self.status & STATUS_DRIVER_OK != 0
            && self.status & STATUS_NEEDS_RESET == 0
    }

    /// The next buffer that the driver has written, at most `limit` bytes of it.
    pub fn take(&mut self, index: usize, limit: usize) -> Option<Taken> {
        let memory = Arc::clone(&self.memory);
        let taken = next_chain(self.ring(index)?, &memory).and_then(|chain| {
            let Some(chain) = chain else { return Ok(None) };
            let head = chain.head_index();
            let reader = chain.reader(&memory).map_err(|_| Broken)?;
            let mut bytes = Vec::new();
            reader.take(limit as u64).read_to_end(&mut bytes).map_err(|_| Broken)?;
            Ok(Some(Taken { head, bytes }))
        });
        taken.unwrap_or_else(|Broken| {
            self.fail();
            None
        })
    }

    /// Fills the driver's next buffer with what `fill` puts into the slice it
    /// gets, which is as long as the buffer but no longer than `limit`. A buffer
    /// that holds nothing goes back as it is.
    pub fn fill(
        &mut self,
        index: usize,
        limit: usize,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Filled {
        let memory = Arc::clone(&self.memory);
        for _ in 0..QUEUE_SIZE {
            let Some(ring) = self.ring(index) else { return Filled::NoBuffer };
            let opened = next_chain(ring, &memory).and_then(|chain| {
                let Some(chain) = chain else { return Ok(None) };
                let head = chain.head_index();
                Ok(Some((head, chain.writer(&memory).map_err(|_| Broken)?)))
            });
            let (head, mut writer) = match opened {
                Ok(Some(opened)) => opened,
                Ok(None) => return Filled::NoBuffer,
                Err(Broken) => break,
            };
            let mut bytes = vec![0; writer.available_bytes().min(limit)];
            if bytes.is_empty() {
                self.give_back(index, head, 0);
                continue;
            }
            let count = fill(&mut bytes).min(bytes.len());
            if count == 0 {
                ring.go_to_previous_position();
                return Filled::Nothing;
            }
            if writer.write_all(bytes.get(..count).unwrap_or_default()).is_err() {
                break;
            }
            self.give_back(index, head, count as u32);
            return Filled::One;
        }
        // A ring that cannot be followed, or one of empty buffers without end.
        self.fail();
        Filled::NoBuffer
    }

    /// Gives a buffer back to the driver, with `written` bytes in it.
    pub fn give_back(&mut self, index: usize, head: u16, written: u32) {
        let memory = Arc::clone(&self.memory);
        let Some(ring) = self.ring(index) else { return };
        let told = ring
            .add_used(memory.as_ref(), head, written)
            .and_then(|()| ring.needs_notification(memory.as_ref()));
        match told {
            Ok(true) => {
                if let Some(queue) = self.queues.get(index) {
                    self.msix.signal(queue.vector);
                }
            }
            Ok(false) => {}
            Err(_) => self.fail(),
        }
    }

    fn ring(&mut self, index: usize) -> Option<&mut Queue> {
        if !self.is_live() {
            return None;
        }
        self.queues.get_mut(index).map(|queue| &mut queue.ring).filter(|ring| ring.ready())
    }

    /// A ring leads outside memory: nothing more is done until the driver
    /// resets the device, and the driver is told so.
    fn fail(&mut self) {
        self.status |= STATUS_NEEDS_RESET;
        self.msix.signal(self.config_vector);
    }
}

/// A ring that cannot be followed.
struct Broken;

/// The next chain of a ring. If there is none, the driver has been asked for
/// a kick at the next one.
fn next_chain(
    ring: &mut Queue,
    memory: &Arc<GuestMemoryMmap>,
) -> Result<Option<DescriptorChain<Arc<GuestMemoryMmap>>>, Broken> {
    if let Some(chain) = ring.pop_descriptor_chain(Arc::clone(memory)) {
        return Ok(Some(chain));
    }
    if !ring.enable_notification(memory.as_ref()).map_err(|_| Broken)? {
        return Ok(None);
    }
    // One has just come, or the index is one that no driver would write.
    ring.pop_descriptor_chain(Arc::clone(memory)).map(Some).ok_or(Broken)
}
