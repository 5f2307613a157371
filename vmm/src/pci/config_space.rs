// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A type 0 configuration space.
//!
//! The bytes live in a page of their own, because the machine maps that page
//! read-only into the guest: nothing in it has a side effect when read, so a
//! read costs no exit. Writes do exit and go through [`ConfigSpace::write`], which
//! lets only writable bits through. Sizing a BAR needs no special case: the
//! address bits below its size are simply not writable.

use super::CONFIG_SIZE;
use super::bar::{Backing, Bar, Width};
use super::msix::PENDING;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vm_memory::{Bytes, MmapRegion, VolatileMemory};

const VENDOR: usize = 0x00;
const DEVICE: usize = 0x02;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION_CLASS: usize = 0x08;
const CACHE_LINE: usize = 0x0c;
const BAR_0: usize = 0x10;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const FIRST_CAPABILITY: usize = 0x40;

const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;
const COMMAND_PARITY: u16 = 1 << 6;
const COMMAND_SERR: u16 = 1 << 8;
const COMMAND_INTX_OFF: u16 = 1 << 10;
const STATUS_CAPABILITIES: u16 = 1 << 4;

const BAR_64_BIT: u32 = 0b100;
const BAR_PREFETCHABLE: u32 = 0b1000;

const CAPABILITY_PCIE: u8 = 0x10;
const CAPABILITY_MSIX: u8 = 0x11;
const CAPABILITY_POWER: u8 = 0x01;
/// PCI Express capability, version 2.
const PCIE_VERSION: u16 = 2;
const PCIE_LENGTH: usize = 0x3c;
const PCIE_LINK_CAPABILITIES: usize = 0x0c;
const PCIE_LINK_STATUS: usize = 0x12;
const PCIE_LINK_CAPABILITIES_2: usize = 0x2c;
/// One lane at 2.5 GT/s, the least there is.
const LINK: u16 = 1 | 1 << 4;
const LINK_SPEEDS: u32 = 1 << 1;
const PCIE_DEVICE_CAPABILITIES: usize = 0x04;
const PCIE_DEVICE_CONTROL: usize = 0x08;
const DEVICE_CAPABILITY_ROLE_BASED: u32 = 1 << 15;
const DEVICE_CAPABILITY_FLR: u32 = 1 << 28;
/// Error reporting, payload and read request sizes: all that a driver may set.
const DEVICE_CONTROL_WRITABLE: u16 = 0x78ff;
const DEVICE_CONTROL_FLR: u16 = 1 << 15;

const MSIX_LENGTH: usize = 12;
const MSIX_WRITABLE: u16 = 0xc000;

const POWER_LENGTH: usize = 8;
const POWER_VERSION: u16 = 3;
const POWER_CONTROL: usize = 4;
/// Nothing is lost on the way from D3hot to D0.
const POWER_NO_SOFT_RESET: u16 = 1 << 3;
const POWER_STATE: u16 = 0b11;

/// What kind of PCI Express endpoint a function is (device/port type).
#[derive(Clone, Copy, Debug)]
pub enum Endpoint {
    /// On the root bus, without a link.
    Integrated = 9,
    /// Behind a port.
    Linked = 0,
}

/// Who a function says it is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Vendor and device.
    pub id: (u16, u16),
    /// Subsystem vendor and subsystem.
    pub subsystem: (u16, u16),
    /// Base class, subclass, programming interface.
    pub class: u32,
    pub revision: u8,
}

/// A configuration space and which of its bits the guest may write.
pub struct ConfigSpace {
    page: Arc<MmapRegion>,
    writable: Vec<u8>,
    bars: Vec<Arc<Bar>>,
    last_pointer: usize,
    end: usize,
    pcie: Option<usize>,
    msix: Option<usize>,
    power: Option<usize>,
}

impl ConfigSpace {
    /// Lays out the header of a function in `page`, which must be fresh and
    /// hold [`CONFIG_SIZE`] bytes.
    pub fn new(page: Arc<MmapRegion>, identity: &Identity, bars: Vec<Bar>) -> ConfigSpace {
        let mut config = ConfigSpace {
            page,
            writable: vec![0; CONFIG_SIZE],
            bars: bars.into_iter().map(Arc::new).collect(),
            last_pointer: CAPABILITIES,
            end: FIRST_CAPABILITY,
            pcie: None,
            msix: None,
            power: None,
        };
        config.set_u16(VENDOR, identity.id.0);
        config.set_u16(DEVICE, identity.id.1);
        config.set_u32(REVISION_CLASS, identity.class << 8 | u32::from(identity.revision));
        config.set_u16(SUBSYSTEM, identity.subsystem.0);
        config.set_u16(SUBSYSTEM + 2, identity.subsystem.1);
        let command =
            COMMAND_MEMORY | COMMAND_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_INTX_OFF;
        config.allow(COMMAND, &command.to_le_bytes());
        config.allow(CACHE_LINE, &[0xff]);
        config.allow(INTERRUPT_LINE, &[0xff]);
        for bar in config.bars.clone() {
            let address = (!(bar.size - 1)).to_le_bytes();
            config.allow(bar_register(bar.index), &address[..registers(bar.width)]);
            config.set_bar(&bar, 0);
        }
        config
    }

    /// Adds a capability and returns where it begins. `body` follows the two
    /// bytes of identifier and link; `writable` says which of its bits the
    /// guest may write, and may be shorter.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> usize {
        let start = self.end;
        self.set_u8(self.last_pointer, start as u8);
        self.set_u16(STATUS, STATUS_CAPABILITIES);
        self.set_u8(start, id);
        for (i, byte) in body.iter().enumerate() {
            self.set_u8(start + 2 + i, *byte);
        }
        self.allow(start + 2, writable);
        self.last_pointer = start + 1;
        self.end = (start + 2 + body.len()).next_multiple_of(4);
        start
    }

    /// Adds the PCI Express capability, with function-level reset.
    pub fn add_pcie(&mut self, endpoint: Endpoint) {
        let mut body = [0; PCIE_LENGTH - 2];
        let mut writable = [0; PCIE_LENGTH - 2];
        let mut set =
            |at: usize, bytes: &[u8]| body[at - 2..][..bytes.len()].copy_from_slice(bytes);
        set(2, &(PCIE_VERSION | (endpoint as u16) << 4).to_le_bytes());
        let capabilities = DEVICE_CAPABILITY_ROLE_BASED | DEVICE_CAPABILITY_FLR;
        set(PCIE_DEVICE_CAPABILITIES, &capabilities.to_le_bytes());
        if let Endpoint::Linked = endpoint {
            set(PCIE_LINK_CAPABILITIES, &LINK.to_le_bytes());
            set(PCIE_LINK_STATUS, &LINK.to_le_bytes());
            set(PCIE_LINK_CAPABILITIES_2, &LINK_SPEEDS.to_le_bytes());
        }
        writable[PCIE_DEVICE_CONTROL - 2..][..2]
            .copy_from_slice(&DEVICE_CONTROL_WRITABLE.to_le_bytes());
        self.pcie = Some(self.add_capability(CAPABILITY_PCIE, &body, &writable));
    }

    /// Adds the power management capability: D0 and D3hot, in which it stays what it was.
    pub fn add_power(&mut self) {
        let mut body = [0; POWER_LENGTH - 2];
        body[..2].copy_from_slice(&POWER_VERSION.to_le_bytes());
        body[POWER_CONTROL - 2..][..2].copy_from_slice(&POWER_NO_SOFT_RESET.to_le_bytes());
        let writable = [[0; 2], POWER_STATE.to_le_bytes()].concat();
        self.power = Some(self.add_capability(CAPABILITY_POWER, &body, &writable));
    }

    /// Adds the MSI-X capability: the table of `vectors` entries is where the BARs
    /// have an area for it.
    pub fn add_msix(&mut self, vectors: u16) {
        let tables =
            self.bars.iter().flat_map(|bar| bar.areas.iter().map(|area| (bar.index, area)));
        let mut tables = tables.filter(|(_, area)| matches!(area.backing, Backing::MsixTable));
        let Some((bar, area)) = tables.next() else { return };
        let table = area.range.start as u32 | bar as u32;
        let mut body = [0; MSIX_LENGTH - 2];
        body[..2].copy_from_slice(&vectors.saturating_sub(1).to_le_bytes());
        body[2..6].copy_from_slice(&table.to_le_bytes());
        body[6..].copy_from_slice(&(table + PENDING as u32).to_le_bytes());
        let start = self.add_capability(CAPABILITY_MSIX, &body, &MSIX_WRITABLE.to_le_bytes());
        self.msix = Some(start);
    }

    /// Sets bytes, and which of their bits the guest may write.
    pub fn put(&mut self, offset: usize, bytes: &[u8], writable: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            self.set_u8(offset + i, *byte);
        }
        self.allow(offset, writable);
    }

    /// Puts a BAR at an address, as firmware does before the guest runs.
    pub fn place(&mut self, index: usize, address: u64) {
        if let Some(bar) = self.bars.iter().find(|bar| bar.index == index).cloned() {
            self.set_bar(&bar, address);
        }
    }

    /// Reads bytes; what lies outside the space reads as ones.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = self.u8(offset.saturating_add(i));
        }
    }

    /// Writes bytes as the guest may. Returns whether it asked for a
    /// function-level reset.
    pub fn write(&mut self, offset: usize, data: &[u8]) -> bool {
        let end = offset.saturating_add(data.len()).min(CONFIG_SIZE);
        let mut dword = offset & !3;
        while dword < end {
            let mut bytes = self.u32(dword).to_le_bytes();
            for (i, byte) in bytes.iter_mut().enumerate() {
                let at = dword + i;
                let Some(new) = at.checked_sub(offset).and_then(|j| data.get(j)) else { continue };
                let writable = self.writable.get(at).copied().unwrap_or(0);
                *byte = (*byte & !writable) | (new & writable);
            }
            // One store, so that a vCPU that reads the page meanwhile sees
            // the old value or the new one.
            self.set_u32(dword, u32::from_le_bytes(bytes));
            dword += 4;
        }
        self.asks_for_reset(offset, data)
    }

    /// Back to the state after power-on, as a function-level reset does it.
    pub fn reset(&mut self) {
        self.set_u16(COMMAND, 0);
        self.set_u8(CACHE_LINE, 0);
        self.set_u8(INTERRUPT_LINE, 0);
        for bar in self.bars.clone() {
            self.set_bar(&bar, 0);
        }
        if let Some(pcie) = self.pcie {
            self.set_u16(pcie + PCIE_DEVICE_CONTROL, 0);
        }
        if let Some(power) = self.power {
            self.set_u16(power + POWER_CONTROL, POWER_NO_SOFT_RESET);
        }
        if let Some(msix) = self.msix {
            let vectors = self.u16(msix + 2) & !MSIX_WRITABLE;
            self.set_u16(msix + 2, vectors);
        }
    }

    pub fn bars(&self) -> &[Arc<Bar>] {
        &self.bars
    }

    /// Where a BAR is, if the function answers to memory accesses at all.
    pub fn decoded(&self, bar: &Bar) -> Option<u64> {
        let register = bar_register(bar.index);
        let upper = match bar.width {
            Width::Bits32 => 0,
            Width::Bits64 => self.u32(register + 4),
        };
        let address = u64::from(self.u32(register)) | u64::from(upper) << 32;
        (self.u16(COMMAND) & COMMAND_MEMORY != 0).then_some(address & !(bar.size - 1))
    }

    /// Whether the function may access memory and send messages.
    pub fn bus_master(&self) -> bool {
        self.u16(COMMAND) & COMMAND_MASTER != 0
    }

    /// The message control word of MSI-X: (enabled, all vectors masked).
    pub fn msix_control(&self) -> (bool, bool) {
        let control = self.msix.map_or(0, |msix| self.u16(msix + 2));
        (control & 1 << 15 != 0, control & 1 << 14 != 0)
    }

    fn asks_for_reset(&self, offset: usize, data: &[u8]) -> bool {
        let high_byte = self.pcie.map(|pcie| pcie + PCIE_DEVICE_CONTROL + 1);
        high_byte
            .and_then(|at| at.checked_sub(offset))
            .and_then(|i| data.get(i))
            .is_some_and(|byte| u16::from(*byte) << 8 & DEVICE_CONTROL_FLR != 0)
    }

    fn set_bar(&mut self, bar: &Bar, address: u64) {
        let register = bar_register(bar.index);
        let kind = if bar.prefetchable { BAR_PREFETCHABLE } else { 0 };
        let lower = (address & !(bar.size - 1)) as u32 | kind;
        match bar.width {
            Width::Bits32 => self.set_u32(register, lower),
            Width::Bits64 => {
                self.set_u32(register, lower | BAR_64_BIT);
                self.set_u32(register + 4, (address >> 32) as u32);
            }
        }
    }

    fn allow(&mut self, offset: usize, bits: &[u8]) {
        for (writable, bits) in self.writable.iter_mut().skip(offset).zip(bits) {
            *writable |= bits;
        }
    }

    fn u8(&self, offset: usize) -> u8 {
        let bytes = self.u32(offset & !3).to_le_bytes();
        bytes[offset & 3]
    }

    fn u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.u8(offset), self.u8(offset + 1)])
    }

    fn u32(&self, offset: usize) -> u32 {
        let page = self.page.as_volatile_slice();
        page.load::<u32>(offset, Ordering::Relaxed).unwrap_or(u32::MAX)
    }

    fn set_u8(&mut self, offset: usize, value: u8) {
        let mut bytes = self.u32(offset & !3).to_le_bytes();
        bytes[offset & 3] = value;
        self.set_u32(offset & !3, u32::from_le_bytes(bytes));
    }

    fn set_u16(&mut self, offset: usize, value: u16) {
        let [low, high] = value.to_le_bytes();
        self.set_u8(offset, low);
        self.set_u8(offset + 1, high);
    }

    fn set_u32(&mut self, offset: usize, value: u32) {
        let page = self.page.as_volatile_slice();
        // Fails only outside the page, where there is nothing to write.
        let _ = page.store(value, offset, Ordering::Relaxed);
    }
}

/// Bytes of a BAR's registers.
fn registers(width: Width) -> usize {
    match width {
        Width::Bits32 => 4,
        Width::Bits64 => 8,
    }
}

fn bar_register(index: usize) -> usize {
    BAR_0 + 4 * index
}
