// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The MSI-X table that the guest has instead of the device's. The device's own is VFIO's.

use crate::pci::{Message, is_register_access};
use std::ops::Range;

const ENTRY_SIZE: u64 = 16;
const MASKED: u32 = 1;

/// Where the table and its pending bits are, each by BAR and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixLayout {
    pub vectors: usize,
    pub table: (usize, u64),
    pub pending: (usize, u64),
}

/// What an access to a BAR is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The table, at this offset.
    Table(u64),
    /// The pending bits, at this offset.
    Pending(u64),
}

impl MsixLayout {
    /// What of a BAR must not be mapped.
    pub fn ranges(&self, bar: usize) -> Vec<Range<u64>> {
        let vectors = self.vectors as u64;
        let parts = [(self.table, vectors * ENTRY_SIZE), (self.pending, vectors.div_ceil(64) * 8)];
        let here = parts.into_iter().filter(|((index, _), _)| *index == bar);
        here.map(|((_, start), size)| start..start + size).collect()
    }

    /// What is at an offset of a BAR, if it is one of the two.
    pub fn part(&self, bar: usize, offset: u64) -> Option<Part> {
        let range = self.ranges(bar).into_iter().find(|range| range.contains(&offset))?;
        let is_table = (bar, range.start) == self.table;
        let offset = offset - range.start;
        Some(if is_table { Part::Table(offset) } else { Part::Pending(offset) })
    }
}

/// Each vector is masked at first.
pub struct MsixTable(Vec<Vector>);

#[derive(Clone, Default)]
struct Vector {
    message: Message,
    unmasked: bool,
}

impl MsixTable {
    pub fn new(vectors: usize) -> MsixTable {
        MsixTable(vec![Vector::default(); vectors])
    }

    /// Reads the table. Accesses that the specification does not know read ones.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if !is_register_access(offset, data.len()) {
            data.fill(0xff);
            return;
        }
        for (i, chunk) in data.chunks_exact_mut(4).enumerate() {
            chunk.copy_from_slice(&self.register(offset + 4 * i as u64).to_le_bytes());
        }
    }

    /// Writes the table; the vector that this concerns.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Option<usize> {
        if !is_register_access(offset, data.len()) {
            return None;
        }
        let index = (offset / ENTRY_SIZE) as usize;
        let vector = self.0.get_mut(index)?;
        for (i, chunk) in data.chunks_exact(4).enumerate() {
            let value = chunk.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
            match (offset + 4 * i as u64) % ENTRY_SIZE {
                0 => vector.message.set_lower(value),
                4 => vector.message.set_upper(value),
                8 => vector.message.data = value,
                _ => vector.unmasked = value & MASKED == 0,
            }
        }
        Some(index)
    }

    /// The message of a vector, if it is not masked.
    pub fn message(&self, vector: usize) -> Option<Message> {
        self.0.get(vector).filter(|vector| vector.unmasked).map(|vector| vector.message)
    }

    pub fn vectors(&self) -> usize {
        self.0.len()
    }

    /// All masked and empty.
    pub fn reset(&mut self) {
        self.0.fill(Vector::default());
    }

    fn register(&self, offset: u64) -> u32 {
        let Some(vector) = self.0.get((offset / ENTRY_SIZE) as usize) else { return 0 };
        match offset % ENTRY_SIZE {
            0 => vector.message.address as u32,
            4 => (vector.message.address >> 32) as u32,
            8 => vector.message.data,
            _ => u32::from(!vector.unmasked),
        }
    }
}
