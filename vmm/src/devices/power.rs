// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The registers with which a guest ends the machine: ACPI's sleep control
//! and reset registers, and the keyboard controller's reset line, which is
//! what a kernel without ACPI, or with `reboot=k`, pulls.

use super::ports::{PortDevice, PowerRequest};

/// Port of the sleep control register; the sleep status and reset registers
/// follow it.
pub const BASE: u16 = 0x600;
/// How many ports there are.
pub const COUNT: u16 = 3;
pub const SLEEP_CONTROL: u16 = 0;
pub const SLEEP_STATUS: u16 = 1;
pub const RESET: u16 = 2;
/// What to write to the reset register.
pub const RESET_VALUE: u8 = 1;
/// The sleep type of S5, soft off, in this machine's `\_S5`.
pub const SLEEP_TYPE_OFF: u8 = 5;

/// Port of the keyboard controller's commands.
pub const KEYBOARD_COMMAND: u16 = 0x64;

/// Sleep type and sleep enable.
const SWITCH_OFF: u8 = SLEEP_TYPE_OFF << 2 | 1 << 5;
const PULSE_RESET: u8 = 0xfe;

/// ACPI's registers at [`BASE`].
pub struct Power;

impl PortDevice for Power {
    fn read(&self, _port: u16) -> u8 {
        0
    }

    fn write(&self, port: u16, value: u8) -> Option<PowerRequest> {
        match (port, value) {
            (SLEEP_CONTROL, SWITCH_OFF) => Some(PowerRequest::PowerOff),
            (RESET, RESET_VALUE) => Some(PowerRequest::Reset),
            _ => None,
        }
    }
}

/// The keyboard controller, of which only the reset line is there.
pub struct KeyboardReset;

impl PortDevice for KeyboardReset {
    fn read(&self, _port: u16) -> u8 {
        // Input buffer empty: ready for a command.
        0
    }

    fn write(&self, _port: u16, value: u8) -> Option<PowerRequest> {
        (value == PULSE_RESET).then_some(PowerRequest::Reset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_soft_off_with_sleep_enable_switches_off() {
        assert_eq!(Power.write(SLEEP_CONTROL, 5 << 2 | 1 << 5), Some(PowerRequest::PowerOff));
        assert_eq!(Power.write(SLEEP_CONTROL, 5 << 2), None);
        assert_eq!(Power.write(SLEEP_CONTROL, 3 << 2 | 1 << 5), None);
        assert_eq!(Power.write(SLEEP_STATUS, 0xff), None);
    }

    #[test]
    fn both_reset_registers_reset() {
        assert_eq!(Power.write(RESET, RESET_VALUE), Some(PowerRequest::Reset));
        assert_eq!(Power.write(RESET, 0), None);
        assert_eq!(KeyboardReset.write(0, 0xfe), Some(PowerRequest::Reset));
        assert_eq!(KeyboardReset.write(0, 0xd1), None);
    }
}
