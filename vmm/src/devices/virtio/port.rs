// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One port of the console: a pair of queues on one side, a stream on the
//! other. A buffer of the driver stays taken until the stream has accepted
//! all of it, so a slow reader slows the writer in the guest and nothing is
//! kept here without bound.

use super::queues::{DriverState, Filled, Taken};
use crate::devices::stream::{Input, Stream};
use event_manager::{EventOps, EventSet};

/// Most bytes of one buffer; the stock driver's are half as long.
const LIMIT: usize = 64 << 10;
/// Buffers moved before others get their turn.
const TURN: usize = 64;

/// What a port wants after it has had its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To wait for a kick or for its stream.
    Wait,
    /// Another turn.
    Again,
    /// The driver told that the stream has ended; then to wait.
    Ended,
}

pub struct ConsolePort {
    pub name: &'static str,
    stream: Stream,
    receive_queue: usize,
    transmit_queue: usize,
    open: bool,
    told_ended: bool,
    outgoing: Option<(Taken, usize)>,
    wanted: EventSet,
}

impl ConsolePort {
    /// Port `id` on `stream`.
    pub fn new(id: usize, name: &'static str, stream: Stream) -> ConsolePort {
        // The control queues sit between those of port 0 and those of port 1.
        let receive_queue = if id == 0 { 0 } else { 2 * id + 2 };
        ConsolePort {
            name,
            stream,
            receive_queue,
            transmit_queue: receive_queue + 1,
            open: false,
            told_ended: false,
            outgoing: None,
            wanted: EventSet::empty(),
        }
    }

    /// A program in the guest has opened the port, or closed it.
    pub fn set_open(&mut self, open: bool) {
        self.open = open;
    }

    /// Forgets the driver, after a reset.
    pub fn reset(&mut self) {
        self.open = false;
        self.told_ended = false;
        self.outgoing = None;
    }

    /// Whether the stream has accepted all that was taken from the guest.
    pub fn is_flushed(&self) -> bool {
        self.outgoing.is_none()
    }

    /// Whether a program has the port open; none while bytes are on their way, or behind the
    /// end of the stream.
    pub fn save(&self) -> Option<bool> {
        (self.is_flushed() && !self.told_ended).then_some(self.open)
    }

    /// Moves bytes both ways.
    pub fn pump(&mut self, state: &mut DriverState) -> Next {
        self.wanted = EventSet::empty();
        match (self.send(state), self.receive(state)) {
            (Next::Again, _) | (_, Next::Again) => Next::Again,
            (_, next) => next,
        }
    }

    /// Moves bytes from the guest only.
    pub fn send(&mut self, state: &mut DriverState) -> Next {
        for _ in 0..TURN {
            let taken = self.outgoing.take();
            let Some((taken, done)) =
                taken.or_else(|| Some((state.take(self.transmit_queue, LIMIT)?, 0)))
            else {
                return Next::Wait;
            };
            let rest = taken.bytes.get(done..).unwrap_or_default();
            let accepted = self.stream.write(rest);
            if accepted < rest.len() {
                self.outgoing = Some((taken, done + accepted));
                self.wanted |= EventSet::OUT;
                return Next::Wait;
            }
            state.give_back(self.transmit_queue, taken.head, 0);
        }
        Next::Again
    }

    /// Changes what the event loop waits for to what the last turn left.
    pub fn watch(&mut self, ops: &mut EventOps) {
        self.stream.watch(self.wanted, ops);
    }

    fn receive(&mut self, state: &mut DriverState) -> Next {
        // What comes before a program listens waits in the stream.
        if !self.open {
            return Next::Wait;
        }
        for _ in 0..TURN {
            let mut input = Input::Later;
            let filled = state.fill(self.receive_queue, LIMIT, |buffer| {
                input = self.stream.read(buffer);
                if let Input::Data(count) = input { count } else { 0 }
            });
            match (filled, input) {
                (Filled::One, _) => {}
                (Filled::NoBuffer, _) => return Next::Wait,
                (Filled::Nothing, Input::Ended) if !self.told_ended => {
                    self.told_ended = true;
                    return Next::Ended;
                }
                (Filled::Nothing, Input::Ended) => return Next::Wait,
                (Filled::Nothing, _) => {
                    self.wanted |= EventSet::IN;
                    return Next::Wait;
                }
            }
        }
        Next::Again
    }
}
