// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host's side of a running guest: its streams, its control port, its time
//! limits and its end. It cannot tell which hosting carries the guest.

mod control;
mod serial;
mod signals;
mod streams;
mod terminal;
mod verdict;

use crate::machine::{GuestStreams, MachineEnd};
use crate::output;
use crate::stats::{Recorder, Sample};
use control::ControlMessage;
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use serial::SerialLog;
use signals::{Blocked, Signals};
use std::fs::File;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};
pub use streams::{Stdio, connect};
use terminal::RawTerminal;
use verdict::{GuestEvent, Verdict};
pub use verdict::{RunEnd, SessionResult};

/// A guest that runs, as its session sees it.
pub trait Guest: Send + Sync {
    /// Ends it. What it has already written still arrives.
    fn stop(&self);
    /// Its init is up.
    fn mark_started(&self) {}
    fn counters(&self) -> Sample {
        Sample::default()
    }
}

/// Runs a guest on the calling thread until it ends.
pub type Runner = Box<dyn FnOnce() -> Result<MachineEnd, String> + Send>;

/// How a session is held.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionOptions {
    /// The user's terminal is the guest's.
    pub raw: bool,
    /// Input goes to the serial console, and what it prints is shown.
    pub console: bool,
    /// There is no input.
    pub no_input: bool,
    /// The guest is the first one of nested mode.
    pub first_guest: bool,
    /// The serial log is shown as it comes.
    pub serial: bool,
    /// How long init may take to come up.
    pub boot_limit: Duration,
    /// How long the whole run may take.
    pub run_limit: Option<Duration>,
}

enum SessionEvent {
    /// From the guest of the attempt with this number.
    Guest(u32, GuestEvent),
    Signal(Signal),
}

/// The user's side, which outlives one guest where a boot is tried again.
pub struct Session {
    options: SessionOptions,
    stdio: Stdio,
    sender: SyncSender<SessionEvent>,
    events: Receiver<SessionEvent>,
    attempt: u32,
    /// Until the session is over; then a signal ends the program as ever.
    _blocked: Option<Blocked>,
}

/// Events that wait: whoever has more to tell than is heard waits itself.
const MAX_EVENTS: usize = 64;

impl Session {
    /// Takes over the signals of the process and its standard streams. To be
    /// called before any other thread starts.
    pub fn of_process(options: SessionOptions) -> io::Result<Session> {
        let mut stdio = Stdio::of_process()?;
        if options.no_input {
            stdio.input = File::open("/dev/null")?;
        }
        let mut session = Session::new(options, stdio);
        let sender = session.sender.clone();
        let (signals, blocked) = Signals::block()?;
        signals.watch(move |signal| sender.send(SessionEvent::Signal(signal)).is_ok());
        session._blocked = Some(blocked);
        Ok(session)
    }

    /// A session on these streams, without the process's signals.
    pub fn new(options: SessionOptions, stdio: Stdio) -> Session {
        let (sender, events) = mpsc::sync_channel(MAX_EVENTS);
        Session { options, stdio, sender, events, attempt: 0, _blocked: None }
    }

    /// Holds the session with one guest, from its start to its end.
    pub fn attend(
        &mut self,
        ends: GuestStreams,
        guest: &dyn Guest,
        runner: Runner,
        recorder: &mut Recorder,
    ) -> io::Result<SessionResult> {
        self.attempt += 1;
        let log = Arc::new(Mutex::new(SerialLog::default()));
        let GuestStreams { serial, stdin, stdout, stderr, control } = ends;
        let winsize = control.try_clone()?;
        // An init that does not read must not hold us up.
        winsize.set_write_timeout(Some(Duration::from_secs(1)))?;
        let typed = if self.options.console { serial.try_clone()? } else { stdin.try_clone()? };
        if self.options.console {
            stdin.shutdown(Shutdown::Write)?;
        }
        self.copy_out("standard output", stdout, &self.stdio.output)?;
        self.copy_out("standard error", stderr, &self.stdio.error)?;
        self.keep_log(serial, &log)?;
        let first_guest = self.options.first_guest;
        self.spawn("control port", move |tell| {
            control::read_lines(control, first_guest, |message| tell(GuestEvent::Control(message)));
            tell(GuestEvent::Closed);
        })?;
        self.spawn("machine", move |tell| tell(GuestEvent::Ended(runner())))?;

        let mut running =
            RunningGuest { guest, recorder, winsize, typed: Some(typed), terminal: None };
        let mut verdict =
            Verdict::new(Instant::now(), self.options.boot_limit, self.options.run_limit);
        if self.options.console {
            running.open(self)?;
        }
        while !verdict.complete() {
            match self.next(verdict.deadline()) {
                Some(SessionEvent::Guest(attempt, event)) if attempt == self.attempt => {
                    running.note(self, &event)?;
                    verdict.note(&event, Instant::now());
                    running.count(event);
                }
                Some(SessionEvent::Guest(..)) => {}
                Some(SessionEvent::Signal(Signal::SIGWINCH)) => running.tell_window_size(),
                Some(SessionEvent::Signal(signal)) => verdict.signalled(signal, Instant::now()),
                None => verdict.deadline_passed(Instant::now()),
            }
            if verdict.wants_stop() {
                guest.stop();
            }
        }
        drop(running);
        let serial_tail = log.lock().tail(20);
        Ok(verdict.result(serial_tail))
    }

    /// The next event, or nothing when the deadline comes first.
    fn next(&self, deadline: Option<Instant>) -> Option<SessionEvent> {
        let Some(deadline) = deadline else { return self.events.recv().ok() };
        let left = deadline.saturating_duration_since(Instant::now());
        // The time goes first: a guest can see to it that there is always an event.
        if left.is_zero() {
            return None;
        }
        // We hold a sender ourselves, so that only the time can run out.
        self.events.recv_timeout(left).ok()
    }

    /// Starts a thread that tells of this attempt. If it dies, so does the run.
    fn spawn(
        &self,
        name: &'static str,
        body: impl FnOnce(&dyn Fn(GuestEvent)) + Send + 'static,
    ) -> io::Result<()> {
        let (sender, attempt) = (self.sender.clone(), self.attempt);
        // Nobody listens any more only when the session is over.
        let tell = move |event| drop(sender.send(SessionEvent::Guest(attempt, event)));
        let body = move || {
            if catch_unwind(AssertUnwindSafe(|| body(&tell))).is_err() {
                tell(GuestEvent::ThreadDied(name));
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
    }

    fn copy_out(&self, name: &'static str, stream: UnixStream, output: &File) -> io::Result<()> {
        let output = output.try_clone()?;
        self.spawn(name, move |tell| {
            streams::copy_output(stream, &output, |error| {
                tell(GuestEvent::OutputGone(name, error));
            });
            tell(GuestEvent::Closed);
        })
    }

    fn keep_log(&self, mut serial: UnixStream, log: &Arc<Mutex<SerialLog>>) -> io::Result<()> {
        let log = Arc::clone(log);
        let shown = self.options.console || self.options.serial;
        let output = shown.then(|| self.stdio.error.try_clone()).transpose()?;
        self.spawn("serial log", move |tell| {
            streams::read_all(&mut serial, |bytes| {
                log.lock().push(bytes);
                if let Some(output) = &output {
                    // A lost copy of the log is no reason to lose the run.
                    let _ = output::write_all(output, bytes);
                }
            });
            tell(GuestEvent::Closed);
        })
    }
}

/// What the session does for a guest while it lives.
struct RunningGuest<'a> {
    guest: &'a dyn Guest,
    recorder: &'a mut Recorder,
    winsize: UnixStream,
    /// Where the user's input goes; taken when it begins to.
    typed: Option<UnixStream>,
    terminal: Option<RawTerminal>,
}

impl RunningGuest<'_> {
    /// Does what an event asks for, before the verdict weighs it.
    fn note(&mut self, session: &Session, event: &GuestEvent) -> io::Result<()> {
        match event {
            GuestEvent::Control(Ok(ControlMessage::Started)) => {
                self.guest.mark_started();
                self.recorder.started(self.guest.counters());
                self.open(session)?;
            }
            GuestEvent::Control(Ok(ControlMessage::Exit { .. })) => self.terminal = None,
            GuestEvent::Ended(_) => self.terminal = None,
            _ => {}
        }
        Ok(())
    }

    /// Keeps what was counted.
    fn count(&mut self, event: GuestEvent) {
        let counters = |driver| Sample { driver, ..self.guest.counters() };
        match event {
            GuestEvent::Control(Ok(ControlMessage::Mark { name, driver })) => {
                let answer = serde_json::json!({ "marked": name });
                self.recorder.mark(name, counters(driver));
                // Init may wait for this, so that what follows a mark is
                // never counted before it.
                self.send(&answer);
            }
            GuestEvent::Control(Ok(ControlMessage::Exit { code, driver, inner })) => {
                self.recorder.exit(code, counters(driver), inner.map(|inner| *inner));
            }
            _ => {}
        }
    }

    /// Lets the user's input flow. Not before init is up: input that a failed
    /// boot had swallowed would be missed by the next.
    fn open(&mut self, session: &Session) -> io::Result<()> {
        let Some(guest) = self.typed.take() else { return Ok(()) };
        let raw = session.options.raw;
        if raw {
            self.terminal = Some(RawTerminal::enter()?);
        }
        self.tell_window_size();
        let input = session.stdio.input.try_clone()?;
        session.spawn("standard input", move |tell| {
            let escaped = streams::copy_input(input, guest, raw);
            if escaped {
                tell(GuestEvent::Escaped);
            }
        })
    }

    fn tell_window_size(&self) {
        if let Some((rows, columns)) = terminal::window_size() {
            self.send(&serde_json::json!({ "winsize": [rows, columns] }));
        }
    }

    fn send(&self, line: &serde_json::Value) {
        // A guest that has gone, or never reads, misses only its own news.
        let _ = (&self.winsize).write_all(format!("{line}\n").as_bytes());
    }
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;
