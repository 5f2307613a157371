// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The console on the event loop: answers the driver's control messages and
//! gives each port its turn when its queue is kicked or its stream is ready.

use super::control::{self, FromDriver};
use super::port::{ConsolePort, Next};
use super::queues::{DriverState, Filled};
use super::saved::SavedDriver;
use super::transport::Transport;
use crate::devices::stream::Stream;
use crate::pci::Msix;
use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use vm_memory::GuestMemoryMmap;

/// Feature: more than one port, with names.
const FEATURE_MULTIPORT: u64 = 1 << 1;

const CONTROL_RECEIVE: usize = 2;
const CONTROL_TRANSMIT: usize = 3;
/// Messages that wait for the driver to offer a buffer; with more than that,
/// its own messages wait.
const BACKLOG: usize = 64;
/// Longest message taken from the driver.
const LIMIT: usize = 64;
/// Control messages handled before others get their turn.
const TURN: usize = 64;

/// Event tokens: streams first, then kicks, then the wake-up.
const KICKS: u32 = 1 << 8;
const WAKE: u32 = 1 << 16;

/// The registers of a console with `ports` ports.
pub fn transport(
    ports: usize,
    memory: Arc<GuestMemoryMmap>,
    msix: Arc<Msix>,
) -> io::Result<Arc<Transport>> {
    // Columns, rows, ports, and what is written in an emergency (virtio 1.3, 5.3.4).
    let config = [[0; 4], (ports as u32).to_le_bytes(), [0; 4]].concat();
    Ok(Arc::new(Transport::new(FEATURE_MULTIPORT, 2 * (ports + 1), config, memory, msix)?))
}

/// The event loop's side of the console.
pub struct Console {
    transport: Arc<Transport>,
    ports: Vec<ConsolePort>,
    to_driver: VecDeque<Vec<u8>>,
    generation: u64,
    flushed: bool,
}

/// An idle console, as a value.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedConsole {
    driver: SavedDriver,
    /// Which ports are open.
    open: Vec<bool>,
}

impl Console {
    /// A console whose ports have these names and streams.
    pub fn new(
        transport: Arc<Transport>,
        ports: Vec<(&'static str, UnixStream)>,
    ) -> io::Result<Console> {
        let port =
            |(id, (name, socket))| Ok(ConsolePort::new(id, name, Stream::new(socket, id as u32)?));
        let ports = ports.into_iter().enumerate().map(port).collect::<io::Result<_>>()?;
        Ok(Console { transport, ports, to_driver: VecDeque::new(), generation: 0, flushed: true })
    }

    /// The console as a value; none while it is at work. The guest does not run meanwhile.
    pub fn save(&self) -> Option<SavedConsole> {
        let state = self.transport.state();
        let has_told_all = self.to_driver.is_empty() && state.generation == self.generation;
        let driver = state.save().filter(|_| has_told_all)?;
        let open = self.ports.iter().map(ConsolePort::save).collect::<Option<_>>()?;
        Some(SavedConsole { driver, open })
    }

    /// Makes a new console what `saved` was; false if that had other ports.
    pub fn restore(&mut self, saved: &SavedConsole) -> bool {
        if self.ports.len() != saved.open.len() || !self.transport.state().restore(&saved.driver) {
            return false;
        }
        for (port, open) in self.ports.iter_mut().zip(&saved.open) {
            port.set_open(*open);
        }
        // What the driver has offered may be used now.
        self.transport.wake();
        true
    }

    /// The guest runs no more: what it has queued is all there will be. The
    /// event loop has to run until [`Console::is_flushed`].
    pub fn begin_flush(&mut self) {
        self.flushed = false;
        self.transport.wake();
    }

    /// Whether at the last look all output was written.
    pub fn is_flushed(&self) -> bool {
        self.flushed
    }

    /// Everybody's turn.
    fn pump(&mut self, ops: &mut EventOps) {
        let transport = Arc::clone(&self.transport);
        let mut state = transport.state();
        if state.resetting {
            self.finish_reset(&mut state);
        }
        if state.generation != self.generation {
            self.generation = state.generation;
            self.to_driver.clear();
            self.ports.iter_mut().for_each(ConsolePort::reset);
        }
        let mut again = self.listen(&mut state);
        for (id, port) in (0..).zip(&mut self.ports) {
            match port.pump(&mut state) {
                Next::Wait => {}
                Next::Again => again = true,
                Next::Ended => self.to_driver.push_back(control::port_open(id, false)),
            }
        }
        self.flushed = !again && self.ports.iter().all(ConsolePort::is_flushed);
        self.speak(&mut state);
        drop(state);
        for port in &mut self.ports {
            port.watch(ops);
        }
        if again {
            self.transport.wake();
        }
    }

    /// The driver has asked for a reset: it is done as soon as all that the
    /// guest had written before is written.
    fn finish_reset(&mut self, state: &mut DriverState) {
        let mut waiting = false;
        for port in &mut self.ports {
            waiting |= port.send(state) == Next::Again || !port.is_flushed();
        }
        if !waiting {
            state.reset();
        }
    }

    /// Takes the driver's control messages; says whether there are more.
    fn listen(&mut self, state: &mut DriverState) -> bool {
        for _ in 0..TURN {
            if self.to_driver.len() >= BACKLOG {
                // The driver kicks when it offers buffers for the answers.
                return false;
            }
            let Some(taken) = state.take(CONTROL_TRANSMIT, LIMIT) else { return false };
            state.give_back(CONTROL_TRANSMIT, taken.head, 0);
            if let Some(message) = FromDriver::parse(&taken.bytes) {
                self.answer(message);
            }
        }
        true
    }

    fn answer(&mut self, message: FromDriver) {
        match message {
            FromDriver::DeviceReady(true) => {
                let ids = 0..self.ports.len() as u32;
                self.to_driver.extend(ids.map(control::port_add));
            }
            FromDriver::PortReady(id, true) => {
                if let Some(port) = self.ports.get(id as usize) {
                    self.to_driver.push_back(control::port_name(id, port.name));
                    self.to_driver.push_back(control::port_open(id, true));
                }
            }
            FromDriver::PortOpen(id, open) => {
                if let Some(port) = self.ports.get_mut(id as usize) {
                    port.set_open(open);
                }
            }
            FromDriver::DeviceReady(false) | FromDriver::PortReady(_, false) => {}
        }
    }

    /// Sends control messages as far as the driver has offered buffers.
    fn speak(&mut self, state: &mut DriverState) {
        while let Some(message) = self.to_driver.front() {
            let filled = state.fill(CONTROL_RECEIVE, message.len(), |buffer| {
                let count = buffer.len().min(message.len());
                buffer[..count].copy_from_slice(&message[..count]);
                count
            });
            if filled != Filled::One {
                return;
            }
            self.to_driver.pop_front();
        }
    }
}

impl MutEventSubscriber for Console {
    fn init(&mut self, ops: &mut EventOps) {
        // Adding fresh descriptors to a fresh loop cannot fail.
        let wake = self.transport.wake_event();
        let _ = ops.add(Events::with_data(wake, WAKE, EventSet::IN));
        for (index, kick) in self.transport.kicks().enumerate() {
            let _ = ops.add(Events::with_data(kick, KICKS + index as u32, EventSet::IN));
        }
    }

    fn process(&mut self, events: Events, ops: &mut EventOps) {
        let token = events.data();
        if token == WAKE {
            let _ = self.transport.wake_event().read();
        } else if token >= KICKS {
            let kick = self.transport.kicks().nth((token - KICKS) as usize);
            let _ = kick.map(|kick| kick.read());
        }
        self.pump(ops);
    }
}

#[cfg(test)]
#[path = "console_test.rs"]
mod tests;
