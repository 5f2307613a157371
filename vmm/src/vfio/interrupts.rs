// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Interrupts from the host's function to the guest. Both ends are in the kernel: an event that
//! VFIO raises and KVM takes. What is masked is an event that KVM does not take for the moment;
//! that it was raised is not lost.

use super::host::{HostFunction, Way};
use crate::pci::{DirectLine, DirectMessage, Message};
use std::io;
use std::sync::Arc;

/// The interrupts of a function.
pub struct Interrupts {
    host: Arc<dyn HostFunction>,
    vectors: Vec<Vector>,
    line: Option<Box<dyn DirectLine>>,
    /// How it interrupts now, and by how many events.
    now: Option<(Way, usize)>,
}

struct Vector {
    direct: Box<dyn DirectMessage>,
    connected: Option<Message>,
}

impl Interrupts {
    /// A function that does not interrupt yet. It has as many vectors as there are `messages`.
    pub fn new(
        host: Arc<dyn HostFunction>,
        messages: Vec<Box<dyn DirectMessage>>,
        line: Option<Box<dyn DirectLine>>,
    ) -> Interrupts {
        let vector = |direct| Vector { direct, connected: None };
        let vectors = messages.into_iter().map(vector).collect();
        Interrupts { host, vectors, line, now: None }
    }

    /// From now on the function interrupts this way, by so many events. If it cannot it does not
    /// interrupt at all, and is asked again the next time.
    pub fn switch(&mut self, way: Way, count: usize) -> io::Result<()> {
        let count = count.min(self.vectors.len());
        let (way, count) = match way {
            Way::Line => (self.line.as_ref().map(|_| way), 1),
            way => ((count > 0).then_some(way), count),
        };
        let wanted = way.map(|way| (way, count));
        if self.now == wanted {
            return Ok(());
        }
        self.silence();
        // Also of what is switched on in part only something is to be taken back.
        self.now = wanted;
        let raised = wanted.map_or(Ok(()), |(way, count)| self.raise(way, count));
        if raised.is_err() {
            self.silence();
        }
        raised
    }

    fn raise(&self, way: Way, count: usize) -> io::Result<()> {
        match (way, &self.line) {
            (Way::Line, Some(line)) => {
                self.host.raise(way, &[line.event()])?;
                self.host.wait_for(line.served())
            }
            (Way::Line, None) => Ok(()),
            _ => {
                let events = self.vectors.iter().take(count).map(|vector| vector.direct.event());
                self.host.raise(way, &events.collect::<Vec<_>>())
            }
        }
    }

    /// The function interrupts no more, and what it has raised is forgotten.
    fn silence(&mut self) {
        if let Some((way, _)) = self.now.take() {
            self.host.silence(way);
        }
        for index in 0..self.vectors.len() {
            // Taking a vector away cannot fail.
            let _ = self.connect(index, None);
        }
        for vector in &self.vectors {
            // Fails if it was not raised.
            let _ = vector.direct.event().read();
        }
    }

    /// The message of a vector; while it has none, what is raised is pending.
    pub fn connect(&mut self, index: usize, message: Option<Message>) -> io::Result<()> {
        let Some(vector) = self.vectors.get_mut(index) else { return Ok(()) };
        if vector.connected == message {
            return Ok(());
        }
        if vector.connected.take().is_some() {
            vector.direct.disconnect();
        }
        if let Some(message) = message {
            vector.direct.connect(message)?;
            vector.connected = Some(message);
        }
        Ok(())
    }

    /// Whether a vector is raised and waits for its message.
    pub fn is_pending(&self, index: usize) -> bool {
        let Some(vector) = self.vectors.get(index) else { return false };
        // Nobody else takes what is raised while it has no message, so it can be put back.
        let raised =
            || vector.direct.event().read().and_then(|count| vector.direct.event().write(count));
        vector.connected.is_none() && raised().is_ok()
    }

    /// Pending bits of the vectors from `first` on, as many as there is room for.
    pub fn pending_bits(&self, first: usize, bits: &mut [u8]) {
        for (i, byte) in bits.iter_mut().enumerate() {
            let pending = |bit| u8::from(self.is_pending(first + 8 * i + bit)) << bit;
            *byte = (0..8).fold(0, |bits, bit| bits | pending(bit));
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.silence();
    }
}
