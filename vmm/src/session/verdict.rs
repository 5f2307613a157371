// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a run ended. Events come in from several threads in any order; this
//! weighs them, without clocks or threads of its own.

use super::control::ControlMessage;
use super::orders::Terms;
use crate::exit;
use crate::machine::MachineEnd;
use nix::sys::signal::Signal;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};

/// Serial, stdout, stderr and control.
const OUTPUT_STREAMS: u8 = 4;
/// How long a guest may take to switch itself off once its command has ended.
const POWER_OFF: Duration = Duration::from_secs(30);
/// How long a machine may take to stop when asked to.
const STOP: Duration = Duration::from_secs(10);
/// How many lines that are no messages are reported.
const MAX_COMPLAINTS: usize = 5;

/// Something that happened to the guest.
#[derive(Debug)]
pub enum GuestEvent {
    /// A line on the control port.
    Control(Result<ControlMessage, String>),
    /// A line from this program in a first guest.
    Link(Result<ControlMessage, String>),
    /// Orders have come from the session outside.
    Ordered(Terms),
    /// A thread of ours has panicked.
    ThreadDied(&'static str),
    /// One of its output streams ended, or the link to the guest in it.
    Closed,
    /// The machine is no more.
    Ended(Result<MachineEnd, String>),
    /// Our own output, which is called so, takes no more.
    OutputGone(&'static str, io::Error),
    /// The user typed the escape character.
    Escaped,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEnd {
    /// The command ended with this code.
    Exit(u8),
    /// The guest switched itself off or restarted, or its debugger ended it, before its command
    /// had ended.
    SwitchedOff(MachineEnd),
    /// The guest went without a word about its command.
    Lost(MachineEnd),
    /// Init could not go on.
    InitFailed(String),
    /// No sign of init within the boot limit.
    NeverStarted(Duration),
    /// The run's time limit passed.
    TimedOut(Duration),
    /// Our output takes no more, and not because its reader has gone.
    OutputFailed(String),
    /// A signal, or the reader of our output that has gone, ended it.
    Signalled(Signal),
    /// The user ended it.
    Escaped,
    /// The machine failed.
    Failed(String),
}

impl RunEnd {
    pub fn code(&self) -> u8 {
        match self {
            RunEnd::Exit(code) => *code,
            RunEnd::SwitchedOff(_) => exit::SWITCHED_OFF,
            RunEnd::Lost(_) | RunEnd::InitFailed(_) => exit::GUEST_LOST,
            RunEnd::NeverStarted(_) | RunEnd::TimedOut(_) => exit::TIMED_OUT,
            RunEnd::Signalled(signal) => u8::try_from(128 + *signal as i32).unwrap_or(u8::MAX),
            RunEnd::Escaped => 0,
            RunEnd::OutputFailed(_) => exit::HOST_LACKS,
            RunEnd::Failed(_) => exit::VMM_FAILED,
        }
    }

    /// Whether it came about as someone here wanted, so that it needs no words.
    pub fn was_wanted(&self) -> bool {
        matches!(self, RunEnd::Exit(_) | RunEnd::Escaped | RunEnd::Signalled(_))
    }

    /// Whether the guest's last words say more about it.
    pub fn explained_by_last_words(&self) -> bool {
        matches!(self, RunEnd::Lost(_) | RunEnd::NeverStarted(_) | RunEnd::TimedOut(_))
    }
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunEnd::Exit(code) => write!(f, "the command ended with code {code}"),
            RunEnd::SwitchedOff(ending) => {
                write!(f, "the guest {ending} before its command had ended")
            }
            RunEnd::Lost(ending) => write!(f, "the guest {ending}"),
            RunEnd::InitFailed(why) => write!(f, "the guest's init cannot go on: {why}"),
            RunEnd::NeverStarted(limit) => write!(
                f,
                "the guest's init did not answer within {} s (--boot-timeout)",
                limit.as_secs_f64()
            ),
            RunEnd::TimedOut(limit) => {
                write!(f, "timed out after {} s (--timeout)", limit.as_secs_f64())
            }
            RunEnd::Signalled(signal) => write!(f, "ended by {signal}"),
            RunEnd::Escaped => f.write_str("ended by the user"),
            RunEnd::OutputFailed(why) | RunEnd::Failed(why) => f.write_str(why),
        }
    }
}

/// What is known when a guest is gone.
#[derive(Debug)]
pub struct SessionResult {
    pub end: RunEnd,
    /// Whether its init ever came up.
    pub started: bool,
    /// The last lines of its serial log; where its CPUs were if it was stopped.
    pub last_words: Vec<String>,
    /// Lines on the control port that were no messages.
    pub complaints: Vec<String>,
    /// What the session outside wanted, if there was one.
    pub terms: Terms,
    /// What the session in a first guest has to tell of how its run ended.
    pub told: Vec<String>,
}

/// What the deadline means when it comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    Boot,
    Run,
    /// The guest has had time to end by itself.
    Stop,
    /// The machine does not stop.
    GiveUp,
}

pub struct Verdict {
    began: Instant,
    boot_limit: Duration,
    run_limit: Option<Duration>,
    end: Option<RunEnd>,
    ended: Option<Result<MachineEnd, String>>,
    open: u8,
    started: bool,
    limit: Option<(Instant, Limit)>,
    stop: bool,
    given_up: bool,
    complaints: Vec<String>,
    terms: Terms,
    told: Vec<String>,
}

impl Verdict {
    /// For a guest that starts now.
    pub fn new(now: Instant, boot_limit: Duration, run_limit: Option<Duration>) -> Verdict {
        let limit = match run_limit {
            Some(run) if run <= boot_limit => (now + run, Limit::Run),
            _ => (now + boot_limit, Limit::Boot),
        };
        Verdict {
            began: now,
            boot_limit,
            run_limit,
            end: None,
            ended: None,
            open: OUTPUT_STREAMS,
            started: false,
            limit: Some(limit),
            stop: false,
            given_up: false,
            complaints: Vec::new(),
            terms: Terms::default(),
            told: Vec::new(),
        }
    }

    /// The guest in this one has a stream of its own.
    pub fn expect_link(&mut self) {
        self.open += 1;
    }

    /// Weighs something that happened.
    pub fn note(&mut self, event: &GuestEvent, now: Instant) {
        match event {
            GuestEvent::Control(Ok(message))
            | GuestEvent::Link(Ok(message @ ControlMessage::Exit { .. })) => {
                self.message(message, now);
            }
            GuestEvent::Link(Ok(ControlMessage::Begun)) => self.came_up(),
            GuestEvent::Link(Ok(_)) => {}
            GuestEvent::Ordered(terms) => self.ordered(*terms, now),
            GuestEvent::Control(Err(why)) | GuestEvent::Link(Err(why))
                if self.complaints.len() < MAX_COMPLAINTS =>
            {
                self.complaints.push(why.clone());
            }
            GuestEvent::Control(Err(_)) | GuestEvent::Link(Err(_)) => {}
            GuestEvent::ThreadDied(name) => {
                // What it held up will not come.
                self.end =
                    Some(RunEnd::Failed(format!("internal error: the thread '{name}' died")));
                self.given_up = true;
            }
            GuestEvent::Closed => self.open = self.open.saturating_sub(1),
            GuestEvent::Ended(how) => self.machine_ended(how.clone()),
            GuestEvent::OutputGone(name, error) => {
                // A command that succeeded has not when its output is lost.
                self.end = self.end.take().filter(|end| !matches!(end, RunEnd::Exit(_)));
                let end = match error.kind() {
                    io::ErrorKind::BrokenPipe => RunEnd::Signalled(Signal::SIGPIPE),
                    _ => RunEnd::OutputFailed(format!("cannot write to {name}: {error}")),
                };
                self.stop_as(end, now);
            }
            GuestEvent::Escaped => self.stop_as(RunEnd::Escaped, now),
        }
    }

    /// A signal asks for the end.
    pub fn signalled(&mut self, signal: Signal, now: Instant) {
        self.stop_as(RunEnd::Signalled(signal), now);
    }

    pub fn deadline_passed(&mut self, now: Instant) {
        match self.limit.take() {
            Some((_, Limit::Boot)) => self.stop_as(RunEnd::NeverStarted(self.boot_limit), now),
            Some((_, Limit::Run)) => {
                self.stop_as(RunEnd::TimedOut(self.run_limit.unwrap_or_default()), now);
            }
            Some((_, Limit::Stop)) => self.stop_now(now),
            Some((_, Limit::GiveUp)) => self.given_up = true,
            None => {}
        }
    }

    /// Until when the next event is waited for.
    pub fn deadline(&self) -> Option<Instant> {
        self.limit.map(|(deadline, _)| deadline)
    }

    /// Whether the guest is to be stopped; said once.
    pub fn wants_stop(&mut self) -> bool {
        std::mem::take(&mut self.stop)
    }

    /// Whether all there is to know is known, and all output delivered.
    pub fn complete(&self) -> bool {
        self.given_up || (self.ended.is_some() && self.open == 0)
    }

    pub fn result(self, last_words: Vec<String>) -> SessionResult {
        let end = match (self.end, self.ended) {
            (Some(end), _) => end,
            (
                None,
                Some(Ok(ending @ (MachineEnd::PowerOff | MachineEnd::Reboot | MachineEnd::Killed))),
            ) if self.started => RunEnd::SwitchedOff(ending),
            (None, Some(Ok(ending))) => RunEnd::Lost(ending),
            (None, Some(Err(why))) => RunEnd::Failed(why),
            (None, None) => RunEnd::Failed("the machine does not stop".to_owned()),
        };
        SessionResult {
            end,
            started: self.started,
            last_words,
            complaints: self.complaints,
            terms: self.terms,
            told: self.told,
        }
    }

    fn message(&mut self, message: &ControlMessage, now: Instant) {
        match message {
            ControlMessage::Started | ControlMessage::Begun => self.came_up(),
            ControlMessage::Ready | ControlMessage::Mark { .. } => {}
            ControlMessage::Exit { code, inner, .. } => {
                self.told.extend(inner.iter().flat_map(|inner| inner.told.iter().cloned()));
                self.decide(RunEnd::Exit(*code), now);
            }
            ControlMessage::Error(why) => self.decide(RunEnd::InitFailed(why.clone()), now),
        }
    }

    fn came_up(&mut self) {
        self.started = true;
        if matches!(self.limit, Some((_, Limit::Boot))) {
            self.limit = self.run_limit.map(|run| (self.began + run, Limit::Run));
        }
    }

    /// The guest may have waited for long before its time began.
    fn ordered(&mut self, terms: Terms, now: Instant) {
        self.terms = terms;
        self.run_limit = terms.run_limit;
        if self.end.is_none() && self.ended.is_none() {
            self.limit = terms.run_limit.map(|run| (now + run, Limit::Run));
        }
    }

    /// The end is known, and the guest gets a while to go by itself.
    fn decide(&mut self, end: RunEnd, now: Instant) {
        if self.end.is_none() {
            self.end = Some(end);
            if self.ended.is_none() {
                self.limit = Some((now + POWER_OFF, Limit::Stop));
            }
        }
    }

    fn stop_as(&mut self, end: RunEnd, now: Instant) {
        self.end.get_or_insert(end);
        self.stop_now(now);
    }

    fn stop_now(&mut self, now: Instant) {
        self.stop = true;
        // However often it is asked, it gets its time once.
        if !matches!(self.limit, Some((_, Limit::GiveUp))) {
            self.limit = Some((now + STOP, Limit::GiveUp));
        }
    }

    /// Output may take as long as its reader likes, unless we are stopping.
    fn machine_ended(&mut self, how: Result<MachineEnd, String>) {
        self.ended = Some(how);
        if !matches!(self.limit, Some((_, Limit::GiveUp))) {
            self.limit = None;
        }
    }
}

#[cfg(test)]
#[path = "verdict_test.rs"]
mod tests;
