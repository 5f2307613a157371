// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The port by which a kernel says that it panics (QEMU's pvpanic, ACPI device
//! QEMU0001): it writes there before it prints its last lines and resets.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::ports::{PortDevice, PowerRequest};

pub const PORT: u16 = 0x505;

/// The event that this port takes.
const PANICKED: u8 = 1;

#[derive(Default)]
pub struct PanicPort {
    found: AtomicBool,
}

impl PanicPort {
    /// Whether a driver has read what events the port takes: this kernel would
    /// say that it panics.
    pub fn was_found(&self) -> bool {
        self.found.load(Relaxed)
    }
}

impl PanicPort {
    /// Goes on from where it was found, or not.
    pub fn restore(&self, found: bool) {
        self.found.store(found, Relaxed);
    }
}

impl PortDevice for PanicPort {
    fn read(&self, _port: u16) -> u8 {
        self.found.store(true, Relaxed);
        PANICKED
    }

    fn write(&self, _port: u16, events: u8) -> Option<PowerRequest> {
        (events & PANICKED != 0).then_some(PowerRequest::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_event_of_a_panic_is_one() {
        let port = PanicPort::default();
        assert!(!port.was_found());
        assert_eq!(port.read(0), PANICKED);
        assert!(port.was_found());
        assert_eq!(port.write(0, PANICKED), Some(PowerRequest::Panicked));
        assert_eq!(port.write(0, !PANICKED), None);
    }
}
