// SPDX-License-Identifier: Apache-2.0 OR MIT
//! virtio-pci, modern only: the registers through which a driver sets up a
//! device (virtio 1.3, 4.1.4), on the vCPU that touches them.
//!
//! The alternative access through configuration space is left out: no driver
//! of an operating system uses it, and it would make reads of that space have
//! effects.

use super::queues::{
    DriverState, STATUS_DRIVER_OK, STATUS_FEATURES_OK, STATUS_NEEDS_RESET, VirtQueue,
};
use crate::pci::{
    Area, Backing, Bar, ConfigSpace, Identity, MSIX_BYTES, Msix, NO_VECTOR, PciDevice, within,
};
use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::sync::Arc;
use virtio_queue::QueueT;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// The only BAR.
const BAR: usize = 0;
const BAR_SIZE: u64 = 0x8000;
/// One vector for changes of configuration, one for all queues. With one for
/// each queue a guest would have to write five times as many table entries.
pub const VECTORS: u16 = 2;

const COMMON: u64 = 0x0000;
const COMMON_SIZE: u64 = 0x38;
/// The registers there (virtio 1.3, 4.1.4.3). The last three are of 8 bytes.
mod common {
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub const DEVICE_FEATURE: u64 = 0x04;
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub const DRIVER_FEATURE: u64 = 0x0c;
    pub const CONFIG_VECTOR: u64 = 0x10;
    pub const NUM_QUEUES: u64 = 0x12;
    pub const DEVICE_STATUS: u64 = 0x14;
    pub const QUEUE_SELECT: u64 = 0x16;
    pub const QUEUE_SIZE: u64 = 0x18;
    pub const QUEUE_VECTOR: u64 = 0x1a;
    pub const QUEUE_ENABLE: u64 = 0x1c;
    pub const QUEUE_NOTIFY_OFFSET: u64 = 0x1e;
    pub const QUEUE_DESC: u64 = 0x20;
    pub const QUEUE_DRIVER: u64 = 0x28;
    pub const QUEUE_DEVICE: u64 = 0x30;
}
const ISR: u64 = 0x1000;
const DEVICE_CONFIG: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;
const NOTIFY_STRIDE: u64 = 4;
const MSIX_TABLE: u64 = 0x4000;

const CAPABILITY_VENDOR: u8 = 0x09;
const FEATURE_EVENT_IDX: u64 = 1 << 29;
const FEATURE_VERSION_1: u64 = 1 << 32;

pub struct Transport {
    state: Mutex<DriverState>,
    features: u64,
    device_config: Vec<u8>,
    memory: Arc<GuestMemoryMmap>,
    kicks: Vec<Arc<EventFd>>,
    wake: EventFd,
}

impl Transport {
    /// The PCI identity of a virtio console.
    pub const CONSOLE: Identity = Identity {
        id: (0x1af4, 0x1043),
        subsystem: (0x1af4, 0x1100),
        class: 0x07_8000,
        revision: 1,
    };

    /// A device with `features` of its own, `queues` virtqueues, and
    /// `device_config` to be read.
    pub fn new(
        features: u64,
        queues: usize,
        device_config: Vec<u8>,
        memory: Arc<GuestMemoryMmap>,
        msix: Arc<Msix>,
    ) -> io::Result<Transport> {
        let event = || EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC);
        let kicks = (0..queues).map(|_| Ok(Arc::new(event()?))).collect::<io::Result<_>>()?;
        let state = DriverState::new(queues, Arc::clone(&memory), msix)
            .ok_or_else(|| io::Error::other("virtqueue size"))?;
        Ok(Transport {
            state: Mutex::new(state),
            features: features | FEATURE_VERSION_1 | FEATURE_EVENT_IDX,
            device_config,
            memory,
            kicks,
            wake: event()?,
        })
    }

    pub fn bars(&self) -> Vec<Bar> {
        let (stride, events) = (NOTIFY_STRIDE, self.kicks.clone());
        let areas = vec![
            Area { range: 0..NOTIFY, backing: Backing::Registers },
            Area { range: NOTIFY..MSIX_TABLE, backing: Backing::Doorbells { stride, events } },
            Area { range: MSIX_TABLE..MSIX_TABLE + MSIX_BYTES, backing: Backing::MsixTable },
        ];
        vec![Bar::new(BAR, BAR_SIZE, areas)]
    }

    /// Adds the capabilities that say where the registers are.
    pub fn add_capabilities(&self, config: &mut ConfigSpace) {
        let notify_size = NOTIFY_STRIDE * self.kicks.len() as u64;
        let places = [
            (1, COMMON, COMMON_SIZE),
            (2, NOTIFY, notify_size),
            (3, ISR, 1),
            (4, DEVICE_CONFIG, self.device_config.len() as u64),
        ];
        for (kind, offset, length) in places {
            let tail: &[u8] = if kind == 2 { &(NOTIFY_STRIDE as u32).to_le_bytes() } else { &[] };
            let mut body = vec![16 + tail.len() as u8, kind, BAR as u8, 0, 0, 0];
            body.extend((offset as u32).to_le_bytes());
            body.extend((length as u32).to_le_bytes());
            body.extend(tail);
            config.add_capability(CAPABILITY_VENDOR, &body, &[]);
        }
    }

    /// What the driver has negotiated, and its queues.
    pub fn state(&self) -> MutexGuard<'_, DriverState> {
        self.state.lock()
    }

    /// The events that the driver's kicks fire, by queue.
    pub fn kicks(&self) -> impl Iterator<Item = &EventFd> {
        self.kicks.iter().map(Arc::as_ref)
    }

    /// The event that [`Transport::wake`] fires.
    pub fn wake_event(&self) -> &EventFd {
        &self.wake
    }

    /// Has the event loop look at the device.
    pub fn wake(&self) {
        let _ = self.wake.write(1);
    }

    fn read_common(&self, offset: u64) -> u32 {
        let state = self.state();
        let queue = state.queues.get(usize::from(state.queue_select));
        let of_queue = |value: fn(&VirtQueue) -> u32| queue.map_or(0, value);
        match offset {
            common::DEVICE_FEATURE_SELECT => state.device_select,
            common::DEVICE_FEATURE => half(self.features, state.device_select),
            common::DRIVER_FEATURE_SELECT => state.driver_select,
            common::DRIVER_FEATURE => half(state.driver_features, state.driver_select),
            common::CONFIG_VECTOR => state.config_vector.into(),
            common::NUM_QUEUES => state.queues.len() as u32,
            common::DEVICE_STATUS => state.status.into(),
            common::QUEUE_SELECT | common::QUEUE_NOTIFY_OFFSET => state.queue_select.into(),
            common::QUEUE_SIZE => of_queue(|queue| queue.ring.size().into()),
            common::QUEUE_VECTOR => queue.map_or(NO_VECTOR, |queue| queue.vector).into(),
            common::QUEUE_ENABLE => of_queue(|queue| queue.ring.ready().into()),
            _ => {
                let (register, upper) = wide(offset);
                let address = queue.map_or(0, |VirtQueue { ring, .. }| match register {
                    common::QUEUE_DESC => ring.desc_table(),
                    common::QUEUE_DRIVER => ring.avail_ring(),
                    common::QUEUE_DEVICE => ring.used_ring(),
                    _ => 0,
                });
                half(address, upper.into())
            }
        }
    }

    fn write_common(&self, offset: u64, value: u32) {
        let mut state = self.state();
        match offset {
            common::DEVICE_FEATURE_SELECT => state.device_select = value,
            common::DRIVER_FEATURE_SELECT => state.driver_select = value,
            common::DRIVER_FEATURE => {
                let select = state.driver_select;
                set_half(&mut state.driver_features, select, value);
            }
            common::CONFIG_VECTOR => state.config_vector = vector(value),
            common::DEVICE_STATUS => self.write_status(&mut state, value as u8),
            common::QUEUE_SELECT => state.queue_select = value as u16,
            _ => write_queue(&mut state, offset, value, &self.memory),
        }
    }

    fn write_status(&self, state: &mut DriverState, status: u8) {
        if status == 0 {
            if state.is_live() {
                // What the guest has queued must still get out. The driver
                // reads the status until it is 0.
                state.resetting = true;
                self.wake();
            } else {
                state.reset();
            }
            return;
        }
        if state.resetting {
            return;
        }
        let mut status = status | (state.status & STATUS_NEEDS_RESET);
        let accepted = state.driver_features & FEATURE_VERSION_1 != 0
            && state.driver_features & !self.features == 0;
        if status & STATUS_FEATURES_OK != 0 && !accepted {
            status &= !STATUS_FEATURES_OK;
        }
        let started = status & !state.status & STATUS_DRIVER_OK != 0;
        state.status = status;
        if started {
            let event_idx = state.driver_features & FEATURE_EVENT_IDX != 0;
            for queue in &mut state.queues {
                queue.ring.set_event_idx(event_idx);
            }
            self.wake();
        }
    }
}

impl PciDevice for Transport {
    fn read(&self, _bar: usize, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(offset) = within(offset, DEVICE_CONFIG, self.device_config.len() as u64) {
            let bytes = self.device_config.iter().skip(offset as usize);
            data.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        } else if let Some(offset) = within(offset, COMMON, COMMON_SIZE) {
            let value = self.read_common(offset).to_le_bytes();
            data.iter_mut().zip(value).for_each(|(to, from)| *to = from);
        }
        // The interrupt status stays 0: it belongs to INTx, which is not there.
    }

    fn write(&self, _bar: usize, offset: u64, data: &[u8]) {
        if let Some(offset) = within(offset, COMMON, COMMON_SIZE) {
            for (i, chunk) in data.chunks(4).enumerate() {
                let value = chunk.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
                self.write_common(offset + 4 * i as u64, value);
            }
        } else if let Some(offset) = offset.checked_sub(NOTIFY) {
            let kick = self.kicks.get((offset / NOTIFY_STRIDE) as usize);
            let _ = kick.map(|kick| kick.write(1));
        }
    }

    fn set_bus_master(&self, on: bool) {
        // The event loop works on the queues only with the state locked, so
        // from here on it does not touch memory.
        self.state().bus_master = on;
        if on {
            self.wake();
        }
    }

    fn reset(&self) {
        self.state().reset();
        self.wake();
    }
}

fn write_queue(state: &mut DriverState, offset: u64, value: u32, memory: &GuestMemoryMmap) {
    let live = state.status & STATUS_DRIVER_OK != 0;
    let select = usize::from(state.queue_select);
    let Some(queue) = state.queues.get_mut(select) else { return };
    let ring = &mut queue.ring;
    if offset == common::QUEUE_VECTOR {
        queue.vector = vector(value);
        return;
    }
    // A queue in use does not move.
    if live || ring.ready() {
        return;
    }
    match offset {
        common::QUEUE_SIZE => ring.set_size(value as u16),
        common::QUEUE_ENABLE => {
            ring.set_ready(value == 1);
            if !ring.is_valid(memory) {
                ring.set_ready(false);
            }
        }
        _ => {
            let (register, upper) = wide(offset);
            let (low, high) = if upper { (None, Some(value)) } else { (Some(value), None) };
            match register {
                common::QUEUE_DESC => ring.set_desc_table_address(low, high),
                common::QUEUE_DRIVER => ring.set_avail_ring_address(low, high),
                common::QUEUE_DEVICE => ring.set_used_ring_address(low, high),
                _ => {}
            }
        }
    }
}

/// The register of 8 bytes that `offset` is in, and whether in its upper half.
fn wide(offset: u64) -> (u64, bool) {
    (offset & !7, offset & 4 != 0)
}

/// A vector that the table does not have reads back as none, which is how the
/// driver learns it.
fn vector(value: u32) -> u16 {
    if value < VECTORS.into() { value as u16 } else { NO_VECTOR }
}

fn half(whole: u64, select: u32) -> u32 {
    match select {
        0 => whole as u32,
        1 => (whole >> 32) as u32,
        _ => 0,
    }
}

fn set_half(features: &mut u64, select: u32, value: u32) {
    match select {
        0 => *features = *features & !0xffff_ffff | u64::from(value),
        1 => *features = *features & 0xffff_ffff | u64::from(value) << 32,
        _ => {}
    }
}
