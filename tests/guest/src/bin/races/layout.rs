// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the words of a page are for.
//!
//! Words here and there hold the page's stamp: whose it is, and its generation.
//! Each queue has two words of its own: a sum that its atomics add to, and a mail
//! that it writes. All else is zero.

use farfault_guest_programs::memory::PAGE;

/// 64-bit words of a page.
pub const WORDS: usize = PAGE / 8;
/// Words that hold the stamp, in each part of the page.
pub const STAMPS: [usize; 9] = [0, 64, 128, 192, 256, 320, 384, 448, WORDS - 1];
/// Queues that have words of their own.
pub const QUEUES: usize = 3;

/// The word that atomics of `queue` add to.
pub fn sum(queue: usize) -> usize {
    72 + 8 * queue
}

/// The word that `queue` writes.
pub fn mail(queue: usize) -> usize {
    sum(queue) + 1
}

const MARK: u64 = 0xf5 << 56;
const GENERATIONS: u64 = 1 << 32;

/// The stamp of generation `generation` of `page` in the process called `salt`.
pub fn stamp(salt: u64, page: usize, generation: u64) -> u64 {
    MARK | (salt & 0xff) << 48 | (page as u64 & 0xffff) << 32 | (generation % GENERATIONS)
}

/// The generation in a stamp of that page, if it is one.
pub fn generation(salt: u64, page: usize, word: u64) -> Option<u64> {
    let generation = word % GENERATIONS;
    (word == stamp(salt, page, generation)).then_some(generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_one_use_each() {
        let mut used: Vec<usize> = STAMPS.into();
        used.extend((0..QUEUES).flat_map(|queue| [sum(queue), mail(queue)]));
        used.sort_unstable();
        let count = used.len();
        used.dedup();
        assert_eq!(used.len(), count);
        assert!(used.iter().all(|&word| word < WORDS));
    }

    #[test]
    fn a_stamp_is_of_one_page_of_one_process() {
        let word = stamp(1, 7, 9);
        assert_eq!(generation(1, 7, word), Some(9));
        assert_eq!(generation(1, 8, word), None);
        assert_eq!(generation(2, 7, word), None);
        assert_eq!(generation(1, 7, 0), None);
    }
}
