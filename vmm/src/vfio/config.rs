// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The configuration space of a function of the host as the guest has it. Most bytes behind the
//! header are the host's: read there and written there, where VFIO sees to it that nothing can
//! be done that only the host may do. Ours are what says where things are in the guest (BARs,
//! the chains of capabilities) and who gets its interrupts (MSI, MSI-X).

use super::capabilities::{
    self as list, ADVANCED, Capability, EXTENDED, MSI, MSIX, PCIE, POWER, Patch,
};
use super::host::HostFunction;
use super::msi::Msi;
use super::msix::MsixLayout;
use crate::pci::{Bar, CONFIG_SIZE, ConfigSpace, Identity};
use std::ops::Range;
use std::sync::Arc;
use vm_memory::MmapRegion;

const COMMAND: usize = 0x04;
const INTERRUPT_PIN: usize = 0x3d;
/// What of the header is the host's: the status, CardBus information, latencies.
const LIVE_HEADER: [Range<usize>; 3] = [0x06..0x08, 0x28..0x2c, 0x3e..0x40];

const PCIE_FLAGS: usize = 0x02;
const PCIE_TYPE: u16 = 0xf0;
const PCIE_INTEGRATED: u16 = 9 << 4;
const PCIE_VERSION: u16 = 0xf;
/// Registers of a link, which a function on a root bus does not have; the second ones only
/// from version 2 of the capability on.
const PCIE_LINKS: [Range<usize>; 2] = [0x0c..0x14, 0x2c..0x34];
const PCIE_CONTROL: usize = 0x08;
const PCIE_RESET: u16 = 1 << 15;
const ADVANCED_CONTROL: usize = 0x04;
const ADVANCED_RESET: u8 = 1;
const POWER_CONTROL: usize = 0x04;
const POWER_STATE: u8 = 0b11;

const MSIX_LENGTH: usize = 12;
const MSIX_CONTROL: usize = 0x02;
const MSIX_ENABLED: u16 = 1 << 15;
const MSIX_MASKED: u16 = 1 << 14;

/// What is written by the guest is here first, and then passed on.
pub struct PassedConfig {
    ours: ConfigSpace,
    /// Which bytes are the host's.
    live: Vec<bool>,
    capabilities: Vec<Capability>,
    pub msi: Option<Msi>,
    /// In a low-power state its BARs do not answer.
    asleep: bool,
}

impl PassedConfig {
    /// The space of a function of which the host has `raw`. `page` must be fresh and hold
    /// [`CONFIG_SIZE`] bytes.
    pub fn new(raw: &[u8], page: Arc<MmapRegion>, bars: Vec<Bar>, has_pin: bool) -> PassedConfig {
        let capabilities = list::shown(raw);
        let mut config = PassedConfig {
            ours: ConfigSpace::new(page, &identity(raw), bars),
            live: (0..CONFIG_SIZE).map(|at| is_live(at, raw.len())).collect(),
            capabilities,
            msi: None,
            asleep: false,
        };
        let pin = if has_pin { byte(raw, INTERRUPT_PIN) } else { 0 };
        config.take(INTERRUPT_PIN, &[pin], &[]);
        for Patch { at, bytes } in list::chain(&config.capabilities) {
            config.take(at, &bytes, &[]);
        }
        let is_pcie = config.capability(PCIE).is_some();
        let extended = if is_pcie { list::extended_chain(raw) } else { Vec::new() };
        if extended.is_empty() {
            config.live.iter_mut().skip(EXTENDED).for_each(|live| *live = false);
        }
        for Patch { at, bytes } in extended {
            config.take(at, &bytes, &[]);
        }
        if let Some(at) = config.capability(PCIE) {
            let flags = u16_at(raw, at + PCIE_FLAGS) & !PCIE_TYPE | PCIE_INTEGRATED;
            config.take(at + PCIE_FLAGS, &flags.to_le_bytes(), &[]);
            let links = if flags & PCIE_VERSION < 2 { &PCIE_LINKS[..1] } else { &PCIE_LINKS };
            for range in links.iter().filter(|range| at + range.end <= EXTENDED) {
                config.take(at + range.start, &vec![0; range.len()], &[]);
            }
        }
        if let Some(at) = config.capability(MSIX) {
            let size = u16_at(raw, at + MSIX_CONTROL) & !(MSIX_ENABLED | MSIX_MASKED);
            let writable = (MSIX_ENABLED | MSIX_MASKED).to_le_bytes();
            config.take(at + MSIX_CONTROL, &size.to_le_bytes(), &writable);
            config.take(at + 4, &bytes_at(raw, at + 4..at + MSIX_LENGTH), &[]);
        }
        if let Some(at) = config.capability(MSI) {
            let msi = Msi::new(at, u16_at(raw, at + Msi::CONTROL));
            let (bytes, writable) = msi.registers();
            config.take(at + Msi::CONTROL, &bytes, &writable);
            config.msi = Some(msi);
        }
        config
    }

    /// Makes bytes ours.
    fn take(&mut self, at: usize, bytes: &[u8], writable: &[u8]) {
        self.ours.put(at, bytes, writable);
        self.live.iter_mut().skip(at).take(bytes.len()).for_each(|live| *live = false);
    }

    fn capability(&self, id: u8) -> Option<usize> {
        self.capabilities.iter().find(|capability| capability.id == id).map(|found| found.at)
    }

    /// What is ours of it.
    pub fn ours(&self) -> &ConfigSpace {
        &self.ours
    }

    /// Puts a BAR at an address, as firmware does before the guest runs.
    pub fn place(&mut self, index: usize, address: u64) {
        self.ours.place(index, address);
    }

    /// Reads bytes; what lies outside the space reads as ones.
    pub fn read(&self, host: &dyn HostFunction, offset: usize, data: &mut [u8]) {
        self.ours.read(offset, data);
        for range in self.live_ranges(offset, data.len()) {
            host.read_config(range.start, &mut data[range.start - offset..range.end - offset]);
        }
    }

    /// Takes what the guest writes to bytes that are ours; says whether that resets the
    /// function.
    pub fn write(&mut self, offset: usize, data: &[u8]) -> bool {
        self.ours.write(offset, data);
        let written = |at: usize| at.checked_sub(offset).and_then(|i| data.get(i)).copied();
        let register = |id, register| self.capability(id).map(|at| at + register).and_then(written);
        let pcie = register(PCIE, PCIE_CONTROL + 1);
        let advanced = register(ADVANCED, ADVANCED_CONTROL);
        if let Some(state) = register(POWER, POWER_CONTROL) {
            self.asleep = is_asleep(state);
        }
        pcie.is_some_and(|byte| u16::from(byte) << 8 & PCIE_RESET != 0)
            || advanced.is_some_and(|byte| byte & ADVANCED_RESET != 0)
    }

    /// Passes on what the guest has written.
    pub fn forward(&mut self, host: &dyn HostFunction, offset: usize, data: &[u8]) {
        if offset < COMMAND + 2 && offset + data.len() > COMMAND {
            self.forward_command(host);
        }
        for range in self.live_ranges(offset, data.len()) {
            host.write_config(range.start, &data[range.start - offset..range.end - offset]);
        }
        if let Some(at) = self.capability(POWER).filter(|_| self.asleep) {
            // It may not know the state that it was to take.
            let mut state = [0];
            host.read_config(at + POWER_CONTROL, &mut state);
            self.asleep = is_asleep(state[0]);
        }
    }

    /// The host does as the command register says.
    pub fn forward_command(&self, host: &dyn HostFunction) {
        let mut command = [0; 2];
        self.ours.read(COMMAND, &mut command);
        host.write_config(COMMAND, &command);
    }

    /// Ours are as after power-on, and the host follows. It has kept its own through the reset.
    pub fn reset(&mut self, host: &dyn HostFunction) {
        self.ours.reset();
        self.asleep = false;
        if let Some(at) = self.capability(MSIX) {
            self.clear(at + MSIX_CONTROL, MSIX_ENABLED | MSIX_MASKED);
        }
        if let Some(msi) = &self.msi {
            let (bytes, _) = msi.registers();
            self.ours.put(msi.at + Msi::CONTROL, &bytes, &[]);
        }
        self.forward_command(host);
    }

    /// The pending bits of MSI, for the guest to read.
    pub fn set_pending(&mut self, bits: u32) {
        if let Some(at) = self.msi.as_ref().and_then(Msi::pending_at) {
            self.ours.put(at, &bits.to_le_bytes(), &[]);
        }
    }

    fn clear(&mut self, at: usize, bits: u16) {
        let value = self.ours_u16(at) & !bits;
        self.ours.put(at, &value.to_le_bytes(), &[]);
    }

    /// Where a BAR is, if the function answers to memory accesses at all.
    pub fn decoded(&self, bar: &Bar) -> Option<u64> {
        self.ours.decoded(bar).filter(|_| !self.asleep)
    }

    /// MSI-X: whether it is on, and not all of it masked.
    pub fn msix(&self) -> Option<(bool, bool)> {
        let control = self.ours_u16(self.capability(MSIX)? + MSIX_CONTROL);
        Some((control & MSIX_ENABLED != 0, control & MSIX_MASKED == 0))
    }

    fn ours_u16(&self, at: usize) -> u16 {
        let mut bytes = [0; 2];
        self.ours.read(at, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    /// The bytes of an access that are the host's.
    fn live_ranges(&self, offset: usize, size: usize) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let bytes = offset..offset.saturating_add(size).min(CONFIG_SIZE);
        for at in bytes.filter(|at| self.live[*at]) {
            match ranges.last_mut() {
                Some(range) if range.end == at => range.end += 1,
                _ => ranges.push(at..at + 1),
            }
        }
        ranges
    }
}

/// The MSI-X table of a function of which the host has `raw`.
pub fn msix_layout(raw: &[u8]) -> Option<MsixLayout> {
    let at = list::shown(raw).into_iter().find(|capability| capability.id == MSIX)?.at;
    let place = |at| {
        let word = u32::from(u16_at(raw, at)) | u32::from(u16_at(raw, at + 2)) << 16;
        ((word & 7) as usize, u64::from(word & !7))
    };
    let vectors = usize::from(u16_at(raw, at + MSIX_CONTROL) & 0x7ff) + 1;
    Some(MsixLayout { vectors, table: place(at + 4), pending: place(at + 8) })
}

fn identity(raw: &[u8]) -> Identity {
    let pair = |at| (u16_at(raw, at), u16_at(raw, at + 2));
    let class = (0..3).rev().fold(0, |class, i| class << 8 | u32::from(byte(raw, 0x09 + i)));
    Identity { id: pair(0), subsystem: pair(0x2c), class, revision: byte(raw, 8) }
}

fn is_asleep(state: u8) -> bool {
    state & POWER_STATE != 0
}

fn is_live(at: usize, size: usize) -> bool {
    let in_header = at < 0x40;
    let live_header = LIVE_HEADER.iter().any(|range| range.contains(&at));
    at < size && (!in_header || live_header)
}

fn byte(raw: &[u8], at: usize) -> u8 {
    raw.get(at).copied().unwrap_or(0)
}

fn bytes_at(raw: &[u8], range: Range<usize>) -> Vec<u8> {
    range.map(|at| byte(raw, at)).collect()
}

fn u16_at(raw: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([byte(raw, at), byte(raw, at + 1)])
}
