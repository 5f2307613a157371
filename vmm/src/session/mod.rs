// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host's side of a running guest: its streams, its control port, its time
//! limits and its end. It cannot tell which hosting carries the guest.

mod control;
mod guest;
mod on_mark;
mod orders;
mod relay;
mod sender;
mod serial;
mod signals;
mod streams;
mod terminal;
mod verdict;

use crate::machine::GuestStreams;
use crate::stats::{Recorder, Sample};
use control::ControlMessage;
pub use control::Inner;
pub use guest::{Guest, Hold, Runner};
use nix::sys::signal::Signal;
use on_mark::{Mark, OnMark};
pub use orders::{Orders, Terms};
use parking_lot::Mutex;
use sender::{Sender, Waiting};
use serial::SerialLog;
use signals::Blocked;
pub use signals::Signals;
use std::fs::File;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};
pub use streams::{Stdio, connect};
use terminal::RawTerminal;
use verdict::{GuestEvent, Verdict};
pub use verdict::{RunEnd, SessionResult};

/// Where a guest's orders come from, and how they reach it.
pub enum Task {
    /// They are for its init, when that is ready.
    Direct(Orders),
    /// The same for a guest that goes on from there.
    Ready(Orders),
    /// It is a first guest: `launch` is for its own init, unless that runs already what it is
    /// to run, and `orders` go over `link` to the second guest's.
    InSecond { launch: Option<Orders>, orders: Orders, link: UnixStream },
    /// This is a first guest: they come from the session outside.
    FromOutside(File),
}

/// How a session is held.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// The user's terminal is the guest's.
    pub raw: bool,
    /// Input goes to the serial console, and what it prints is shown.
    pub console: bool,
    /// There is no input.
    pub no_input: bool,
    /// The serial log is shown as it comes.
    pub serial: bool,
    /// How long init may take to come up.
    pub boot_limit: Duration,
    /// How long the whole run may take.
    pub run_limit: Option<Duration>,
    /// A program that is run with the name of each mark.
    pub on_mark: Option<PathBuf>,
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
        task: Task,
        guest: &dyn Guest,
        runner: Runner,
        recorder: &mut Recorder,
    ) -> io::Result<SessionResult> {
        self.attempt += 1;
        let log = Arc::new(Mutex::new(SerialLog::default()));
        let GuestStreams { serial, stdin, stdout, stderr, control } = ends;
        let to_control = self.sender(control.try_clone()?)?;
        let typed = if self.options.console { serial.try_clone()? } else { stdin.try_clone()? };
        if self.options.console {
            stdin.shutdown(Shutdown::Write)?;
        }
        self.copy_out("standard output", stdout, &self.stdio.output)?;
        self.copy_out("standard error", stderr, &self.stdio.error)?;
        self.keep_log(serial, &log)?;
        self.spawn("control port", move |tell| {
            control::read_lines(control, false, |message| tell(GuestEvent::Control(message)));
            tell(GuestEvent::Closed);
        })?;
        self.spawn("machine", move |tell| tell(GuestEvent::Ended(runner())))?;

        if let Task::Ready(_) = task {
            guest.ready();
            recorder.started(guest.counters());
        }
        let held = Arc::default();
        let init = self.begin(&task, &to_control, &held)?;
        let mut running = RunningGuest {
            guest,
            recorder,
            on_mark: self.on_mark()?,
            task,
            log: Arc::clone(&log),
            control: to_control,
            init,
            held,
            prepared: false,
            exited: false,
            typed: Some(typed),
            terminal: None,
        };
        let mut verdict =
            Verdict::new(Instant::now(), self.options.boot_limit, self.options.run_limit);
        if matches!(running.task, Task::InSecond { .. }) {
            verdict.expect_link();
        }
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
                running.held.lock().take();
                guest.stop();
            }
        }
        drop(running);
        let mut last_words = log.lock().tail(20);
        last_words.extend(guest.last_seen());
        Ok(verdict.result(last_words))
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

    /// Says what can be said before the guest runs; the way to the init that gets the command.
    fn begin(&self, task: &Task, control: &Sender, held: &Held) -> io::Result<Sender> {
        match task {
            Task::Direct(_) => {}
            Task::Ready(orders) => control.orders(orders)?,
            Task::InSecond { launch, orders, link } => {
                let init = self.sender(link.try_clone()?)?;
                match launch {
                    Some(launch) => control.orders(launch)?,
                    None => {
                        control.line(&orders::wake()?);
                        init.orders(orders)?;
                    }
                }
                let link = link.try_clone()?;
                self.spawn("link to the second guest", move |tell| {
                    control::read_lines(link, true, |line| tell(GuestEvent::Link(line)));
                    tell(GuestEvent::Closed);
                })?;
                return Ok(init);
            }
            Task::FromOutside(port) => {
                let (port, init, held) = (port.try_clone()?, control.clone(), Arc::clone(held));
                self.spawn("relay", move |tell| {
                    let go_on = || drop(held.lock().take());
                    relay::pass_on(&port, &init, go_on, |terms| tell(GuestEvent::Ordered(terms)));
                })?;
            }
        }
        Ok(control.clone())
    }

    /// A thread that runs the user's program at marks, and the way to it.
    fn on_mark(&self) -> io::Result<Option<OnMark>> {
        let Some(program) = self.options.on_mark.clone() else { return Ok(None) };
        let (on_mark, serve) = OnMark::new(program);
        self.spawn("marks", move |_| serve())?;
        Ok(Some(on_mark))
    }

    /// A thread that writes to the guest, and the way to it.
    fn sender(&self, stream: UnixStream) -> io::Result<Sender> {
        let (sender, waiting): (Sender, Waiting) = sender::channel();
        self.spawn("sender", move |_| waiting.write_to(stream))?;
        Ok(sender)
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
        if self.options.console || self.options.serial {
            log.lock().show_on(self.stdio.error.try_clone()?);
        }
        self.spawn("serial log", move |tell| {
            streams::read_all(&mut serial, |bytes| log.lock().push(bytes));
            tell(GuestEvent::Closed);
        })
    }
}

/// The guest, as long as it stands still.
type Held = Arc<Mutex<Option<Hold>>>;

/// What the session does for a guest while it lives.
struct RunningGuest<'a> {
    guest: &'a dyn Guest,
    recorder: &'a mut Recorder,
    on_mark: Option<OnMark>,
    task: Task,
    log: Arc<Mutex<SerialLog>>,
    /// The guest's init.
    control: Sender,
    /// The init that gets the command.
    init: Sender,
    held: Held,
    /// Whether that has been told what to do before.
    prepared: bool,
    /// Whether the command has ended.
    exited: bool,
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
            }
            GuestEvent::Control(Ok(ControlMessage::Ready)) => match &mut self.task {
                Task::Direct(_) => self.order()?,
                // Its state may be kept now: see qemu::monitor.
                Task::FromOutside(port) => {
                    *self.held.lock() = Some(self.guest.hold());
                    port.write_all(b"{\"ready\":true}\n")?;
                }
                Task::Ready(_) | Task::InSecond { .. } => {}
            },
            GuestEvent::Link(Ok(ControlMessage::Ready)) => self.order()?,
            GuestEvent::Control(Ok(ControlMessage::Begun)) => {
                if let Task::Direct(_) | Task::Ready(_) = self.task {
                    self.open(session)?;
                }
            }
            GuestEvent::Link(Ok(ControlMessage::Begun)) => self.open(session)?,
            GuestEvent::Ordered(terms) => {
                if terms.serial {
                    self.log.lock().show_on(session.stdio.error.try_clone()?);
                }
                self.recorder.started(self.guest.counters());
                self.open(session)?;
            }
            GuestEvent::Control(Ok(ControlMessage::Exit { .. }))
            | GuestEvent::Link(Ok(ControlMessage::Exit { .. })) => {
                self.terminal = None;
                if !self.exited && self.recorder.weighs() {
                    self.recorder.took(self.guest.memory());
                }
                // Who sees its log shall see it to the end.
                if !self.log.lock().is_shown() {
                    self.guest.switch_off();
                }
            }
            GuestEvent::Ended(_) => self.terminal = None,
            _ => {}
        }
        Ok(())
    }

    /// Orders what is next for a guest that is ready. Marks count from the command.
    fn order(&mut self) -> io::Result<()> {
        let (Task::Direct(orders) | Task::InSecond { orders, .. }) = &self.task else {
            return Ok(());
        };
        let prepares = !self.prepared && self.init.prepare(orders)?;
        self.prepared = true;
        if !prepares {
            self.guest.ready();
            self.recorder.started(self.guest.counters());
            self.init.orders(orders)?;
        }
        Ok(())
    }

    /// Keeps what was counted.
    fn count(&mut self, event: GuestEvent) {
        let counters = |driver| Sample { driver, ..self.guest.counters() };
        match event {
            GuestEvent::Control(Ok(ControlMessage::Mark { name, driver })) => {
                // Init may wait for this, so that what follows a mark is
                // never counted before it.
                let answer = serde_json::json!({ "marked": name });
                self.recorder.mark(name.clone(), counters(driver));
                match &self.on_mark {
                    Some(on_mark) => {
                        on_mark.hear(Mark { name, answer, control: self.control.clone() });
                    }
                    None => self.control.line(&answer),
                }
            }
            GuestEvent::Control(Ok(ControlMessage::Exit { code, driver, inner }))
            | GuestEvent::Link(Ok(ControlMessage::Exit { code, driver, inner }))
                if !self.exited =>
            {
                self.exited = true;
                let report = inner.and_then(|inner| inner.stats);
                self.recorder.exit(code, counters(driver), report);
            }
            _ => {}
        }
    }

    /// Lets the user's input flow. Not before the command is next: input that a failed
    /// boot had swallowed would be missed by the next, and a state that is kept has none.
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
            self.init.line(&serde_json::json!({ "winsize": [rows, columns] }));
        }
    }
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;
