// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Marks: tells init, and through it the host, that a named point was reached,
//! so that counters can be told apart by phase.

use crate::Failure;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Init's socket.
pub const SOCKET: &str = "/run/farfault/control";

/// Returns when the host has taken its snapshot.
pub fn mark(name: &str) -> Result<(), Failure> {
    mark_at(Path::new(SOCKET), name)
}

fn mark_at(socket: &Path, name: &str) -> Result<(), Failure> {
    let told = |error| format!("cannot mark '{name}' at {}: {error}", socket.display());
    let mut stream = UnixStream::connect(socket).map_err(told)?;
    stream.write_all(format!("{name}\n").as_bytes()).map_err(told)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(told)?;
    match answer.trim_end() {
        "ok" => Ok(()),
        why => Err(format!("init refuses the mark '{name}': {why}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn answered(reply: &'static str) -> (Result<(), Failure>, String) {
        let folder = std::env::temp_dir();
        let unique = format!("farfault-marks-{}-{}", std::process::id(), reply.len());
        let socket = folder.join(unique);
        let listener = UnixListener::bind(&socket).unwrap();
        let init = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            (&stream).write_all(reply.as_bytes()).unwrap();
            line
        });
        let result = mark_at(&socket, "warm");
        std::fs::remove_file(&socket).unwrap();
        (result, init.join().unwrap())
    }

    #[test]
    fn a_mark_is_a_line_each_way() {
        let (result, line) = answered("ok\n");
        result.unwrap();
        assert_eq!(line, "warm\n");
        let (result, _) = answered("error: too long\n");
        let told = result.unwrap_err().to_string();
        assert_eq!(told, "init refuses the mark 'warm': error: too long");
        assert!(mark_at(Path::new("/nonexistent"), "x").is_err());
    }
}
