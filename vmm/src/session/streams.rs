// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The byte streams between host and guest, and the threads that copy them.

use crate::machine::GuestStreams;
use crate::output::{wait_for, write_all};
use nix::poll::PollFlags;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// What ends a session when typed in raw mode: Ctrl-], as in telnet and virsh.
const ESCAPE: u8 = 0x1d;

/// Both ends of a guest's streams: ours and the machine's.
pub fn connect() -> io::Result<(GuestStreams, GuestStreams)> {
    let pair = UnixStream::pair;
    let (serial, stdin, stdout, stderr, control) = (pair()?, pair()?, pair()?, pair()?, pair()?);
    let streams = |[serial, stdin, stdout, stderr, control]: [UnixStream; 5]| GuestStreams {
        serial,
        stdin,
        stdout,
        stderr,
        control,
    };
    Ok((
        streams([serial.0, stdin.0, stdout.0, stderr.0, control.0]),
        streams([serial.1, stdin.1, stdout.1, stderr.1, control.1]),
    ))
}

/// The program's own standard streams, unbuffered.
#[derive(Debug)]
pub struct Stdio {
    pub input: File,
    pub output: File,
    pub error: File,
}

impl Stdio {
    /// Those of this process.
    pub fn of_process() -> io::Result<Stdio> {
        let file = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
        Ok(Stdio {
            input: file(io::stdin().as_fd())?,
            output: file(io::stdout().as_fd())?,
            error: file(io::stderr().as_fd())?,
        })
    }
}

/// Copies the user's input to the guest, which sees its end; in raw mode, true as
/// soon as the escape character is typed.
pub fn copy_input(mut input: File, mut guest: UnixStream, raw: bool) -> bool {
    let mut buffer = [0u8; 4096];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait_for(&input, PollFlags::POLLIN);
                continue;
            }
            Err(_) => break,
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        if raw && bytes.contains(&ESCAPE) {
            return true;
        }
        if guest.write_all(bytes).is_err() {
            break;
        }
    }
    // Fails only where the guest has gone already.
    let _ = guest.shutdown(Shutdown::Write);
    false
}

/// Copies what the guest writes, until it ends. When our side can take no
/// more, `gone` is told once and the rest is dropped, so that the guest is
/// never held up by it.
pub fn copy_output(mut guest: UnixStream, output: &File, gone: impl FnOnce(io::Error)) {
    let mut gone = Some(gone);
    read_all(&mut guest, |bytes| {
        if gone.is_some()
            && let Err(error) = write_all(output, bytes)
            && let Some(gone) = gone.take()
        {
            gone(error);
        }
    });
}

/// Reads until the stream ends.
pub fn read_all(stream: &mut UnixStream, mut each: impl FnMut(&[u8])) {
    let mut buffer = vec![0u8; 64 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => each(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
