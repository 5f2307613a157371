// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control port: a JSON object per line, each way.

use crate::console;
use crate::counters::Counters;
use crate::failure::{Doing, Failure};
use crate::ports::{self, Ports};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What init tells the host.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Message<'a> {
    /// Init is up.
    Started { started: bool },
    /// The workload has come to a point that it names.
    Mark { mark: &'a str, driver: Counters },
    /// The command has ended.
    Exit {
        exit: i32,
        driver: Counters,
        #[serde(skip_serializing_if = "Option::is_none")]
        stats: Option<serde_json::Value>,
    },
    /// Init cannot go on.
    Error { error: String },
}

/// What the host asks of init; one of them a line.
#[derive(Debug, Default, Deserialize, PartialEq)]
pub struct Request {
    /// The terminal's new rows and columns.
    pub winsize: Option<[u16; 2]>,
    /// A signal for the command.
    pub signal: Option<i32>,
    /// The host has taken its snapshot for the mark of this name.
    pub marked: Option<String>,
}

/// The port. Any thread may speak; one listens.
pub struct Control {
    port: Mutex<File>,
    marked: Mutex<Vec<String>>,
    heard: Condvar,
}

impl Control {
    pub fn open(ports: &Ports) -> Result<Self, Failure> {
        let port = ports.open(ports::CONTROL, OpenOptions::new().read(true).write(true))?;
        Ok(Self { port: Mutex::new(port), marked: Mutex::default(), heard: Condvar::new() })
    }

    pub fn send(&self, message: &Message) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(message).doing("write a control line")?;
        line.push(b'\n');
        lock(&self.port).write_all(&line).doing("write to the control port")
    }

    /// A second handle for [`listen`].
    pub fn reader(&self) -> Result<File, Failure> {
        lock(&self.port).try_clone().doing("read the control port")
    }

    /// Notes that the host has answered the mark `name`.
    pub fn note_marked(&self, name: String) {
        lock(&self.marked).push(name);
        self.heard.notify_all();
    }

    /// Waits for the host's answer to the mark `name`.
    pub fn await_marked(&self, name: &str) {
        let mut marked = lock(&self.marked);
        loop {
            if let Some(index) = marked.iter().position(|answered| answered == name) {
                marked.swap_remove(index);
                return;
            }
            marked = self.heard.wait(marked).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Hands every request of the host to `serve`, until the host is gone.
pub fn listen(reader: File, mut serve: impl FnMut(Request)) {
    for line in BufReader::new(reader).lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(request) => serve(request),
            Err(error) => console::say(&format!("control line '{line}' ignored: {error}")),
        }
    }
}

/// A thread that panicked has not left anything half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &Message) -> String {
        serde_json::to_string(message).unwrap()
    }

    #[test]
    fn messages_look_as_agreed() {
        let driver = || Counters::from([("faults".to_owned(), 3)]);
        assert_eq!(line(&Message::Started { started: true }), r#"{"started":true}"#);
        let mark = Message::Mark { mark: "warm", driver: driver() };
        assert_eq!(line(&mark), r#"{"mark":"warm","driver":{"faults":3}}"#);
        let exit = |stats| Message::Exit { exit: 3, driver: driver(), stats };
        assert_eq!(line(&exit(None)), r#"{"exit":3,"driver":{"faults":3}}"#);
        let stats = Some(serde_json::json!({"exit": 3}));
        assert_eq!(line(&exit(stats)), r#"{"exit":3,"driver":{"faults":3},"stats":{"exit":3}}"#);
        let error = Message::Error { error: "two\nlines".into() };
        assert_eq!(line(&error), r#"{"error":"two\nlines"}"#);
    }

    #[test]
    fn requests_are_read_and_others_refused() {
        let parse = serde_json::from_str::<Request>;
        let winsize = Request { winsize: Some([24, 80]), ..Request::default() };
        assert_eq!(parse(r#"{"winsize":[24,80]}"#).unwrap(), winsize);
        let signal = Request { signal: Some(15), ..Request::default() };
        assert_eq!(parse(r#"{"signal":15,"later":1}"#).unwrap(), signal);
        for line in
            ["", "[]", r#"{"winsize":[24]}"#, r#"{"winsize":[70000,1]}"#, r#"{"signal":"TERM"}"#]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
