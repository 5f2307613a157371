// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a driver has negotiated, as a value: the queues lie in guest memory.

use super::queues::{DriverState, VirtQueue};
use serde::{Deserialize, Serialize};
use virtio_queue::{Queue, QueueState};

/// [`DriverState`] of an idle device. Bus mastering is in configuration space.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedDriver {
    status: u8,
    driver_features: u64,
    device_select: u32,
    driver_select: u32,
    config_vector: u16,
    queue_select: u16,
    queues: Vec<SavedQueue>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SavedQueue {
    #[serde(with = "SavedRing")]
    ring: QueueState,
    vector: u16,
}

/// How virtio-queue's value is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "QueueState")]
struct SavedRing {
    max_size: u16,
    next_avail: u16,
    next_used: u16,
    event_idx_enabled: bool,
    size: u16,
    ready: bool,
    desc_table: u64,
    avail_ring: u64,
    used_ring: u64,
}

impl DriverState {
    /// None while a reset is under way.
    pub fn save(&self) -> Option<SavedDriver> {
        let queue =
            |queue: &VirtQueue| SavedQueue { ring: queue.ring.state(), vector: queue.vector };
        (!self.resetting).then(|| SavedDriver {
            status: self.status,
            driver_features: self.driver_features,
            device_select: self.device_select,
            driver_select: self.driver_select,
            config_vector: self.config_vector,
            queue_select: self.queue_select,
            queues: self.queues.iter().map(queue).collect(),
        })
    }

    /// Becomes what `saved` was; false if that was of another device.
    pub fn restore(&mut self, saved: &SavedDriver) -> bool {
        let queue = |saved: &SavedQueue| {
            Some(VirtQueue { ring: Queue::try_from(saved.ring).ok()?, vector: saved.vector })
        };
        let queues: Option<Vec<_>> = saved.queues.iter().map(queue).collect();
        let Some(queues) = queues.filter(|queues| queues.len() == self.queues.len()) else {
            return false;
        };
        self.queues = queues;
        self.status = saved.status;
        self.driver_features = saved.driver_features;
        self.device_select = saved.device_select;
        self.driver_select = saved.driver_select;
        self.config_vector = saved.config_vector;
        self.queue_select = saved.queue_select;
        true
    }
}
