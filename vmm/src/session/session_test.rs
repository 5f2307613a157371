// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whole sessions with a thread that plays the machine on its ends of the
//! sockets.

use super::*;
use crate::exit;
use crate::footprint::PrivateDirty;
use crate::machine::MachineEnd;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;

fn options() -> SessionOptions {
    SessionOptions { boot_limit: Duration::from_secs(60), ..SessionOptions::default() }
}

fn orders(archive: &[u8]) -> Orders {
    Orders { prepare: None, archive: archive.into(), terms: Terms::default() }
}

/// A guest that can only be stopped.
struct Fake(Sender<()>);

impl Guest for Fake {
    fn stop(&self) {
        let _ = self.0.send(());
    }

    fn last_seen(&self) -> Vec<String> {
        vec!["vCPU 0: halted".to_owned()]
    }

    fn counters(&self) -> Sample {
        Sample { device: [("faults".to_owned(), 7)].into(), ..Sample::default() }
    }

    fn memory(&self) -> PrivateDirty {
        PrivateDirty { private_dirty_kib: 5, ram_private_dirty_kib: 0 }
    }
}

struct Seen {
    result: SessionResult,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    report: serde_json::Value,
}

/// Holds a session in which `machine` plays the guest; it gets its ends and a
/// channel that tells when it is to stop.
fn session(
    options: SessionOptions,
    input: &[u8],
    machine: impl FnOnce(&GuestStreams, &Receiver<()>) -> MachineEnd + Send + 'static,
) -> Seen {
    let file = |stream: UnixStream| File::from(OwnedFd::from(stream));
    let (stdin, mut typist) = UnixStream::pair().expect("stdin");
    let (mut stdout, output) = UnixStream::pair().expect("stdout");
    let (mut stderr, error) = UnixStream::pair().expect("stderr");
    typist.write_all(input).expect("typed");
    drop(typist);
    // Readers of our output, so that no guest can fill a socket and block.
    let mut readers = [&mut stdout, &mut stderr].map(|stream| {
        let mut stream = stream.try_clone().expect("a reader");
        Some(thread::spawn(move || {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("output");
            all
        }))
    });
    let stdio = Stdio { input: file(stdin), output: file(output), error: file(error) };
    let mut session = Session::new(options, stdio);
    let (ends, ports) = connect().expect("sockets");
    let (stop, stopped) = mpsc::channel();
    let runner: Runner = Box::new(move || Ok(machine(&ports, &stopped)));
    let mut recorder = Recorder::new("kvm");
    recorder.weigh();
    let fake = Fake(stop);
    let task = Task::Direct(orders(b""));
    let result = session.attend(ends, task, &fake, runner, &mut recorder).expect("result");
    drop(session);
    let report = |recorder: Recorder| {
        serde_json::to_value(recorder.report(Sample::default())).expect("JSON")
    };
    let mut read = |index: usize| readers[index].take().expect("once").join().expect("read");
    Seen { result, stdout: read(0), stderr: read(1), report: report(recorder) }
}

fn say(mut stream: &UnixStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("said");
}

#[test]
fn output_and_exit_code_arrive_whole() {
    let seen = session(options(), b"", |ports, _| {
        say(&ports.control, "{\"started\":true}\n");
        for _ in 0..1000 {
            say(&ports.stdout, &"x".repeat(4096));
        }
        say(&ports.stderr, "a warning\n");
        say(&ports.control, "{\"exit\":3,\"driver\":{\"batches\":1}}\n");
        MachineEnd::PowerOff
    });
    assert_eq!(seen.result.end, RunEnd::Exit(3));
    assert_eq!(seen.stdout.len(), 4_096_000);
    assert_eq!(seen.stderr, b"a warning\n");
    assert_eq!(seen.report["driver"]["batches"], 1);
    assert_eq!(seen.report["host"]["private_dirty_kib"], 5);
    assert_eq!(seen.report["exit"], 3);
}

#[test]
fn input_flows_once_the_command_is_next_and_ends() {
    let seen = session(options(), b"to the guest", |ports, _| {
        say(&ports.control, "{\"started\":true}\n{\"ready\":true}\n");
        let mut orders = String::new();
        BufReader::new(&ports.control).read_line(&mut orders).expect("orders");
        ports.stdin.set_nonblocking(true).expect("a socket");
        let early = (&ports.stdin).read(&mut [0; 1]).expect_err("input");
        assert_eq!(early.kind(), io::ErrorKind::WouldBlock);
        ports.stdin.set_nonblocking(false).expect("a socket");
        say(&ports.control, "{\"begun\":true}\n");
        let mut input = String::new();
        (&ports.stdin).read_to_string(&mut input).expect("input");
        say(&ports.stdout, &input.to_uppercase());
        say(&ports.control, "{\"exit\":0}\n");
        MachineEnd::PowerOff
    });
    assert_eq!(seen.stdout, b"TO THE GUEST");
}

#[test]
fn the_console_gets_the_input_and_shows_the_log() {
    let options = SessionOptions { console: true, ..options() };
    let seen = session(options, b"typed", |ports, _| {
        let mut typed = [0u8; 5];
        (&ports.serial).read_exact(&mut typed).expect("typed");
        assert_eq!((&ports.stdin).read(&mut [0u8; 1]).expect("end of input"), 0);
        say(&ports.serial, "the log\r\n");
        say(&ports.control, "{\"exit\":0}\n");
        MachineEnd::PowerOff
    });
    assert_eq!(seen.stderr, b"the log\r\n");
    assert_eq!(seen.result.end, RunEnd::Exit(0));
}

/// A guest that sets the mark `name`, does something `meanwhile`, and shows what it is answered.
fn marks(
    options: SessionOptions,
    name: &str,
    meanwhile: impl FnOnce(&UnixStream) + Send + 'static,
) -> Seen {
    let mark = serde_json::json!({ "mark": name, "driver": { "batches": 2 } });
    session(options, b"", move |ports, _| {
        say(&ports.control, &format!("{{\"started\":true}}\n{mark}\n"));
        meanwhile(&ports.control);
        let mut answer = String::new();
        let mut control = BufReader::new(&ports.control);
        while !answer.contains("marked") {
            answer.clear();
            control.read_line(&mut answer).expect("an answer");
        }
        say(&ports.stdout, &answer);
        say(&ports.control, "{\"exit\":0}\n");
        MachineEnd::PowerOff
    })
}

#[test]
fn a_mark_is_counted_and_answered() {
    let seen = marks(options(), "warm", |_| {});
    assert_eq!(seen.stdout, b"{\"marked\":\"warm\"}\n");
    assert_eq!(seen.report["marks"][0]["driver"]["batches"], 2);
    assert_eq!(seen.report["marks"][0]["device"]["faults"], 0);
}

/// It reads a FIFO with the mark's name, to the end.
#[test]
fn a_guest_is_answered_when_the_program_for_marks_has_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let name = fifo.display().to_string();
    let options = SessionOptions { on_mark: Some("cat".into()), ..options() };
    let seen = marks(options, &name, move |mut control| {
        let written = File::options().write(true).open(&fifo).expect("somebody reads");
        // What is said already is not the answer.
        control.set_nonblocking(true).expect("a socket");
        let mut said = vec![0; 1 << 20];
        let length = control.read(&mut said).unwrap_or(0);
        assert!(!String::from_utf8_lossy(&said[..length]).contains("marked"));
        control.set_nonblocking(false).expect("a socket");
        drop(written);
    });
    assert_eq!(seen.result.end, RunEnd::Exit(0));
}

#[test]
fn a_program_for_marks_that_fails_harms_nobody() {
    for program in ["false", "/no/such/program"] {
        let options = SessionOptions { on_mark: Some(program.into()), ..options() };
        assert_eq!(marks(options, "warm", |_| {}).stdout, b"{\"marked\":\"warm\"}\n");
    }
}

#[test]
fn a_panic_shows_the_serial_log() {
    let seen = session(options(), b"", |ports, _| {
        say(&ports.control, "{\"started\":true}\n");
        say(&ports.serial, "[1.0] Kernel panic - not syncing: oh no\r\n");
        MachineEnd::Panic
    });
    assert_eq!(seen.result.end, RunEnd::Lost(MachineEnd::Panic));
    assert_eq!(seen.result.end.code(), exit::GUEST_LOST);
    assert_eq!(
        seen.result.last_words,
        ["[1.0] Kernel panic - not syncing: oh no", "vCPU 0: halted"]
    );
}

#[test]
fn the_words_of_a_panic_are_none() {
    let seen = session(options(), b"", |ports, _| {
        say(&ports.control, "{\"started\":true}\n");
        say(&ports.serial, "Kernel panic - not syncing: says a test\r\n");
        say(&ports.control, "{\"exit\":3}\n");
        MachineEnd::PowerOff
    });
    assert_eq!(seen.result.end, RunEnd::Exit(3));
}

#[test]
fn a_guest_that_never_answers_is_stopped() {
    let limit = Duration::from_millis(1);
    let options = SessionOptions { boot_limit: limit, ..options() };
    let seen = session(options, b"", |ports, stopped| {
        say(&ports.serial, "Decompressing Linux...\r\n");
        stopped.recv().expect("stopped");
        MachineEnd::Stopped
    });
    assert_eq!(seen.result.end, RunEnd::NeverStarted(limit));
    assert_eq!(seen.result.last_words, ["Decompressing Linux...", "vCPU 0: halted"]);
}

#[test]
fn a_run_over_its_time_is_stopped_and_its_output_kept() {
    let limit = Duration::from_millis(1);
    let options = SessionOptions { run_limit: Some(limit), ..options() };
    let seen = session(options, b"", |ports, stopped| {
        say(&ports.stdout, "before\n");
        stopped.recv().expect("stopped");
        say(&ports.stdout, "after\n");
        MachineEnd::Stopped
    });
    assert_eq!(seen.result.end, RunEnd::TimedOut(limit));
    assert_eq!(seen.stdout, b"before\nafter\n");
}

#[test]
fn nonsense_on_the_control_port_does_no_harm() {
    let seen = session(options(), b"", |ports, _| {
        say(&ports.control, "\u{0}\u{1}garbage\n{\"exit\":999}\n{\"exit\":4}\n");
        MachineEnd::PowerOff
    });
    assert_eq!(seen.result.end, RunEnd::Exit(4));
    assert_eq!(seen.result.complaints.len(), 2);
}

#[test]
fn a_thread_that_dies_ends_the_run() {
    let seen = session(options(), b"", |ports, _| {
        say(&ports.control, "{\"started\":true}\n{\"exit\":0}\n");
        panic!("as a bug of ours would");
    });
    let why = "internal error: the thread 'machine' died".to_owned();
    assert_eq!(seen.result.end, RunEnd::Failed(why));
    assert_eq!(seen.result.end.code(), exit::VMM_FAILED);
}

/// A guest that notes that its state could be kept.
struct Kept(Arc<Mutex<bool>>);

impl Guest for Kept {
    fn stop(&self) {}

    fn ready(&self) {
        *self.0.lock() = true;
    }
}

#[test]
fn a_state_is_kept_behind_the_preparation_and_before_the_command() {
    let null = || File::options().read(true).write(true).open("/dev/null").expect("null");
    let stdio = Stdio { input: null(), output: null(), error: null() };
    let (ends, ports) = connect().expect("sockets");
    let (link, second) = UnixStream::pair().expect("a link");
    let orders = Orders { prepare: Some((*b"prepare").into()), ..orders(b"command") };
    let task = Task::InSecond { launch: Some(self::orders(b"launch")), orders, link };
    let kept = Arc::new(Mutex::new(false));
    let guest = Kept(Arc::clone(&kept));
    let runner: Runner = Box::new(move || {
        // All of them end with the machine.
        let ports = ports;
        let mut reader = BufReader::new(&second);
        let mut next = || {
            let (mut line, mut archive) = (String::new(), [0; 7]);
            reader.read_line(&mut line).expect("a line");
            reader.read_exact(&mut archive).expect("an archive");
            let header: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            (archive, header["prepares"] == true, *kept.lock())
        };
        say(&ports.control, "{\"started\":true}\n");
        say(&second, "{\"ready\":true}\n");
        assert_eq!(next(), (*b"prepare", true, false));
        say(&second, "{\"ready\":true}\n");
        assert_eq!(next(), (*b"command", false, true));
        say(&ports.control, "{\"exit\":5}\n");
        Ok(MachineEnd::PowerOff)
    });
    let mut session = Session::new(options(), stdio);
    let mut recorder = Recorder::new("nested");
    let result = session.attend(ends, task, &guest, runner, &mut recorder).expect("result");
    assert_eq!(result.end, RunEnd::Exit(5));
}

/// A guest that counts how often it has been told to stand still, and to go on.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<(u32, u32)>>);

impl Guest for Counted {
    fn stop(&self) {}

    fn hold(&self) -> Hold {
        self.0.lock().0 += 1;
        Box::new(GoesOn(self.clone()))
    }
}

struct GoesOn(Counted);

impl Drop for GoesOn {
    fn drop(&mut self) {
        self.0.0.lock().1 += 1;
    }
}

#[test]
fn a_second_guest_stands_still_from_ready_to_its_orders() {
    let null = || File::options().read(true).write(true).open("/dev/null").expect("null");
    let stdio = Stdio { input: null(), output: null(), error: null() };
    let (ends, ports) = connect().expect("sockets");
    let (outside, port) = UnixStream::pair().expect("a port");
    let guest = Counted::default();
    let counted = guest.clone();
    let runner: Runner = Box::new(move || {
        // All of them end with the machine.
        let ports = ports;
        say(&ports.control, "{\"started\":true}\n");
        let (mut heard, mut told) = (BufReader::new(&outside), BufReader::new(&ports.control));
        let mut line = String::new();
        for turn in 1..3 {
            say(&ports.control, "{\"ready\":true}\n");
            heard.read_line(&mut line).expect("it is ready");
            assert_eq!(*counted.0.lock(), (turn, turn - 1));
            say(&outside, "{\"winsize\":[24,80]}\n");
            told.read_line(&mut line).expect("a word from outside");
            assert_eq!(*counted.0.lock(), (turn, turn - 1));
            let header = orders::Header::new(b"", Terms::default(), true).expect("a header");
            let header = serde_json::to_string(&header).expect("JSON");
            say(&outside, &format!("{header}\n"));
            told.read_line(&mut line).expect("orders");
            assert_eq!(*counted.0.lock(), (turn, turn));
        }
        // The last time it ends as it stands.
        say(&ports.control, "{\"ready\":true}\n");
        heard.read_line(&mut line).expect("it is ready");
        say(&ports.control, "{\"exit\":5}\n");
        Ok(MachineEnd::PowerOff)
    });
    let mut session = Session::new(options(), stdio);
    let task = Task::FromOutside(OwnedFd::from(port).into());
    let mut recorder = Recorder::new("kvm");
    let result = session.attend(ends, task, &guest, runner, &mut recorder).expect("result");
    assert_eq!(result.end, RunEnd::Exit(5));
}

#[test]
fn a_guest_that_goes_on_gets_its_orders_at_once_and_is_up_with_them() {
    let null = || File::options().read(true).write(true).open("/dev/null").expect("null");
    let attempt = |words: &'static str, options: SessionOptions| {
        let stdio = Stdio { input: null(), output: null(), error: null() };
        let (ends, ports) = connect().expect("sockets");
        let (stop, stopped) = mpsc::channel();
        let runner: Runner = Box::new(move || {
            // All of them end with the machine.
            let ports = ports;
            let (mut line, mut archive) = (String::new(), [0; 7]);
            let mut reader = BufReader::new(&ports.control);
            reader.read_line(&mut line).expect("a line");
            reader.read_exact(&mut archive).expect("an archive");
            assert_eq!(archive, *b"command");
            say(&ports.control, words);
            stopped.recv().expect("stopped");
            Ok(MachineEnd::Stopped)
        });
        let mut recorder = Recorder::new("kvm");
        let orders = Orders { prepare: Some((*b"prepare").into()), ..orders(b"command") };
        let task = Task::Ready(orders);
        let mut session = Session::new(options, stdio);
        session.attend(ends, task, &Fake(stop), runner, &mut recorder).expect("result")
    };
    let short = SessionOptions { boot_limit: Duration::from_millis(1), ..options() };
    let dead = attempt("", short.clone());
    assert_eq!((dead.started, dead.end), (false, RunEnd::NeverStarted(short.boot_limit)));
    let limit = Duration::from_millis(500);
    let options = SessionOptions { run_limit: Some(limit), ..options() };
    let alive = attempt("{\"begun\":true}\n", options);
    assert_eq!((alive.started, alive.end), (true, RunEnd::TimedOut(limit)));
}

#[test]
fn a_boot_that_is_tried_again_hears_nothing_of_the_first() {
    let (stdio_end, _keep) = UnixStream::pair().expect("stdio");
    let file = || File::from(OwnedFd::from(stdio_end.try_clone().expect("a copy")));
    let stdio = Stdio { input: file(), output: file(), error: file() };
    let mut session = Session::new(options(), stdio);
    let mut recorder = Recorder::new("nested");
    let (stop, _stopped) = mpsc::channel();
    let fake = Fake(stop);
    let mut attempt = |end: fn(&GuestStreams) -> MachineEnd| {
        let (ends, ports) = connect().expect("sockets");
        let runner: Runner = Box::new(move || Ok(end(&ports)));
        session
            .attend(ends, Task::Direct(orders(b"")), &fake, runner, &mut recorder)
            .expect("result")
    };
    let first = attempt(|_| MachineEnd::Panic);
    assert_eq!((first.end, first.started), (RunEnd::Lost(MachineEnd::Panic), false));
    let second = attempt(|ports| {
        say(&ports.control, "{\"started\":true}\n{\"exit\":0}\n");
        MachineEnd::PowerOff
    });
    assert_eq!((second.end, second.started), (RunEnd::Exit(0), true));
}
