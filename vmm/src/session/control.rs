// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control port: lines of JSON from the guest's init. The guest is not
//! trusted, so a line has a bound, and what is no message is reported and
//! passed over.

use crate::output::printable;
use crate::stats::{Counters, Report};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read};

/// The longest line of a guest: as long as [`MAX_COUNTERS`] take.
const MAX_LINE: u64 = 64 << 10;
/// The longest line of a session in a first guest: its last has all marks of a run, with room to
/// spare.
const MAX_LAST_LINE: u64 = 8 << 20;
/// More counters than any driver has.
const MAX_COUNTERS: usize = 256;
/// The longest name of a counter or a mark. Init takes names of marks up to this
/// length, and then waits for our answer.
const MAX_NAME: usize = 200;
/// The longest text of an error.
const MAX_TEXT: usize = 1000;

/// What init has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlMessage {
    /// Init is up.
    Started,
    /// All is prepared, and orders may come.
    Ready,
    /// The orders have arrived in the second guest.
    Begun,
    /// A named point in the workload, with the driver's counters there.
    Mark { name: String, driver: Counters },
    /// The command has ended.
    Exit { code: u8, driver: Counters, inner: Option<Box<Inner>> },
    /// Init cannot go on.
    Error(String),
}

#[derive(Deserialize)]
struct Line {
    started: Option<bool>,
    ready: Option<bool>,
    begun: Option<bool>,
    mark: Option<String>,
    exit: Option<u8>,
    error: Option<String>,
    #[serde(default)]
    driver: Counters,
}

/// What a session in a first guest has to say of its run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Inner {
    pub stats: Option<Report>,
    /// What is to be told of how it ended.
    #[serde(default)]
    pub told: Vec<String>,
}

fn parse(line: &[u8], reports: bool) -> Result<ControlMessage, String> {
    let wrong = |error: serde_json::Error| text(&error.to_string());
    let Line { started, ready, begun, mark, exit, error, driver } =
        serde_json::from_slice(line).map_err(wrong)?;
    let named = |(name, _): &(String, u64)| name.len() <= MAX_NAME;
    let driver = driver.into_iter().filter(named).take(MAX_COUNTERS).collect();
    match (exit, mark, error) {
        (Some(code), ..) if reports => {
            Ok(ControlMessage::Exit { code, driver, inner: serde_json::from_slice(line).ok() })
        }
        (Some(code), ..) => Ok(ControlMessage::Exit { code, driver, inner: None }),
        (_, Some(name), ..) if name.len() > MAX_NAME => {
            Err("the name of a mark is too long".to_owned())
        }
        (_, Some(name), ..) => Ok(ControlMessage::Mark { name, driver }),
        (.., Some(error)) => Ok(ControlMessage::Error(text(&error))),
        _ if started == Some(true) => Ok(ControlMessage::Started),
        _ if ready == Some(true) => Ok(ControlMessage::Ready),
        _ if begun == Some(true) => Ok(ControlMessage::Begun),
        _ => Err("none of started, ready, mark, exit and error".to_owned()),
    }
}

/// Reads lines until the stream ends, handing each to `deliver`. What comes after
/// the command's end is no message any more. Only a session in a first guest `reports` what it
/// has counted.
pub fn read_lines(
    stream: impl Read,
    reports: bool,
    mut deliver: impl FnMut(Result<ControlMessage, String>),
) {
    let longest = if reports { MAX_LAST_LINE } else { MAX_LINE };
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = (&mut reader).take(longest + 1).read_until(b'\n', &mut line) {
        if line.pop_if(|last| *last == b'\n').is_none() {
            // It is too long, or the stream's last and not finished.
            if !matches!(reader.skip_until(b'\n'), Ok(1..)) {
                return;
            }
            deliver(Err(format!("longer than {longest} bytes")));
        } else if !line.is_empty() {
            let message = parse(&line, reports);
            let ended = matches!(message, Ok(ControlMessage::Exit { .. }));
            deliver(message);
            if ended {
                // The guest must not be held up.
                let _ = io::copy(&mut reader, &mut io::sink());
                return;
            }
        }
        line.clear();
    }
}

/// The beginning of a text, on one line.
fn text(text: &str) -> String {
    printable(text).chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(number: u64) -> Counters {
        Counters::from([("faults".to_owned(), number)])
    }

    fn all(input: &[u8]) -> Vec<Result<ControlMessage, String>> {
        let mut found = Vec::new();
        read_lines(input, false, |message| found.push(message));
        found
    }

    #[test]
    fn each_message_is_understood() {
        let input = b"{\"started\":true}\n{\"mark\":\"warm\",\"driver\":{\"faults\":3}}\n\
                      {\"error\":\"no \\u001b[31mport\"}\n{\"exit\":3,\"driver\":{\"faults\":4}}\n";
        let expected = [
            Ok(ControlMessage::Started),
            Ok(ControlMessage::Mark { name: "warm".into(), driver: faults(3) }),
            Ok(ControlMessage::Error("no  [31mport".into())),
            Ok(ControlMessage::Exit { code: 3, driver: faults(4), inner: None }),
        ];
        assert_eq!(all(input), expected);
    }

    #[test]
    fn what_is_no_message_is_reported_and_passed_over() {
        let deep = [vec![b'['; 10_000], b"\n".to_vec()].concat();
        let cases: [&[u8]; 8] = [
            b"hello\n",
            b"{}\n",
            b"{\"exit\":256}\n",
            b"{\"exit\":0,\"driver\":{\"faults\":[1]}}\n",
            b"{\"exit\":-1}\n",
            b"{\"started\":false}\n",
            b"\xff\xfe\n",
            &deep,
        ];
        for case in cases {
            let found = all(&[case, b"{\"started\":true}\n"].concat());
            assert!(found[0].is_err(), "{}", String::from_utf8_lossy(case));
            assert_eq!(found[1..], [Ok(ControlMessage::Started)]);
        }
    }

    #[test]
    fn counters_are_few_and_have_short_names() {
        let mut driver = json!({ "faults": 3 });
        driver["n".repeat(MAX_NAME + 1)] = 1.into();
        let line = json!({ "exit": 0, "driver": driver }).to_string();
        let expected = ControlMessage::Exit { code: 0, driver: faults(3), inner: None };
        assert_eq!(parse(line.as_bytes(), false), Ok(expected));
        let many: Counters = (0..1000).map(|n| (format!("c{n}"), n)).collect();
        let line = json!({ "mark": "many", "driver": many }).to_string();
        let Ok(ControlMessage::Mark { driver, .. }) = parse(line.as_bytes(), false) else {
            panic!("no mark");
        };
        assert_eq!(driver.len(), MAX_COUNTERS);
        let long = json!({ "mark": "m".repeat(MAX_NAME + 1) }).to_string();
        assert!(parse(long.as_bytes(), false).is_err());
    }

    /// JSON that grows about a hundredfold when it is kept as a tree.
    #[test]
    fn what_is_no_report_is_not_kept() {
        let wild = [b"{\"exit\":0,\"stats\":[", &b"{\"\":0},".repeat(6000)[..], b"0]}\n"].concat();
        let expected = ControlMessage::Exit { code: 0, driver: Counters::new(), inner: None };
        for reports in [false, true] {
            let mut found = Vec::new();
            read_lines(&wild[..], reports, |message| found.push(message));
            assert_eq!(found, [Ok(expected.clone())]);
        }
    }

    #[test]
    fn only_a_session_in_a_first_guest_tells_of_its_run() {
        let line = br#"{"exit":120,"stats":null,"told":["  | f+0x1/0x2","the guest panicked"]}"#;
        let told = |reports| match parse(line, reports) {
            Ok(ControlMessage::Exit { code: 120, inner, .. }) => inner.map(|inner| inner.told),
            other => panic!("{other:?}"),
        };
        assert_eq!(told(false), None);
        let lines = ["  | f+0x1/0x2", "the guest panicked"].map(str::to_owned);
        assert_eq!(told(true), Some(lines.to_vec()));
    }

    #[test]
    fn a_line_has_a_bound() {
        let mut input = vec![b'x'; MAX_LINE as usize + 1];
        input.extend_from_slice(b"\n{\"exit\":0}\n");
        let found = all(&input);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Err("longer than 65536 bytes".to_owned()));
        assert!(matches!(found[1], Ok(ControlMessage::Exit { code: 0, .. })));
    }

    #[test]
    fn nothing_is_said_after_the_end() {
        assert_eq!(all(b"{\"exit\":0}\n{\"exit\":1}\n{\"mark\":\"late\"}\n").len(), 1);
    }

    #[test]
    fn an_unfinished_line_is_nothing() {
        assert_eq!(all(b"\n\n{\"exit\":0}"), []);
    }
}
