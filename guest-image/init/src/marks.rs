// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Marks: named points of a workload at which the host takes a snapshot of all
//! counters.
//!
//! A port can be opened once only, and init has it. So a program that has come
//! to such a point connects to the stream socket `/run/farfault/control`, sends
//! the name and a newline, and reads one line: `ok`, or `error: ` and why. When
//! `ok` comes the mark has been written to the control port and, if the
//! preparation says `"mark_ack":true`, the host has answered `{"marked":NAME}`:
//! nothing that the program does next is in that snapshot.

use crate::control::{Control, Message};
use crate::counters;
use crate::failure::{Doing, Failure};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;

const FOLDER: &str = "/run/farfault";
const SOCKET: &str = "/run/farfault/control";
const LONGEST_NAME: usize = 200;

/// Serves marks on a thread of its own for as long as the machine runs.
pub fn serve(control: Arc<Control>, acknowledged: bool) -> Result<(), Failure> {
    std::fs::create_dir_all(FOLDER).doing("make /run/farfault")?;
    let listener = UnixListener::bind(SOCKET).doing("listen on /run/farfault/control")?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // One thread each: a client that says nothing must not hold up others.
            let control = Arc::clone(&control);
            thread::spawn(move || answer(&client, &control, acknowledged));
        }
    });
    Ok(())
}

fn answer(mut client: &UnixStream, control: &Control, acknowledged: bool) {
    let mut reader = BufReader::new(client).take(LONGEST_NAME as u64 + 2);
    let mut line = String::new();
    let reply = match reader.read_line(&mut line).map_err(|error| error.to_string()) {
        Ok(_) => take(&line, control, acknowledged),
        Err(error) => Err(error),
    };
    let text = match reply {
        Ok(()) => "ok\n".to_owned(),
        Err(error) => format!("error: {error}\n"),
    };
    // A client that is gone does not want the answer.
    let _ = client.write_all(text.as_bytes());
}

fn take(line: &str, control: &Control, acknowledged: bool) -> Result<(), String> {
    let name = name(line)?;
    let mark = Message::Mark { mark: name, driver: counters::read() };
    control.send(&mark).map_err(|error| error.to_string())?;
    if acknowledged {
        control.await_marked(name);
    }
    Ok(())
}

fn name(line: &str) -> Result<&str, String> {
    let name = line.strip_suffix('\n');
    match name {
        Some("") => Err("a mark needs a name".to_owned()),
        _ if name.unwrap_or(line).len() > LONGEST_NAME => {
            Err(format!("the name is longer than {LONGEST_NAME} bytes"))
        }
        Some(name) => Ok(name),
        None => Err("the name ends without a newline".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_of_bounded_length() {
        assert_eq!(name("warm up\n"), Ok("warm up"));
        assert_eq!(name("\n"), Err("a mark needs a name".to_owned()));
        assert_eq!(name("warm"), Err("the name ends without a newline".to_owned()));
        let longest = "x".repeat(LONGEST_NAME);
        assert_eq!(name(&format!("{longest}\n")), Ok(longest.as_str()));
        assert!(name(&format!("{longest}x\n")).unwrap_err().contains("longer than 200"));
        assert!(name(&format!("{longest}xx")).unwrap_err().contains("longer than 200"));
    }
}
