// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Histogram.

use super::command::{Command, Flow, Progress, Stream};
use crate::section::{Access, PageFault, Section};
use crate::walk::PAGE;

/// Counters, one a byte value.
const VALUES: usize = 256;
/// Bytes that the result takes.
pub const HISTOGRAM_BYTES: u64 = VALUES as u64 * 8;

/// Counts byte values; the counts are stored once all bytes are seen.
pub struct Histogram {
    source: u64,
    destination: u64,
    counts: [u64; VALUES],
    counted: Progress,
    stored: Progress,
}

impl Histogram {
    /// At its start.
    pub fn new(source: u64, destination: u64, length: u64) -> Self {
        let counts = [0; VALUES];
        let (counted, stored) = (Progress::new(length), Progress::new(HISTOGRAM_BYTES));
        Self { source, destination, counts, counted, stored }
    }
}

impl Command for Histogram {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        let Self { source, destination, counts, counted, stored } = self;
        let mut page = [0; PAGE as usize];
        let flow = counted.run(section, |at, section| {
            let [from] = section.piece([at.at(*source, Access::READ)], at.left().min(PAGE))?;
            let length = from.copy_to(&mut page);
            for byte in &page[..length] {
                counts[usize::from(*byte)] += 1;
            }
            Ok(length as u64)
        })?;
        if flow != Flow::Done {
            return Ok(flow);
        }
        stored.run(section, |at, section| {
            let [to] = section.piece([at.at(*destination, Access::WRITE)], at.left())?;
            let bytes = counts.iter().flat_map(|count| count.to_le_bytes());
            for (place, byte) in page.iter_mut().zip(bytes.skip(at.done as usize)) {
                *place = byte;
            }
            to.copy_from(&page[..]);
            Ok(to.len() as u64)
        })
    }

    fn done(&self) -> u64 {
        self.counted.done
    }

    fn streams(&self) -> [Option<Stream>; 2] {
        [self.counted.stream(self.source, Access::READ), None]
    }
}
