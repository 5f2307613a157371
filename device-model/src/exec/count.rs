// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Word count.

use super::operation::{Flow, Operation, Progress, Stream};
use crate::access::Access;
use crate::section::{PageFault, Section};
use crate::walk::PAGE;

/// Counts words: runs of bytes that are not white space.
pub struct WordCount {
    words: u64,
    in_word: bool,
    progress: Progress<1>,
}

impl WordCount {
    pub fn new(source: u64, length: u64) -> Self {
        let progress = Progress::new([(source, Access::READ)], length);
        Self { words: 0, in_word: false, progress }
    }
}

impl Operation for WordCount {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        let Self { words, in_word, progress } = self;
        let mut page = [0; PAGE as usize];
        progress.run(section, PAGE, |_, [from]| {
            let length = from.copy_to(&mut page);
            for byte in &page[..length] {
                let black = !matches!(byte, b' ' | 0x09..=0x0d);
                *words += u64::from(black && !*in_word);
                *in_word = black;
            }
            length as u64
        })
    }

    fn done_and_result(&self) -> (u64, u64) {
        (self.progress.done, self.words)
    }

    fn streams(&self) -> [Option<Stream>; 2] {
        self.progress.streams()
    }
}
