// SPDX-License-Identifier: Apache-2.0 OR MIT
//! In a first guest: what the session outside says goes on to the second guest's init. The other
//! way go `ready`, `begun`, when the orders are through, and `exit` with all that was counted.

use super::orders::{Header, Terms};
use super::sender::Sender;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};

/// So much of an archive is passed on at once.
const PIECE: usize = 32 << 10;

/// Passes on all that comes over `port` until it ends. Before orders are passed on, `go_on` is
/// called. When the command comes `ordered` hears its terms, and the other side hears when it is
/// through.
pub fn pass_on(
    port: &File,
    init: &Sender,
    mut go_on: impl FnMut(),
    mut ordered: impl FnMut(Terms),
) {
    let mut reader = BufReader::with_capacity(PIECE, port);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line) {
        let header = serde_json::from_slice::<Header>(&line).ok();
        // Anything else may have been said before the guest was ready: the size of a terminal.
        if header.is_some() {
            go_on();
        }
        if let Some(header) = header.as_ref().filter(|header| !header.prepares) {
            ordered(header.terms);
        }
        if !init.pass(&line) {
            return;
        }
        if let Some(header) = header {
            if !pass_archive(reader.by_ref().take(header.orders), init) {
                return;
            }
            if !header.prepares {
                // Who does not hear it has gone.
                let _ = (&mut &*port).write_all(b"{\"begun\":true}\n");
            }
        }
        line.clear();
    }
}

fn pass_archive(mut archive: impl BufRead, init: &Sender) -> bool {
    loop {
        let length = match archive.fill_buf() {
            Ok([]) => return true,
            Ok(bytes) if init.pass(bytes) => bytes.len(),
            _ => return false,
        };
        archive.consume(length);
    }
}
