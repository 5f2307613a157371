// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host's side of a running guest: its streams, its control port, its time
//! limits and its end. It cannot tell which hosting carries the guest.

mod control;
mod serial;
mod signals;
mod streams;
mod terminal;
mod verdict;

use crate::machine::MachineEnd;
use crate::stats::{Counted, Recorder};
use control::ControlMessage;
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use serial::SerialLog;
use signals::Signals;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};
use streams::InputEnd;
pub use streams::{HostEnds, Stdio, connect};
use terminal::RawTerminal;
use verdict::{GuestEvent, Verdict};
pub use verdict::{RunEnd, SessionResult};

/// A guest that runs, as its session sees it.
pub trait Guest: Send + Sync {
    /// Ends it. What it has already written still arrives.
    fn stop(&self);
    /// Its init is up.
    fn mark_started(&self) {}
    /// The counters as of now.
    fn counters(&self) -> Counted {
        Counted::default()
    }
}

/// Runs a guest on the calling thread until it ends.
pub type Runner = Box<dyn FnOnce() -> Result<MachineEnd, String> + Send>;

/// How a session is held.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// The user's terminal is the guest's.
    pub raw: bool,
    /// Input goes to the serial console, and what it prints is shown.
    pub console: bool,
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
}

/// Events that wait: whoever has more to tell than is heard waits itself.
const MAX_EVENTS: usize = 64;

impl Session {
    /// Takes over the signals of the process and its standard streams. To be
    /// called before any other thread starts.
    pub fn of_process(options: SessionOptions) -> io::Result<Session> {
        let session = Session::new(options, Stdio::of_process()?);
        let sender = session.sender.clone();
        Signals::block()?.watch(move |signal| sender.send(SessionEvent::Signal(signal)).is_ok());
        Ok(session)
    }

    /// A session on these streams, without the process's signals.
    pub fn new(options: SessionOptions, stdio: Stdio) -> Session {
        let (sender, events) = mpsc::sync_channel(MAX_EVENTS);
        Session { options, stdio, sender, events, attempt: 0 }
    }

    /// Holds the session with one guest, from its start to its end.
    pub fn attend(
        &mut self,
        ends: HostEnds,
        guest: &dyn Guest,
        runner: Runner,
        recorder: &mut Recorder,
    ) -> io::Result<SessionResult> {
        self.attempt += 1;
        let log = Arc::new(Mutex::new(SerialLog::default()));
        let HostEnds { serial, stdin, stdout, stderr, control } = ends;
        let winsize = control.try_clone()?;
        // An init that does not read must not hold us up.
        winsize.set_write_timeout(Some(Duration::from_secs(1)))?;
        let typed = if self.options.console { serial.try_clone()? } else { stdin.try_clone()? };
        if self.options.console {
            stdin.shutdown(Shutdown::Write)?;
        }
        self.copy_out(stdout, &self.stdio.output)?;
        self.copy_out(stderr, &self.stdio.error)?;
        self.keep_log(serial, &log)?;
        self.read_control(control);
        self.run_machine(runner);

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
                    verdict.note(event, Instant::now());
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

    /// A way for a thread to tell of this attempt.
    fn teller(&self) -> impl Fn(GuestEvent) + Clone + Send + 'static {
        let (sender, attempt) = (self.sender.clone(), self.attempt);
        // Nobody listens any more only when the session is over.
        move |event| drop(sender.send(SessionEvent::Guest(attempt, event)))
    }

    fn copy_out(&self, stream: UnixStream, output: &std::fs::File) -> io::Result<()> {
        let (tell, output) = (self.teller(), output.try_clone()?);
        thread::spawn(move || {
            streams::copy_output(stream, output, |_| tell(GuestEvent::OutputGone));
            tell(GuestEvent::Closed);
        });
        Ok(())
    }

    fn keep_log(&self, mut serial: UnixStream, log: &Arc<Mutex<SerialLog>>) -> io::Result<()> {
        let (tell, log) = (self.teller(), Arc::clone(log));
        let shown = self.options.console || self.options.serial;
        let mut output = shown.then(|| self.stdio.error.try_clone()).transpose()?;
        thread::spawn(move || {
            streams::read_all(&mut serial, |bytes| {
                if log.lock().push(bytes) {
                    tell(GuestEvent::Panicked);
                }
                if let Some(output) = &mut output {
                    // A lost copy of the log is no reason to lose the run.
                    let _ = streams::write_all(output, bytes);
                }
            });
            tell(GuestEvent::Closed);
        });
        Ok(())
    }

    fn read_control(&self, control: UnixStream) {
        let tell = self.teller();
        thread::spawn(move || {
            control::read_lines(control, |message| tell(GuestEvent::Control(message)));
            tell(GuestEvent::Closed);
        });
    }

    fn run_machine(&self, runner: Runner) {
        let tell = self.teller();
        thread::spawn(move || tell(GuestEvent::Ended(runner())));
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
                self.recorder.started(&self.guest.counters());
                self.open(session)?;
            }
            GuestEvent::Control(Ok(ControlMessage::Mark { name, driver })) => {
                self.recorder.mark(name, &self.guest.counters(), driver);
                // Init may wait for this, so that what follows a mark is
                // never counted before it.
                self.send(&serde_json::json!({ "marked": name }));
            }
            GuestEvent::Control(Ok(ControlMessage::Exit { code, driver, stats })) => {
                let counted = self.guest.counters();
                self.recorder.exit(*code, &counted, driver, stats.clone());
                self.terminal = None;
            }
            GuestEvent::Ended(_) => self.terminal = None,
            _ => {}
        }
        Ok(())
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
        let (tell, input) = (session.teller(), session.stdio.input.try_clone()?);
        thread::spawn(move || {
            if streams::copy_input(input, guest, raw) == InputEnd::Escaped {
                tell(GuestEvent::Escaped);
            }
        });
        Ok(())
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
