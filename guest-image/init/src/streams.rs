// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Joins the command's standard streams to the ports.
//!
//! The command gets pipes or a terminal, not the ports themselves: a port can
//! be opened once only, which `/dev/stderr` in a script would run into. A thread
//! copies each stream.

use crate::failure::{Doing, Failure};
use crate::ports::{self, Ports};
use crate::session;
use crate::terminal::Terminal;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

/// What a user types to end the input of a terminal.
const END_OF_FILE: u8 = 4;

/// The ports that are the host's standard streams.
pub struct Streams {
    stdin: File,
    stdout: File,
    stderr: File,
}

/// What came of starting a command.
pub enum Started {
    Running(Child, Joined),
    /// It could not be started, and has this exit code.
    Refused(u8),
}

/// The streams of a command that runs.
pub struct Joined {
    /// The terminal that it has, if any.
    pub terminal: Option<Terminal>,
    copies: Vec<JoinHandle<()>>,
}

impl Streams {
    pub fn open(ports: &Ports) -> Result<Self, Failure> {
        let output = |name| ports.open(name, OpenOptions::new().write(true));
        Ok(Self {
            stdin: ports.open(ports::STDIN, OpenOptions::new().read(true))?,
            stdout: output(ports::STDOUT)?,
            stderr: output(ports::STDERR)?,
        })
    }

    /// The same ports for one command more.
    pub fn again(&self) -> Result<Self, Failure> {
        let share = |port: &File| port.try_clone().doing("share a port");
        Ok(Self {
            stdin: share(&self.stdin)?,
            stdout: share(&self.stdout)?,
            stderr: share(&self.stderr)?,
        })
    }

    /// Starts `command` with them: through pipes, or a terminal if it wants one.
    pub fn start(self, mut command: Command, tty: bool) -> Result<Started, Failure> {
        if tty {
            self.start_in_terminal(command)
        } else {
            self.start_with_pipes(command.stdin(Stdio::piped()))
        }
    }

    /// Starts `command` with the ports themselves, which it must not open once more.
    pub fn start_directly(self, mut command: Command) -> Result<Started, Failure> {
        let complaints = self.stderr.try_clone().doing("share a port")?;
        command.stdin(self.stdin).stdout(self.stdout).stderr(self.stderr);
        session::lead(&mut command, false);
        match command.spawn() {
            Ok(child) => Ok(Started::Running(child, Joined { terminal: None, copies: Vec::new() })),
            Err(error) => refuse(complaints, &command, &error, "\n"),
        }
    }

    /// Starts `command` with the outputs only.
    pub fn start_without_input(self, command: &mut Command) -> Result<Started, Failure> {
        self.start_with_pipes(command.stdin(Stdio::null()))
    }

    fn start_with_pipes(self, command: &mut Command) -> Result<Started, Failure> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        session::lead(command, false);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return refuse(self.stderr, command, &error, "\n"),
        };
        if let Some(pipe) = child.stdin.take() {
            feed(self.stdin, pipe, &[]);
        }
        let stdout = child.stdout.take().map(|pipe| copy(pipe, self.stdout));
        let stderr = child.stderr.take().map(|pipe| copy(pipe, self.stderr));
        let copies = stdout.into_iter().chain(stderr).collect();
        Ok(Started::Running(child, Joined { terminal: None, copies }))
    }

    fn start_in_terminal(self, mut command: Command) -> Result<Started, Failure> {
        let (terminal, slave) = Terminal::open()?;
        let share = || slave.try_clone().map(Stdio::from).doing("share the terminal");
        command.stdin(share()?).stdout(share()?).stderr(share()?);
        session::lead(&mut command, true);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return refuse(self.stdout, &command, &error, "\r\n"),
        };
        // Only the command may hold its end, or the copy would not end.
        drop((command, slave));
        feed(self.stdin, terminal.handle()?, &[END_OF_FILE]);
        let copies = vec![copy(terminal.handle()?, self.stdout)];
        Ok(Started::Running(child, Joined { terminal: Some(terminal), copies }))
    }
}

/// Tells the user why the command could not be started.
fn refuse(
    mut port: File,
    command: &Command,
    error: &io::Error,
    end: &str,
) -> Result<Started, Failure> {
    let (code, reason) = session::explain(command, error);
    write!(port, "{reason}{end}").doing("say why the command does not start")?;
    Ok(Started::Refused(code))
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
