// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the file should hold: every change done to a vector of bytes.

use std::ops::Range;

/// A file in memory.
#[derive(Default)]
pub struct Model {
    bytes: Vec<u8>,
}

impl Model {
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is in `range`; what lies behind the end reads as zeros, as in the
    /// last page of a mapping.
    pub fn expect(&self, range: Range<usize>) -> Vec<u8> {
        let length = self.len();
        let mut bytes = self.bytes[range.start.min(length)..range.end.min(length)].to_vec();
        bytes.resize(range.len(), 0);
        bytes
    }

    /// Stores `bytes` at `offset`; the file grows if need be.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.grow(offset + bytes.len());
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Cuts or extends it.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.resize(length, 0);
    }

    pub fn grow(&mut self, length: usize) {
        if length > self.len() {
            self.truncate(length);
        }
    }

    /// Zeroes what of `range` is there.
    pub fn zero(&mut self, range: Range<usize>) {
        let length = self.len();
        self.bytes[range.start.min(length)..range.end.min(length)].fill(0);
    }

    pub fn collapse(&mut self, range: Range<usize>) {
        self.bytes.drain(range);
    }

    /// Puts zeros in at `offset`.
    pub fn insert(&mut self, offset: usize, length: usize) {
        let tail = self.bytes.split_off(offset);
        self.bytes.resize(offset + length, 0);
        self.bytes.extend(tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_those_of_a_file() {
        let mut model = Model::default();
        model.write(2, b"abcdef");
        assert_eq!(model.expect(0..10), b"\0\0abcdef\0\0");
        model.zero(3..5);
        model.zero(7..100);
        assert_eq!(model.expect(0..8), b"\0\0a\0\0de\0");
        model.collapse(0..2);
        assert_eq!(model.expect(0..model.len()), b"a\0\0de\0");
        model.insert(3, 2);
        assert_eq!(model.expect(0..model.len()), b"a\0\0\0\0de\0");
        model.truncate(1);
        model.grow(3);
        model.grow(2);
        assert_eq!(model.expect(0..model.len()), b"a\0\0");
    }
}
