// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The end of the guest's serial log, kept to be shown when things go wrong.

use crate::output::printable;
use std::collections::VecDeque;

/// How much of the log is kept.
const KEPT: usize = 256 << 10;
/// How the kernel announces its end.
const PANIC_TEXT: &str = "Kernel panic - not syncing";
const PANIC: &[u8] = PANIC_TEXT.as_bytes();

/// A ring of the log's last bytes.
#[derive(Default)]
pub struct SerialLog {
    bytes: VecDeque<u8>,
    /// How many bytes of [`PANIC`] the log ends with.
    matched: usize,
    panicked: bool,
}

impl SerialLog {
    /// Adds output; says whether a panic was seen for the first time.
    pub fn push(&mut self, output: &[u8]) -> bool {
        let before = self.panicked;
        for &byte in output {
            if self.bytes.len() == KEPT {
                self.bytes.pop_front();
            }
            self.bytes.push_back(byte);
            // The first letter occurs once in the text, so a mismatch can
            // only begin a new match at that letter.
            self.matched = match PANIC.get(self.matched) {
                Some(expected) if *expected == byte => self.matched + 1,
                _ => usize::from(PANIC.first() == Some(&byte)),
            };
            self.panicked |= self.matched == PANIC.len();
        }
        self.panicked && !before
    }

    /// The last lines, or, after a panic, those from shortly before it: without
    /// anything that a terminal would obey.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> =
            text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect();
        let panic = all.iter().rposition(|line| line.contains(PANIC_TEXT));
        let last = all.len().saturating_sub(lines);
        let first = panic.map_or(last, |line| line.saturating_sub(lines / 4).min(last));
        all.iter().skip(first).take(lines).map(|line| printable(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_seen_across_pieces_and_once() {
        let mut log = SerialLog::default();
        assert!(!log.push(b"[ 1.0] KKernel pa"));
        assert!(log.push(b"nic - not syncing: oh\n"));
        assert!(!log.push(b"Kernel panic - not syncing: oh\n"));
        assert!(log.panicked);
    }

    #[test]
    fn other_words_are_no_panic() {
        let mut log = SerialLog::default();
        assert!(!log.push(b"Kernel panic - not sync\nKernel panic=1 Kernel panic - no"));
        assert!(!log.panicked);
    }

    #[test]
    fn the_tail_begins_shortly_before_a_panic() {
        let mut log = SerialLog::default();
        for number in 0..50 {
            log.push(format!("before {number}\n").as_bytes());
        }
        log.push(b"Kernel panic - not syncing: oh\n");
        for number in 0..50 {
            log.push(format!("after {number}\n").as_bytes());
        }
        let tail = log.tail(4);
        assert_eq!(tail, ["before 49", "Kernel panic - not syncing: oh", "after 0", "after 1"]);
    }

    #[test]
    fn the_tail_is_bounded_and_printable() {
        let mut log = SerialLog::default();
        for _ in 0..KEPT {
            log.push(b"some words\n");
        }
        log.push(b"one\r\n\x1b[2Jtwo\r\n\r\nlast \xff");
        assert_eq!(log.bytes.len(), KEPT);
        assert_eq!(log.tail(3), ["one", " [2Jtwo", "last \u{fffd}"]);
        assert_eq!(log.tail(0), Vec::<String>::new());
    }
}
