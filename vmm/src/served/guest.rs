// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest as its session sees it.

use crate::exit::chain;
use crate::footprint::PrivateDirty;
use crate::qemu::{Child, Monitor, MonitorError};
use crate::serve::Inside;
use crate::session::Guest;
use crate::stats::{Counters, Sample, named};
use parking_lot::Mutex;
use std::sync::Arc;

/// The port of the machine behind which the accelerator comes.
pub const PORT: &str = "behind";

/// A QEMU that runs, and the device for it.
pub struct ServedGuest<'c> {
    child: &'c Child,
    device: Inside,
    monitor: Arc<Mutex<Monitor>>,
    coming: Mutex<Option<Coming>>,
}

/// What has to be done before the guest may have orders.
struct Coming {
    /// The path to the device's socket.
    socket: String,
    /// The state to go on from, if there is one.
    state: Option<String>,
}

impl<'c> ServedGuest<'c> {
    pub fn new(
        child: &'c Child,
        device: Inside,
        monitor: Arc<Mutex<Monitor>>,
        socket: String,
        state: Option<String>,
    ) -> ServedGuest<'c> {
        let coming = Mutex::new(Some(Coming { socket, state }));
        ServedGuest { child, device, monitor, coming }
    }

    /// Goes on from the state, and gives the machine its device.
    fn complete(&self, coming: &Coming) -> Result<(), MonitorError> {
        let mut monitor = self.monitor.lock();
        if let Some(state) = &coming.state {
            monitor.take_up(state)?;
        }
        monitor.plug(&coming.socket, PORT)
    }
}

impl Guest for ServedGuest<'_> {
    fn stop(&self) {
        self.child.stop();
    }

    fn switch_off(&self) {
        self.child.switch_off();
    }

    fn ready(&self) {
        let Some(coming) = self.coming.lock().take() else { return };
        if let Err(error) = self.complete(&coming) {
            self.child.undo().fail(chain(&error));
        }
    }

    fn counters(&self) -> Sample {
        Sample {
            device: named(&self.device.device_counters()),
            driver: Counters::new(),
            vmm: named(&self.device.traffic()),
        }
    }

    fn memory(&self) -> PrivateDirty {
        self.child.memory()
    }
}
