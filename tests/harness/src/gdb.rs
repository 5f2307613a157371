// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A debugger that speaks GDB's remote protocol, as much of it as tests need.

use std::io::{self, Error, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A debugger that is attached.
pub struct Gdb(TcpStream);

impl Gdb {
    /// Attaches at a port of this host, and waits `patience` for each answer from then on.
    pub fn attach(port: u16, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Asks for something that is answered.
    pub fn ask(&mut self, packet: &str) -> io::Result<String> {
        self.say(packet)?;
        self.hear()
    }

    /// Says something whose answer may come later.
    pub fn say(&mut self, packet: &str) -> io::Result<()> {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        write!(self.0, "${packet}#{sum:02x}")
    }

    /// Stops a guest that runs.
    pub fn interrupt(&mut self) -> io::Result<()> {
        self.0.write_all(&[3])
    }

    /// The next packet.
    pub fn hear(&mut self) -> io::Result<String> {
        let mut packet = String::new();
        while self.byte()? != b'$' {}
        loop {
            match self.byte()? {
                b'#' => break,
                // The last character is to be repeated so often.
                b'*' => {
                    let times = usize::from(self.byte()?.saturating_sub(29));
                    let last = packet.pop().ok_or_else(|| Error::other("nothing to repeat"))?;
                    packet.extend(std::iter::repeat_n(last, times + 1));
                }
                byte => packet.push(char::from(byte)),
            }
        }
        let _sum = [self.byte()?, self.byte()?];
        self.0.write_all(b"+")?;
        Ok(packet)
    }

    /// A general register of the thread that was chosen last, as GDB numbers them: 5 is RDI, 16 RIP.
    pub fn register(&mut self, number: usize) -> io::Result<u64> {
        let all = bytes(&self.ask("g")?)?;
        word(all.get(8 * number..).unwrap_or_default())
    }

    /// Memory at an address of the thread that was chosen last.
    pub fn memory(&mut self, address: u64, len: usize) -> io::Result<Vec<u8>> {
        let answer = self.ask(&format!("m{address:x},{len:x}"))?;
        bytes(&answer).map_err(|error| Error::other(format!("at {address:#x}: {error}")))
    }

    /// A pointer in memory.
    pub fn pointer(&mut self, address: u64) -> io::Result<u64> {
        word(&self.memory(address, 8)?)
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

fn bytes(hex: &str) -> io::Result<Vec<u8>> {
    let wrong = || Error::other(format!("'{hex}' where bytes should be"));
    let pair = |at| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..hex.len()).step_by(2).map(|at| pair(at).ok_or_else(wrong)).collect()
}

fn word(bytes: &[u8]) -> io::Result<u64> {
    let word = bytes.first_chunk().ok_or_else(|| Error::other("fewer than 8 bytes"))?;
    Ok(u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn packets_have_a_sum_and_repetitions() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut gdb = Gdb::attach(port, Duration::from_secs(20)).unwrap();
        let (mut stub, _) = listener.accept().unwrap();
        // Eleven more zeros.
        stub.write_all(b"+$78560*(#5c$zz#f4").unwrap();
        assert_eq!(gdb.pointer(0x10).unwrap(), 0x5678);
        assert!(gdb.memory(0, 1).is_err());
        let mut said = [0; 15];
        stub.read_exact(&mut said).unwrap();
        assert_eq!(&said[..], b"$m10,8#32+$m0,1");
    }
}
