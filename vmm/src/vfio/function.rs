// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A function of the host on the guest's bus. What the guest does to configuration space, to the
//! MSI-X table and to BARs comes together here.

use super::bars::bars;
use super::config::{PassedConfig, msix_layout};
use super::host::{HostFunction, Way};
use super::interrupts::Interrupts;
use super::msix::{MsixLayout, MsixTable, Part};
use crate::output::tell;
use crate::pci::{
    AddressMap, Bar, CONFIG_SIZE, DecodedBars, DirectLine, DirectMessage, PciFunction,
    SavedFunction,
};
use crate::rate_limit::RateLimit;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use vm_memory::MmapRegion;

/// What the host's function has, before the guest has it.
pub struct Survey {
    host: Arc<dyn HostFunction>,
    raw: Vec<u8>,
    layout: Option<MsixLayout>,
}

/// What a guest gives to a function: memory for its configuration space, and ways to interrupt.
pub struct Surroundings {
    pub page: Arc<MmapRegion>,
    /// As many as [`Survey::vectors`] says.
    pub messages: Vec<Box<dyn DirectMessage>>,
    /// If [`Survey::has_pin`].
    pub line: Option<Box<dyn DirectLine>>,
}

/// The function as the guest has it.
pub struct Passthrough {
    /// Its address on the host, for people.
    name: String,
    host: Arc<dyn HostFunction>,
    bars: DecodedBars,
    layout: Option<MsixLayout>,
    state: Mutex<State>,
    begun: Instant,
}

struct State {
    config: PassedConfig,
    table: Option<MsixTable>,
    interrupts: Interrupts,
    log: RateLimit,
}

impl Survey {
    /// Looks at a function, which is reset first.
    pub fn new(host: Arc<dyn HostFunction>) -> Survey {
        host.reset();
        let mut raw = vec![0; host.config_size().min(CONFIG_SIZE)];
        host.read_config(0, &mut raw);
        let layout = msix_layout(&raw);
        Survey { host, raw, layout }
    }

    /// Messages that it can send, by MSI or MSI-X.
    pub fn vectors(&self) -> usize {
        let msix = self.layout.map_or(0, |layout| layout.vectors);
        msix.max(self.host.interrupts(Way::Msi))
    }

    /// Whether it can interrupt by a pin.
    pub fn has_pin(&self) -> bool {
        self.host.interrupts(Way::Line) > 0
    }

    /// Gives it to the guest. `place` says where firmware would put a BAR, if anywhere.
    pub fn pass(
        self,
        name: String,
        surroundings: Surroundings,
        mut place: impl FnMut(&Bar) -> Option<u64>,
    ) -> Passthrough {
        let Survey { host, raw, layout } = self;
        let Surroundings { page, messages, line } = surroundings;
        let ours = |bar| layout.map_or(Vec::new(), |layout| layout.ranges(bar));
        let bars = bars(&*host, &raw, ours);
        let mut config = PassedConfig::new(&raw, page, bars, line.is_some());
        for bar in config.ours().bars().to_vec() {
            if let Some(address) = place(&bar) {
                config.place(bar.index, address);
            }
        }
        config.forward_command(&*host);
        let table = layout.map(|layout| MsixTable::new(layout.vectors));
        let bars = DecodedBars::new(config.ours().bars());
        let interrupts = Interrupts::new(Arc::clone(&host), messages, line);
        let state = State { config, table, interrupts, log: RateLimit::default() };
        let (state, begun) = (Mutex::new(state), Instant::now());
        Passthrough { name, host, bars, layout, state, begun }
    }
}

impl Passthrough {
    /// Has interrupts go where configuration space and table say.
    fn follow(&self, state: &mut State) {
        let State { config, table, interrupts, .. } = state;
        let msi = config.msi.as_ref().and_then(|msi| msi.messages(config.ours()));
        let result = match (config.msix(), table, msi) {
            (Some((true, open)), Some(table), _) => {
                let vectors = table.vectors();
                let message = |vector| table.message(vector).filter(|_| open);
                interrupts.switch(Way::Msix, vectors).and_then(|()| {
                    (0..vectors).try_for_each(|vector| interrupts.connect(vector, message(vector)))
                })
            }
            (_, _, Some(messages)) => interrupts.switch(Way::Msi, messages.len()).and_then(|()| {
                let mut all = (0..).zip(messages);
                all.try_for_each(|(vector, message)| interrupts.connect(vector, message))
            }),
            _ => interrupts.switch(Way::Line, 1),
        };
        self.tell_failure(state, result);
    }

    fn tell_failure(&self, state: &mut State, result: io::Result<()>) {
        let Err(error) = result else { return };
        if state.log.admit(self.begun.elapsed()).is_some() {
            tell(&format!("farfault: {} cannot interrupt as the guest wants: {error}", self.name));
        }
    }

    fn write_table(&self, offset: u64, data: &[u8]) {
        let mut locked = self.state.lock();
        let state = &mut *locked;
        let Some(table) = &mut state.table else { return };
        let Some(vector) = table.write(offset, data) else { return };
        let message = table.message(vector);
        if state.config.msix() == Some((true, true)) {
            let result = state.interrupts.connect(vector, message);
            self.tell_failure(state, result);
        }
    }

    fn read_part(&self, part: Part, data: &mut [u8]) {
        let state = self.state.lock();
        let Some(table) = &state.table else { return };
        match part {
            Part::Table(offset) => table.read(offset, data),
            Part::Pending(offset) => state.interrupts.pending_bits(8 * offset as usize, data),
        }
    }

    fn part(&self, bar: &Bar, offset: u64) -> Option<Part> {
        self.layout?.part(bar.index, offset)
    }
}

impl PciFunction for Passthrough {
    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let mut locked = self.state.lock();
        let State { config, interrupts, .. } = &mut *locked;
        if config.msi.is_some() {
            let mut bits = [0; 4];
            interrupts.pending_bits(0, &mut bits);
            config.set_pending(u32::from_le_bytes(bits));
        }
        config.read(&*self.host, offset, data);
    }

    fn write_config(&self, offset: usize, data: &[u8], map: &mut AddressMap) {
        let mut locked = self.state.lock();
        let state = &mut *locked;
        let reset = state.config.write(offset, data);
        // What goes away is gone for the guest before it is for the host: a vCPU that reaches
        // memory which the device does not answer for would end the run.
        let place = |config: &PassedConfig, bar: &Bar| config.decoded(bar).filter(|_| !reset);
        let stays =
            |bar: &Bar, from: Option<u64>| from.filter(|_| from == place(&state.config, bar));
        map.follow(&self.bars.follow(stays));
        state.config.forward(&*self.host, offset, data);
        if reset {
            state.config.reset(&*self.host);
            state.table.iter_mut().for_each(MsixTable::reset);
        }
        self.follow(state);
        map.follow(&self.bars.follow(|bar, _| state.config.decoded(bar)));
    }

    fn read_memory(&self, address: u64, data: &mut [u8]) -> bool {
        let Some((bar, offset)) = self.bars.find(address) else { return false };
        match self.part(bar, offset) {
            Some(part) => self.read_part(part, data),
            None => self.host.read_bar(bar.index, offset, data),
        }
        true
    }

    fn write_memory(&self, address: u64, data: &[u8]) -> bool {
        let Some((bar, offset)) = self.bars.find(address) else { return false };
        match self.part(bar, offset) {
            Some(Part::Table(offset)) => self.write_table(offset, data),
            // Pending bits are for reading.
            Some(Part::Pending(_)) => {}
            None => self.host.write_bar(bar.index, offset, data),
        }
        true
    }

    /// What is in the device nobody here knows.
    fn save(&self) -> Option<SavedFunction> {
        None
    }

    fn restore(&self, _saved: &SavedFunction, _map: &mut AddressMap) -> bool {
        false
    }
}

impl Drop for Passthrough {
    /// The next one who has the device finds nothing of the guest's in it.
    fn drop(&mut self) {
        self.state.lock().config.reset(&*self.host);
        self.host.reset();
    }
}
