// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The end of the guest's serial log, kept to be shown when things go wrong, or when somebody
//! asks for it.

use crate::output::{printable, write_all};
use std::collections::VecDeque;
use std::fs::File;

const KEPT: usize = 256 << 10;
/// How the kernel announces its end: where to begin to read, and no more than that.
const PANIC: &str = "Kernel panic - not syncing";
/// How it announces what a panic comes of, so many lines before at most.
const CAUSES: [&str; 3] = ["BUG: ", "Oops: ", "[ cut here ]"];
const CAUSE_LINES: usize = 200;

/// A ring of the log's last bytes.
#[derive(Default)]
pub struct SerialLog {
    bytes: VecDeque<u8>,
    shown_on: Option<File>,
}

impl SerialLog {
    pub fn push(&mut self, output: &[u8]) {
        if let Some(file) = &self.shown_on {
            // A lost copy of the log is no reason to lose the run.
            let _ = write_all(file, output);
        }
        self.bytes.extend(output);
        let surplus = self.bytes.len().saturating_sub(KEPT);
        self.bytes.drain(..surplus);
    }

    /// Shows what there is, and what comes, on `file`.
    pub fn show_on(&mut self, file: File) {
        let _ = write_all(&file, self.bytes.make_contiguous());
        self.shown_on = Some(file);
    }

    /// Whether somebody sees it as it comes.
    pub fn is_shown(&self) -> bool {
        self.shown_on.is_some()
    }

    /// The last lines, or, if they tell of a panic, those from what led to it, or from shortly
    /// before it, on: without anything that a terminal would obey.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> =
            text.split(['\n', '\r']).filter(|line| !line.trim().is_empty()).collect();
        let last = all.len().saturating_sub(lines);
        let (first, count) = match all.iter().rposition(|line| line.contains(PANIC)) {
            Some(panic) => {
                let first = panic.saturating_sub(lines / 4).min(last);
                let cause = (panic.saturating_sub(CAUSE_LINES)..first)
                    .find(|line| CAUSES.iter().any(|cause| all[*line].contains(cause)))
                    .unwrap_or(first);
                (cause, first - cause + lines)
            }
            None => (last, lines),
        };
        all.iter().skip(first).take(count).map(|line| printable(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

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
    fn the_tail_begins_with_what_led_to_a_panic() {
        let mut log = SerialLog::default();
        log.push(b"before\nBUG: oh\n");
        for number in 0..50 {
            log.push(format!("trace {number}\n").as_bytes());
        }
        log.push(b"Kernel panic - not syncing: oh\nend\n");
        let tail = log.tail(4);
        assert_eq!(tail.first().zip(tail.last()), Some((&"BUG: oh".to_owned(), &"end".to_owned())));
    }

    #[test]
    fn what_came_before_is_shown_too() {
        let mut log = SerialLog::default();
        log.push(b"one\n");
        let file = tempfile::tempfile().expect("a file");
        log.show_on(file.try_clone().expect("the same file"));
        log.push(b"two\n");
        let mut seen = [0; 16];
        let length = file.read_at(&mut seen, 0).expect("read");
        assert_eq!(&seen[..length], b"one\ntwo\n");
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
