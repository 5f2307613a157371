// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control port: lines of JSON from the guest's init. The guest is not
//! trusted, so a line has a bound, and what is no message is reported and
//! passed over.

use serde::Deserialize;
use serde_json::Value;
use std::io::{self, Read};

/// The longest line that is read. A guest with thousands of marks stays below.
const MAX_LINE: usize = 1 << 20;

/// What init has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
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
pub fn parse(line: &[u8]) -> Result<Message, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    match line {
        Line { exit: Some(code), driver, stats, .. } => Ok(Message::Exit { code, driver, stats }),
        Line { mark: Some(name), driver, .. } => Ok(Message::Mark { name, driver }),
        Line { error: Some(error), .. } => Ok(Message::Error(printable(&error))),
        Line { started: Some(true), .. } => Ok(Message::Started),
        _ => Err("none of started, mark, exit and error".to_owned()),
    }
}

/// Reads lines until the stream ends, handing each to `deliver`.
pub fn read_lines(mut stream: impl Read, mut deliver: impl FnMut(Result<Message, String>)) {
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

    fn all(input: &[u8]) -> Vec<Result<Message, String>> {
        let mut found = Vec::new();
        read_lines(input, |message| found.push(message));
        found
    }

    #[test]
    fn each_message_is_understood() {
        let input = b"{\"started\":true}\n{\"mark\":\"warm\",\"driver\":{\"faults\":3}}\n\
                      {\"exit\":3,\"driver\":{\"faults\":4}}\n{\"error\":\"no \\u001b[31mport\"}\n";
        let expected = [
            Ok(Message::Started),
            Ok(Message::Mark { name: "warm".into(), driver: json!({"faults": 3}) }),
            Ok(Message::Exit { code: 3, driver: json!({"faults": 4}), stats: None }),
            Ok(Message::Error("no  [31mport".into())),
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
            assert_eq!(found[1..], [Ok(Message::Started)]);
        }
    }

    #[test]
    fn a_line_has_a_bound() {
        let mut input = vec![b'x'; 3 * MAX_LINE];
        input.extend_from_slice(b"\n{\"exit\":0}\n");
        let found = all(&input);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Err("longer than 1048576 bytes".to_owned()));
        assert!(matches!(found[1], Ok(Message::Exit { code: 0, .. })));
    }

    #[test]
    fn an_unfinished_line_is_nothing() {
        assert_eq!(all(b"\n\n{\"exit\":0}"), []);
    }
}
