// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The control port: a JSON object per line, each way.

use crate::console;
use crate::counters::Counters;
use crate::failure::{Doing, Failure};
use crate::ports::{self, Ports};
use crate::wake::Wake;
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
    /// All is prepared, and orders may come.
    Ready { ready: bool },
    /// The command's orders have come.
    Begun { begun: bool },
    /// The workload has come to a point that it names.
    Mark { mark: &'a str, driver: Counters },
    /// The command has ended.
    Exit { exit: i32, driver: Counters },
    /// Init cannot go on.
    Error { error: String },
}

/// What the host asks of init; one of them a line.
#[derive(Debug, Default, Deserialize, PartialEq)]
pub struct Request {
    /// So many bytes follow the line: an archive with the command and its files.
    pub orders: Option<u64>,
    /// Whether there are more to come after these.
    #[serde(default)]
    pub prepares: bool,
    /// What time it is, and a seed: the guest may have been asleep.
    pub wake: Option<Wake>,
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

    /// The other direction.
    pub fn requests(&self) -> Result<Requests, Failure> {
        lock(&self.port).try_clone().map(BufReader::new).doing("read the control port")
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

/// What the host says.
pub type Requests = BufReader<File>;

/// The next request of the host, or nothing when the host is gone.
pub fn next(requests: &mut Requests) -> Option<Request> {
    loop {
        let mut line = String::new();
        match requests.read_line(&mut line) {
            Ok(1..) => {}
            _ => return None,
        }
        match serde_json::from_str(&line) {
            Ok(request) => return Some(request),
            Err(error) => {
                console::say(&format!("control line '{}' ignored: {error}", line.trim_end()));
            }
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
        assert_eq!(line(&Message::Ready { ready: true }), r#"{"ready":true}"#);
        assert_eq!(line(&Message::Begun { begun: true }), r#"{"begun":true}"#);
        let mark = Message::Mark { mark: "warm", driver: driver() };
        assert_eq!(line(&mark), r#"{"mark":"warm","driver":{"faults":3}}"#);
        let exit = Message::Exit { exit: 3, driver: driver() };
        assert_eq!(line(&exit), r#"{"exit":3,"driver":{"faults":3}}"#);
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
        let orders = parse(r#"{"orders":512,"wake":{"realtime":7,"seed":"ab"}}"#).unwrap();
        assert_eq!((orders.orders, orders.wake.unwrap().realtime), (Some(512), 7));
        for line in
            ["", "[]", r#"{"winsize":[24]}"#, r#"{"winsize":[70000,1]}"#, r#"{"signal":"TERM"}"#]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
