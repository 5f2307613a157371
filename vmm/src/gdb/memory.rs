// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory at a CPU's virtual addresses, page by page.

use super::debuggee::Debuggee;
use super::paging::translate;
use std::io;

const PAGE: u64 = 4096;

/// Pieces of a range, none of which crosses a page: where each begins, and its bytes' place.
fn pieces(address: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = address.wrapping_add(done as u64);
        let left_in_page = (PAGE - at % PAGE) as usize;
        let piece = done..len.min(done + left_in_page);
        done = piece.end;
        (!piece.is_empty()).then_some((at, piece))
    })
}

fn physical(debuggee: &dyn Debuggee, cpu: usize, address: u64) -> io::Result<u64> {
    translate(&debuggee.system(cpu)?, address, |at| {
        let mut word = [0; 8];
        debuggee.read(at, &mut word)?;
        Ok(u64::from_le_bytes(word))
    })
}

/// Reads as much as can be read; so many bytes.
pub fn read(debuggee: &dyn Debuggee, cpu: usize, address: u64, data: &mut [u8]) -> usize {
    for (at, piece) in pieces(address, data.len()) {
        let begin = piece.start;
        let read = physical(debuggee, cpu, at)
            .and_then(|physical| debuggee.read(physical, &mut data[piece]));
        if read.is_err() {
            return begin;
        }
    }
    data.len()
}

/// Writes all, or nothing of it if part of it has no physical address.
pub fn write(debuggee: &dyn Debuggee, cpu: usize, address: u64, data: &[u8]) -> io::Result<()> {
    let places: Vec<_> = pieces(address, data.len())
        .map(|(at, piece)| Ok((physical(debuggee, cpu, at)?, piece)))
        .collect::<io::Result<_>>()?;
    places.into_iter().try_for_each(|(physical, piece)| debuggee.write(physical, &data[piece]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_piece_crosses_a_page() {
        let all = |address, len| pieces(address, len).collect::<Vec<_>>();
        assert_eq!(all(0x1ffe, 2), [(0x1ffe, 0..2)]);
        assert_eq!(all(0x1ffe, 3), [(0x1ffe, 0..2), (0x2000, 2..3)]);
        assert_eq!(all(0x1fff, 4098), [(0x1fff, 0..1), (0x2000, 1..4097), (0x3000, 4097..4098)]);
        assert_eq!(all(u64::MAX, 2), [(u64::MAX, 0..1), (0, 1..2)]);
        assert!(all(7, 0).is_empty());
    }
}
