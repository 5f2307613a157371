// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MSI: one message in configuration space, of which the lowest bits of the data say which of
//! up to 32 vectors it is.

use crate::pci::{ConfigSpace, Message};

const ENABLED: u16 = 1;
/// How many vectors it has, and how many of them it may use: as powers of two.
const CAPABLE: u16 = 0b111 << 1;
const ALLOWED: u16 = 0b111 << 4;
const MAX_ORDER: u16 = 5;
const WIDE: u16 = 1 << 7;
const MASKS: u16 = 1 << 8;

/// The capability, which is ours.
pub struct Msi {
    pub at: usize,
    /// Its control register, off.
    control: u16,
}

impl Msi {
    pub const CONTROL: usize = 2;
    const ADDRESS: usize = 4;

    /// The capability at `at` whose control register the host has as `control`.
    pub fn new(at: usize, control: u16) -> Msi {
        Msi { at, control: control & !(ENABLED | ALLOWED) }
    }

    /// What its registers are from the control register on, and which of their bits the guest
    /// may write.
    pub fn registers(&self) -> (Vec<u8>, Vec<u8>) {
        let mut bytes = self.control.to_le_bytes().to_vec();
        bytes.resize(self.pending() + if self.has_masks() { 4 } else { 0 } - Msi::CONTROL, 0);
        let mut writable = (ENABLED | ALLOWED).to_le_bytes().to_vec();
        writable.extend([0xfc, 0xff, 0xff, 0xff]);
        writable.resize(self.data() - Msi::CONTROL, 0xff);
        writable.extend([0xff, 0xff]);
        if self.has_masks() {
            writable.resize(self.masks() - Msi::CONTROL, 0);
            writable.extend([0xff; 4]);
        }
        (bytes, writable)
    }

    fn is_wide(&self) -> bool {
        self.control & WIDE != 0
    }

    fn has_masks(&self) -> bool {
        self.control & MASKS != 0
    }

    /// Offset of the message's data.
    fn data(&self) -> usize {
        if self.is_wide() { 12 } else { 8 }
    }

    fn masks(&self) -> usize {
        self.data() + 4
    }

    /// Offset of the pending bits, or of the end where there are none.
    fn pending(&self) -> usize {
        self.data() + 4 + if self.has_masks() { 4 } else { 0 }
    }

    /// Where in configuration space the pending bits are.
    pub fn pending_at(&self) -> Option<usize> {
        self.has_masks().then(|| self.at + self.pending())
    }

    /// The message of each vector in use, if it is not masked; none at all if MSI is off.
    pub fn messages(&self, config: &ConfigSpace) -> Option<Vec<Option<Message>>> {
        let u32_at = |offset: usize| {
            let mut bytes = [0; 4];
            config.read(self.at + offset, &mut bytes);
            u32::from_le_bytes(bytes)
        };
        let control = (u32_at(0) >> 16) as u16;
        if control & ENABLED == 0 {
            return None;
        }
        let capable = ((control & CAPABLE) >> 1).min(MAX_ORDER);
        let order = ((control & ALLOWED) >> 4).min(capable);
        let upper = if self.is_wide() { u32_at(Msi::ADDRESS + 4) } else { 0 };
        let address = u64::from(upper) << 32 | u64::from(u32_at(Msi::ADDRESS));
        let (data, count) = (u32_at(self.data()) & 0xffff, 1u32 << order);
        let masks = if self.has_masks() { u32_at(self.masks()) } else { 0 };
        let message = |vector| {
            let data = data & !(count - 1) | vector;
            (masks & 1u32 << vector == 0).then_some(Message { address, data })
        };
        Some((0..count).map(message).collect())
    }
}
