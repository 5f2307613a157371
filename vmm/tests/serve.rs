// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `farfault serve` as a program: its socket, its output, its end.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_farfault");

/// A server that is ready, and a folder with its sockets.
struct Server {
    child: Child,
    folder: TempDir,
    output: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(sockets: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut words = vec!["serve".to_owned(), "--ready-fd=1".to_owned()];
        for name in sockets {
            words.push(format!("--socket={}", folder.path().join(name).display()));
        }
        let mut command = Command::new("env");
        command.args(["--default-signal", PROGRAM]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a server");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        // The options, and the line that says that clients can come.
        for number in 0..=sockets.len() + 1 {
            let mut line = String::new();
            output.read_line(&mut line).expect("a line");
            match number {
                0 => assert!(line.contains("share=on"), "{line}"),
                last if last > sockets.len() => assert_eq!(line, "\n"),
                _ => assert!(line.contains(sockets[number - 1]), "{line}"),
            }
        }
        Self { child, folder, output }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn connect(&self, name: &str) -> UnixStream {
        let client = UnixStream::connect(self.path(name)).expect("a client");
        client.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        client
    }

    /// Its exit code after a signal, and what it said.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("bash").args(["-c", &kill]).status().expect("bash").success());
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        let code = self.child.wait().expect("ended").code();
        assert_eq!(fs::read_dir(self.folder.path()).expect("a folder").count(), 0, "sockets stay");
        self.output.read_to_string(&mut said).expect("text");
        (code, said)
    }
}

/// A command without a body, or one that its size says is longer.
fn message(command: u16, size: u32, body: &[u8]) -> Vec<u8> {
    let head = [[1, 0], command.to_le_bytes()].concat();
    [head, size.to_le_bytes().to_vec(), vec![0; 8], body.to_vec()].concat()
}

fn greet(client: &mut UnixStream) {
    client.write_all(&message(1, 20, &[0; 4])).expect("written");
    let mut reply = [0; 20];
    client.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply[8..16], [1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_signal_ends_it_whoever_is_there() {
    let nobody = Server::start(&["one", "two"]);
    let mode = fs::metadata(nobody.path("two")).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(nobody.end("TERM"), (Some(143), String::new()));

    let silent = Server::start(&["one"]);
    let _holds = silent.connect("one");
    assert_eq!(silent.end("INT"), (Some(130), String::new()));

    let deaf = Server::start(&["one"]);
    let mut client = deaf.connect("one");
    greet(&mut client);
    client.set_nonblocking(true).expect("a socket");
    let read = message(9, 32, &[[0; 8], [7, 0, 0, 0, 0, 16, 0, 0]].concat());
    let mut stuck = 0;
    while stuck < 20 {
        match client.write(&read) {
            Ok(written) => {
                assert_eq!(written, read.len());
                stuck = 0;
            }
            Err(_) => {
                stuck += 1;
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    assert_eq!(deaf.end("TERM"), (Some(143), String::new()));
}

#[test]
fn one_client_comes_after_the_other() {
    let server = Server::start(&["one"]);
    greet(&mut server.connect("one"));
    // Noise, and messages that end too early or never.
    let mut noise = server.connect("one");
    let _ = noise.write_all(&[0xff; 100]);
    let mut early = server.connect("one");
    greet(&mut early);
    early.write_all(&message(9, 32, &[0; 3])).expect("written");
    drop((noise, early));
    greet(&mut server.connect("one"));
    let (code, said) = server.end("TERM");
    assert_eq!(code, Some(143));
    assert!(said.contains("a message of 4294967295 bytes, which is none of vfio-user"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn what_cannot_be_served_is_bad_usage() {
    let server = Server::start(&["one"]);
    let taken = server.path("one").display().to_string();
    let cases: [(&[&str], &str); 4] = [
        (&["--socket", &taken], "Address already in use"),
        (&["--socket", "/nowhere/s"], "--socket /nowhere/s: No such file or directory"),
        (&["--socket", "/tmp/x", "--device", "engines=0"], "a device has 1 to 16 engines, not 0"),
        (&["--socket", "/tmp/x", "--ready-fd", "99"], "--ready-fd 99: No such file or directory"),
    ];
    for (words, told) in cases {
        let output = Command::new(PROGRAM).arg("serve").args(words).output().expect("ended");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{words:?}: {said}");
        assert!(said.contains(told) && said.lines().count() == 1, "{words:?}: {said}");
    }
    assert_eq!(server.end("TERM").0, Some(143));
}

/// Once it serves, it opens nothing: every thread is under a filter and stays so.
#[test]
fn it_is_shut_in() {
    let server = Server::start(&["one"]);
    let mut client = server.connect("one");
    greet(&mut client);
    let process = PathBuf::from(format!("/proc/{}/task", server.child.id()));
    let threads: Vec<_> = fs::read_dir(process).expect("threads").flatten().collect();
    // The first, that for signals, one for the socket, and those of a client's device.
    assert!(threads.len() >= 6, "{threads:?}");
    for thread in threads {
        let status = fs::read_to_string(thread.path().join("status")).expect("its status");
        assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    }
    assert_eq!(server.end("TERM"), (Some(143), String::new()));
}
