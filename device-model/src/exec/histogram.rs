// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Histogram.

use super::operation::{Flow, Operation, Progress, Stream};
use crate::access::Access;
use crate::section::{PageFault, Section};
use crate::walk::PAGE;

/// Counters, one a byte value.
const VALUES: usize = 256;
/// Bytes that the result takes.
pub const HISTOGRAM_BYTES: u64 = VALUES as u64 * 8;

/// Counts byte values; the counts are stored once all bytes are seen.
pub struct Histogram {
    counts: [u64; VALUES],
    counted: Progress<1>,
    stored: Progress<1>,
}

impl Histogram {
    pub fn new(source: u64, destination: u64, length: u64) -> Self {
        let counted = Progress::new([(source, Access::READ)], length);
        let stored = Progress::new([(destination, Access::WRITE)], HISTOGRAM_BYTES);
        Self { counts: [0; VALUES], counted, stored }
    }
}

impl Operation for Histogram {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        let Self { counts, counted, stored } = self;
        let mut page = [0; PAGE as usize];
        let flow = counted.run(section, PAGE, |_, [from]| {
            let length = from.copy_to(&mut page);
            for byte in &page[..length] {
                counts[usize::from(*byte)] += 1;
            }
            length as u64
        })?;
        if flow != Flow::Done {
            return Ok(flow);
        }
        for (place, count) in page.chunks_exact_mut(8).zip(counts) {
            place.copy_from_slice(&count.to_le_bytes());
        }
        stored.run(section, PAGE, |done, [to]| {
            to.copy_from(&page[done as usize..]);
            to.len() as u64
        })
    }

    fn done_and_result(&self) -> (u64, u64) {
        (self.counted.done, 0)
    }

    fn streams(&self) -> [Option<Stream>; 2] {
        self.counted.streams()
    }
}
