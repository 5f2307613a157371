// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Joins the command's standard streams to the ports.
//!
//! The command gets pipes or a terminal, not the ports themselves: a port can
//! be opened once only, which `/dev/stderr` in a script would run into. A thread
//! copies each stream.

use crate::failure::{Doing, Failure};
use crate::ports::{self, Ports};
use crate::terminal::Terminal;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

/// What a user types to end the input of a terminal.
const END_OF_FILE: u8 = 4;

/// The streams of a command that has not started yet.
pub struct Streams {
    stdin: File,
    stdout: File,
    stderr: File,
    terminal: Option<(Terminal, OwnedFd)>,
}

/// The streams of a command that runs.
pub struct Joined {
    /// The terminal that it has, if any.
    pub terminal: Option<Terminal>,
    copies: Vec<JoinHandle<()>>,
}

impl Streams {
    /// Opens the ports, and a terminal if the command wants one.
    pub fn open(ports: &Ports, tty: bool) -> Result<Self, Failure> {
        let output = |name| ports.open(name, OpenOptions::new().write(true));
        Ok(Self {
            stdin: ports.open(ports::STDIN, OpenOptions::new().read(true))?,
            stdout: output(ports::STDOUT)?,
            stderr: output(ports::STDERR)?,
            terminal: if tty { Some(Terminal::open()?) } else { None },
        })
    }

    /// Starts `command` with them.
    pub fn start(self, mut command: Command) -> Result<(Child, Joined), Failure> {
        match self.terminal {
            None => {
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = command.spawn().doing("start the command")?;
                if let Some(pipe) = child.stdin.take() {
                    feed(self.stdin, pipe, &[]);
                }
                let stdout = child.stdout.take().map(|pipe| copy(pipe, self.stdout));
                let stderr = child.stderr.take().map(|pipe| copy(pipe, self.stderr));
                let copies = stdout.into_iter().chain(stderr).collect();
                Ok((child, Joined { terminal: None, copies }))
            }
            Some((terminal, slave)) => {
                let share = || slave.try_clone().map(Stdio::from).doing("share the terminal");
                command.stdin(share()?).stdout(share()?).stderr(share()?);
                let child = command.spawn().doing("start the command")?;
                // Only the command may hold its end, or the copy would not end.
                drop((command, slave));
                feed(self.stdin, terminal.handle()?, &[END_OF_FILE]);
                let copies = vec![copy(terminal.handle()?, self.stdout)];
                Ok((child, Joined { terminal: Some(terminal), copies }))
            }
        }
    }
}

impl Joined {
    /// Waits until all that the command and its children have written is with
    /// the host. All of them must have ended.
    pub fn drain(self) {
        for copy in self.copies {
            // A copy that panicked has said so on the console.
            let _ = copy.join();
        }
    }
}

/// Copies the host's stdin until the host closes it, then says `farewell` and
/// closes `to`. Nobody waits for this thread: it may sleep in its read for ever.
fn feed(port: File, mut to: impl Write + Send + 'static, farewell: &'static [u8]) {
    thread::spawn(move || {
        // A host that sent all it had and closed its end at once looks like one
        // that never opened it; what it sent can be read all the same.
        let _ = ports::await_host(&port);
        pump(port, &mut to);
        // A command that has closed its end does not miss it.
        let _ = to.write_all(farewell);
    });
}

fn copy(from: impl Read + Send + 'static, port: File) -> JoinHandle<()> {
    thread::spawn(move || pump(from, port))
}

/// Copies until either side ends. A terminal whose other end is closed reads as
/// EIO, a reader that has gone away as EPIPE: both are the ordinary end.
fn pump(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; 32 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                let read = buffer.get(..count).unwrap_or_default();
                if to.write_all(read).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most three bytes a read, and one interruption.
    struct Trickle<'a>(&'a [u8], bool);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if !std::mem::replace(&mut self.1, true) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = self.0.len().min(3);
            self.0.read(&mut buffer[..count])
        }
    }

    #[test]
    fn a_pump_moves_everything_in_order() {
        let mut moved = Vec::new();
        pump(Trickle(b"ordinary memory", false), &mut moved);
        assert_eq!(moved, b"ordinary memory");
    }

    #[test]
    fn a_pump_ends_when_the_reader_is_gone() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        pump(io::repeat(1), writer);
    }
}
