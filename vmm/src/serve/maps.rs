// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which DMA addresses lead where, as the client has said. Where they lead is a guest
//! physical address of the device model, and those are made up here: files lie one behind the
//! other (`files.rs`).

use farfault_device_model::{Mapping, Permits, Stretch};
use farfault_vfio_user::{Errno, Span};
use std::collections::BTreeMap;

/// Maps that there can be at a time: more than a client is told of, as unmapping from the midst
/// of one makes two.
const MAX_MAPS: usize = 2 * 65535;

#[derive(Clone, Copy, Debug)]
struct Piece {
    /// The last address; the first is the key.
    last: u64,
    /// Where the first leads.
    address: u64,
    permits: Permits,
}

/// Maps, none of which overlap.
#[derive(Debug, Default)]
pub struct Maps(BTreeMap<u64, Piece>);

impl Maps {
    /// Has a span lead to what is at `address`.
    pub fn insert(&mut self, span: Span, address: u64, permits: Permits) -> Result<(), Errno> {
        if self.overlapping(span).next().is_some() {
            return Err(Errno::EXIST);
        }
        if self.0.len() >= MAX_MAPS {
            return Err(Errno::NOSPC);
        }
        self.0.insert(span.first, Piece { last: span.last, address, permits });
        Ok(())
    }

    /// Takes a span away, whatever of it was mapped; where that has led goes to `gone`.
    pub fn remove(&mut self, span: Span, gone: &mut Vec<Stretch>) {
        let pieces: Vec<(u64, Piece)> = self.overlapping(span).collect();
        for (first, piece) in pieces {
            self.0.remove(&first);
            if first < span.first {
                self.0.insert(first, Piece { last: span.first - 1, ..piece });
            }
            if piece.last > span.last {
                let rest = span.last + 1;
                self.0.insert(rest, Piece { address: piece.address + (rest - first), ..piece });
            }
            let (from, to) = (first.max(span.first), piece.last.min(span.last));
            let start = piece.address + (from - first);
            gone.push(Stretch { start, last: start + (to - from) });
        }
    }

    /// Where an address leads; the piece's bytes from there on lead side by side.
    pub fn find(&self, address: u64) -> Option<Mapping> {
        let (first, piece) = self.0.range(..=address).next_back()?;
        // No piece is longer than a file.
        let left = piece.last.checked_sub(address)? + 1;
        Some(Mapping { address: piece.address + (address - first), left, permits: piece.permits })
    }

    /// Whether anything leads to a stretch.
    pub fn lead_to(&self, stretch: Stretch) -> bool {
        self.0.iter().any(|(first, piece)| {
            let last = piece.address + (piece.last - first);
            piece.address <= stretch.last && stretch.start <= last
        })
    }

    fn overlapping(&self, span: Span) -> impl Iterator<Item = (u64, Piece)> {
        let pieces =
            self.0.range(..=span.last).rev().take_while(move |(_, p)| p.last >= span.first);
        pieces.map(|(first, piece)| (*first, *piece))
    }
}

#[cfg(test)]
#[path = "maps_test.rs"]
mod tests;
