// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What we say to a guest's init. A thread of its own writes, so that a guest which does not
//! read holds nobody up.

use super::orders::{Header, Orders};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};

/// So many lines and pieces wait; a guest that reads none misses only its own news.
const MAX_WAITING: usize = 64;

/// The end that any thread may have.
#[derive(Clone)]
pub struct Sender(SyncSender<Arc<[u8]>>);

/// What is to be written.
pub struct Waiting(Receiver<Arc<[u8]>>);

/// Both ends.
pub fn channel() -> (Sender, Waiting) {
    let (sender, receiver) = mpsc::sync_channel(MAX_WAITING);
    (Sender(sender), Waiting(receiver))
}

impl Sender {
    /// Says one line, unless too much waits already.
    pub fn line(&self, line: &serde_json::Value) {
        let _ = self.0.try_send(format!("{line}\n").into_bytes().into());
    }

    /// Orders what is to be done before the command; false if that is nothing.
    pub fn prepare(&self, orders: &Orders) -> io::Result<bool> {
        let Some(archive) = &orders.prepare else { return Ok(false) };
        self.order(&Header::new(archive, orders.terms, true)?, archive)?;
        Ok(true)
    }

    /// Orders the command. To be done once, when little else was said.
    pub fn orders(&self, orders: &Orders) -> io::Result<()> {
        self.order(&Header::new(&orders.archive, orders.terms, false)?, &orders.archive)
    }

    fn order(&self, header: &Header, archive: &Arc<[u8]>) -> io::Result<()> {
        self.line(&serde_json::to_value(header)?);
        let _ = self.0.try_send(Arc::clone(archive));
        Ok(())
    }

    /// Passes on what somebody else has said, as fast as the guest reads; false when it is gone.
    pub fn pass(&self, bytes: &[u8]) -> bool {
        self.0.send(bytes.into()).is_ok()
    }
}

impl Waiting {
    /// Writes all that comes until the guest is gone, or nobody is left who would say anything.
    pub fn write_to(self, mut stream: impl Write) {
        for bytes in self.0 {
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    }
}
