// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control port: lines of JSON from the guest's init. The guest is not
//! trusted, so a line has a bound, and what is no message is reported and
//! passed over.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::io::{self, Read};

/// The longest line that is read. The last line of a first guest, with the
/// statistics of a run that marked thousands of points, stays below.
const MAX_LINE: usize = 16 << 20;
/// More counters than any driver has.
const MAX_COUNTERS: usize = 256;
/// The longest name of a counter or a mark. Init takes names of marks up to this
/// length, and then waits for our answer.
const MAX_NAME: usize = 200;

/// What init has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlMessage {
    /// Init is up.
    Started,
    /// A named point in the workload, with the driver's counters there.
    Mark {
        /// Its name.
        name: String,
        /// The driver's counters.
        driver: Value,
    },
    /// The command has ended.
    Exit {
        /// Its exit code.
        code: u8,
        /// The driver's counters at the end.
        driver: Value,
        /// What the run inside a first guest counted.
        stats: Option<Value>,
    },
    /// Init cannot go on.
    Error(String),
}

#[derive(Deserialize)]
struct Line {
    started: Option<bool>,
    mark: Option<String>,
    exit: Option<u8>,
    error: Option<String>,
    #[serde(default)]
    driver: Value,
    stats: Option<Value>,
}

/// Reads one line.
pub fn parse(line: &[u8]) -> Result<ControlMessage, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| printable(&error.to_string()))?;
    match line {
        Line { exit: Some(code), driver, stats, .. } => {
            Ok(ControlMessage::Exit { code, driver: counters(driver), stats })
        }
        Line { mark: Some(name), .. } if name.len() > MAX_NAME => {
            Err("the name of a mark is too long".to_owned())
        }
        Line { mark: Some(name), driver, .. } => {
            Ok(ControlMessage::Mark { name, driver: counters(driver) })
        }
        Line { error: Some(error), .. } => Ok(ControlMessage::Error(printable(&error))),
        Line { started: Some(true), .. } => Ok(ControlMessage::Started),
        _ => Err("none of started, mark, exit and error".to_owned()),
    }
}

/// Only what counters can be: numbers with names, and not without end, since
/// those of every mark are kept.
fn counters(driver: Value) -> Value {
    match driver {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, value)| name.len() <= MAX_NAME && value.is_u64())
            .take(MAX_COUNTERS)
            .collect::<Map<_, _>>()
            .into(),
        _ => Value::Null,
    }
}

/// Reads lines until the stream ends, handing each to `deliver`.
pub fn read_lines(mut stream: impl Read, mut deliver: impl FnMut(Result<ControlMessage, String>)) {
    let mut line = Vec::new();
    let mut too_long = false;
    let mut buffer = [0u8; 4096];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        for &byte in buffer.iter().take(count) {
            if byte == b'\n' {
                if too_long {
                    deliver(Err(format!("longer than {MAX_LINE} bytes")));
                } else if !line.is_empty() {
                    deliver(parse(&line));
                }
                line.clear();
                too_long = false;
            } else if line.len() < MAX_LINE {
                line.push(byte);
            } else {
                too_long = true;
            }
        }
    }
}

/// Text of the guest made fit for a terminal: no control characters.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn all(input: &[u8]) -> Vec<Result<ControlMessage, String>> {
        let mut found = Vec::new();
        read_lines(input, |message| found.push(message));
        found
    }

    #[test]
    fn each_message_is_understood() {
        let input = b"{\"started\":true}\n{\"mark\":\"warm\",\"driver\":{\"faults\":3}}\n\
                      {\"exit\":3,\"driver\":{\"faults\":4}}\n{\"error\":\"no \\u001b[31mport\"}\n";
        let expected = [
            Ok(ControlMessage::Started),
            Ok(ControlMessage::Mark { name: "warm".into(), driver: json!({"faults": 3}) }),
            Ok(ControlMessage::Exit { code: 3, driver: json!({"faults": 4}), stats: None }),
            Ok(ControlMessage::Error("no  [31mport".into())),
        ];
        assert_eq!(all(input), expected);
    }

    #[test]
    fn what_is_no_message_is_reported_and_passed_over() {
        let deep = [vec![b'['; 10_000], b"\n".to_vec()].concat();
        let cases: [&[u8]; 7] = [
            b"hello\n",
            b"{}\n",
            b"{\"exit\":256}\n",
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
    fn only_numbers_with_names_are_counters() {
        let mut driver = json!({"faults": 3, "wild": [1], "text": "x", "minus": -1, "half": 0.5});
        driver["n".repeat(MAX_NAME + 1)] = 1.into();
        assert_eq!(counters(driver), json!({"faults": 3}));
        let many: Map<_, _> = (0..1000).map(|n| (format!("c{n}"), n.into())).collect();
        assert_eq!(counters(many.into()).as_object().map(Map::len), Some(MAX_COUNTERS));
        assert_eq!(counters(json!([1, 2])), Value::Null);
        let long = json!({ "mark": "m".repeat(MAX_NAME + 1) }).to_string();
        assert!(parse(long.as_bytes()).is_err());
    }

    #[test]
    fn a_line_has_a_bound() {
        let mut input = vec![b'x'; MAX_LINE + 1];
        input.extend_from_slice(b"\n{\"exit\":0}\n");
        let found = all(&input);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Err("longer than 16777216 bytes".to_owned()));
        assert!(matches!(found[1], Ok(ControlMessage::Exit { code: 0, .. })));
    }

    #[test]
    fn an_unfinished_line_is_nothing() {
        assert_eq!(all(b"\n\n{\"exit\":0}"), []);
    }
}
