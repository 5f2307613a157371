// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the device needs from the machine it sits in.

use std::sync::Arc;

use vm_memory::GuestMemoryMmap;

/// The machine, as the device sees it: memory to reach and a way to interrupt.
pub trait Platform: Send + Sync {
    /// Guest physical memory: what DMA reaches. Asked for whenever the device
    /// comes out of reset, so a hosting whose memory changes resets the device.
    fn memory(&self) -> Arc<GuestMemoryMmap>;
    /// Sends the MSI-X message of `vector`. Called from any thread of the
    /// device, never while an engine holds translations or a lock is held that
    /// an MMIO access could want.
    fn signal(&self, vector: u16);
}
