// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A client at one end of a socket pair, and at the other a device that writes down what it
//! is asked for.

use farfault_vfio_user::{
    Bell, DmaMap, Ended, Errno, HEADER_SIZE, Header, IrqInfo, RegionInfo, Served, SetIrqs, Span,
    serve,
};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

#[derive(Default)]
struct Recorder {
    log: Vec<String>,
}

impl Served for Recorder {
    fn admits(&self) -> Result<(), Errno> {
        if self.log.len() > 5 { Err(Errno::BUSY) } else { Ok(()) }
    }
    fn region(&self, index: u32) -> RegionInfo {
        RegionInfo { size: if index == 0 { 0x1000 } else { 0 } }
    }
    fn irqs(&self, index: u32) -> IrqInfo {
        IrqInfo { count: if index == 2 { 4 } else { 0 } }
    }
    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) {
        data.fill(0x5a);
        self.log.push(format!("read {region} {offset:#x} {}", data.len()));
    }
    fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        self.log.push(format!("write {region} {offset:#x} {data:?}"));
    }
    fn map(&mut self, map: &DmaMap, file: Option<OwnedFd>) -> Result<(), Errno> {
        self.log.push(format!("map {:#x} {}", map.span.first, file.is_some()));
        if map.span.first == 0xbad000 { Err(Errno::EXIST) } else { Ok(()) }
    }
    fn unmap(&mut self, span: Span) -> Result<(), Errno> {
        self.log.push(format!("unmap {:#x} {:#x}", span.first, span.last));
        Ok(())
    }
    fn set_irqs(&mut self, set: &SetIrqs<'_>, events: Vec<OwnedFd>) -> Result<(), Errno> {
        self.log.push(format!("irqs {} {} {}", set.start, set.count, events.len()));
        Ok(())
    }
    fn reset(&mut self) {
        self.log.push("reset".to_owned());
    }
    fn goes_on(&self) -> bool {
        true
    }
}

/// The client, and the thread that serves it.
struct Pair {
    client: UnixStream,
    bell: Arc<Bell>,
    server: JoinHandle<(Ended, Vec<String>)>,
}

impl Pair {
    /// Nothing was said yet.
    fn silent() -> Self {
        let (client, other) = UnixStream::pair().expect("a pair");
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let bell = Arc::new(Bell::new().expect("a bell"));
        let rings = Arc::clone(&bell);
        let server = thread::spawn(move || {
            let mut device = Recorder::default();
            let ended = serve(other, &rings, &mut device);
            (ended, device.log)
        });
        Self { client, bell, server }
    }

    /// Versions have been exchanged.
    fn new() -> Self {
        let mut pair = Self::silent();
        pair.ask(1, &[0; 4]).expect("a version");
        pair
    }

    fn send(&mut self, command: u16, flags: u32, body: &[u8], files: &[OwnedFd]) {
        let size = (HEADER_SIZE + body.len()) as u32;
        let header = Header { id: 77, command, size, flags, error: 0 };
        let bytes = [&header.to_bytes(), body].concat();
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&files)));
        }
        let flags = SendFlags::empty();
        let sent = sendmsg(&self.client, &[IoSlice::new(&bytes)], &mut ancillary, flags);
        assert_eq!(sent, Ok(bytes.len()));
    }

    fn reply(&mut self) -> (Header, Vec<u8>) {
        let mut bytes = [0; HEADER_SIZE];
        self.client.read_exact(&mut bytes).expect("a header");
        let header = Header::from_bytes(&bytes);
        let mut body = vec![0; header.body().expect("a body")];
        self.client.read_exact(&mut body).expect("a body");
        assert!(!header.is_command() && header.id == 77);
        (header, body)
    }

    fn ask_with(&mut self, command: u16, body: &[u8], files: &[OwnedFd]) -> Result<Vec<u8>, Errno> {
        self.send(command, 0, body, files);
        let (header, body) = self.reply();
        match header.flags {
            1 => Ok(body),
            0x21 if body.is_empty() => Err(Errno::from_raw_os_error(header.error as i32)),
            _ => panic!("{header:?}"),
        }
    }

    fn ask(&mut self, command: u16, body: &[u8]) -> Result<Vec<u8>, Errno> {
        self.ask_with(command, body, &[])
    }

    fn end(self) -> (Ended, Vec<String>) {
        drop(self.client);
        self.server.join().expect("no panic")
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn events(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd")).collect()
}

const MAP: [u32; 8] = [32, 3, 0, 0, 0x1000, 0, 0x1000, 0];

#[test]
fn versions_come_first_and_once() {
    let mut pair = Pair::silent();
    assert_eq!(pair.ask(4, &words(&[16, 0])), Err(Errno::INVAL));
    assert_eq!(pair.ask(1, &[1, 0, 0, 0]), Err(Errno::PROTONOSUPPORT));
    assert_eq!(pair.ask(1, &[0, 0, 1, 0, b'{', 0]), Err(Errno::INVAL));
    assert_eq!(pair.ask(1, &[0, 0, 1, 0, 0xff, 0xfe]), Err(Errno::INVAL));
    assert_eq!(pair.ask(1, &[0, 0]), Err(Errno::INVAL));
    let reply = pair.ask(1, b"\0\0\x07\0{\"later\":[1]}").expect("no capabilities, no NUL");
    assert_eq!(reply[..4], [0; 4]);
    assert_eq!(reply.last(), Some(&0));
    let offer: serde_json::Value =
        serde_json::from_slice(&reply[4..reply.len() - 1]).expect("JSON");
    assert_eq!(offer["capabilities"]["max_msg_fds"], 16);
    assert_eq!(offer["capabilities"]["max_data_xfer_size"], 1 << 20);
    assert_eq!(pair.ask(1, &[0; 4]), Err(Errno::INVAL));
    assert_eq!(pair.end(), (Ended::Left, Vec::new()));
}

#[test]
fn the_device_is_described() {
    let mut pair = Pair::new();
    assert_eq!(pair.ask(4, &words(&[16, 0, 0, 0])), Ok(words(&[16, 3, 9, 5])));
    let region = |size, flags, index| words(&[32, flags, index, 0, size, 0, 0, 0]);
    let ask = |index| words(&[32, 0, index, 0, 0, 0, 0, 0]);
    assert_eq!(pair.ask(5, &ask(0)), Ok(region(0x1000, 3, 0)));
    assert_eq!(pair.ask(5, &ask(8)), Ok(region(0, 0, 8)));
    assert_eq!(pair.ask(5, &ask(9)), Err(Errno::INVAL));
    assert_eq!(pair.ask(7, &words(&[16, 0, 2, 0])), Ok(words(&[16, 9, 2, 4])));
    assert_eq!(pair.ask(7, &words(&[16, 0, 3, 0])), Ok(words(&[16, 0, 3, 0])));
    assert_eq!(pair.ask(7, &words(&[16, 0, 5, 0])), Err(Errno::INVAL));
    // To whoever cannot have it.
    (0..6).for_each(|_| pair.ask(13, &[]).map(drop).expect("a reset"));
    assert_eq!(pair.ask(4, &words(&[16, 0, 0, 0])), Err(Errno::BUSY));
}

#[test]
fn errors_are_real_and_what_follows_is_understood() {
    let mut pair = Pair::new();
    assert_eq!(pair.ask(6, &[9; 5000]), Err(Errno::NOTSUP));
    let bad = [32, 3, 0, 0, 0xbad000, 0, 0x1000, 0];
    assert_eq!(pair.ask(2, &words(&bad)), Err(Errno::EXIST));
    assert_eq!(pair.ask(9, &words(&[0xffe, 0, 0, 4])), Err(Errno::INVAL));
    assert_eq!(pair.ask(9, &words(&[u32::MAX, u32::MAX, 0, 4])), Err(Errno::INVAL));
    assert_eq!(pair.ask(9, &words(&[0, 0, 1, 4])), Err(Errno::INVAL));
    assert_eq!(pair.ask(9, &words(&[0, 0, 99, 4])), Err(Errno::INVAL));
    let read = pair.ask(9, &words(&[0xffc, 0, 0, 4])).expect("the last word");
    assert_eq!(read, [words(&[0xffc, 0, 0, 4]), vec![0x5a; 4]].concat());
    assert_eq!(pair.end().1, ["map 0xbad000 false", "read 0 0xffc 4"]);
}

#[test]
fn who_wants_no_reply_gets_none() {
    let mut pair = Pair::new();
    pair.send(10, 0x10, &words(&[8, 0, 0, 4, 1]), &[]);
    pair.send(10, 0x10, &words(&[8, 0, 99, 4, 1]), &[]);
    // A reply to nothing, and flags of a newer protocol.
    pair.send(13, 1, &[], &[]);
    pair.send(13, 0xffff_ff10, &[], &[]);
    assert_eq!(pair.ask(13, &[]), Ok(Vec::new()));
    let several = [vec![1, 0, 0, 0, 0, 0, 0, 0], words(&[16, 0, 0, 1, 7, 0])].concat();
    assert_eq!(pair.ask(15, &several), Ok(vec![1, 0, 0, 0, 0, 0, 0, 0]));
    let log = ["write 0 0x8 [1, 0, 0, 0]", "reset", "reset", "write 0 0x10 [7]"];
    assert_eq!(pair.end().1, log);
}

#[test]
fn descriptors_come_with_their_message() {
    let mut pair = Pair::new();
    pair.send(2, 0x10, &words(&MAP), &events(1));
    pair.send(2, 0x10, &words(&MAP), &[]);
    assert_eq!(pair.ask_with(2, &words(&MAP), &events(2)), Err(Errno::INVAL));
    let set = |start, count| words(&[20, 0x24, 2, start, count]);
    assert_eq!(pair.ask_with(8, &set(0, 4), &events(4)), Ok(Vec::new()));
    assert_eq!(pair.ask_with(8, &set(3, 1), &[]), Ok(Vec::new()));
    assert_eq!(pair.ask_with(8, &set(0, 4), &events(3)), Err(Errno::INVAL));
    assert_eq!(pair.ask_with(8, &set(3, 2), &events(2)), Err(Errno::INVAL));
    for many in [17, 60] {
        assert_eq!(pair.ask_with(8, &set(0, 4), &events(many)), Err(Errno::TOOBIG));
    }
    assert_eq!(pair.ask_with(8, &words(&[20, 0x21, 2, 0, 0]), &[]), Ok(Vec::new()));
    assert_eq!(
        pair.end().1,
        ["map 0x1000 true", "map 0x1000 false", "irqs 0 4 4", "irqs 3 1 0", "irqs 0 0 0"]
    );
}

#[test]
fn what_is_no_message_ends_the_connection() {
    for size in [0, 15, 2 << 20, u32::MAX] {
        let mut pair = Pair::new();
        let header = Header { id: 0, command: 4, size, flags: 0, error: 0 };
        pair.client.write_all(&header.to_bytes()).expect("written");
        assert_eq!(pair.end().0, Ended::Framing(size));
    }
    let mut pair = Pair::new();
    pair.client.write_all(&[0; 7]).expect("written");
    assert_eq!(pair.end().0, Ended::Left);
}

#[test]
fn messages_may_come_in_pieces() {
    let mut pair = Pair::new();
    let header = Header { id: 77, command: 9, size: 32, flags: 0, error: 0 };
    let bytes = [header.to_bytes().to_vec(), words(&[0, 0, 0, 4])].concat();
    for byte in bytes {
        pair.client.write_all(&[byte]).expect("written");
    }
    assert_eq!(pair.reply().1.len(), 20);
}

#[test]
fn the_bell_ends_waiting_for_whoever_is_silent_or_deaf() {
    let pair = Pair::new();
    pair.bell.ring();
    assert_eq!(pair.server.join().expect("no panic").0, Ended::Bell);

    let mut pair = Pair::new();
    pair.client.set_nonblocking(true).expect("a socket");
    let ask = Header { id: 0, command: 9, size: 32, flags: 0, error: 0 };
    let ask = [ask.to_bytes().to_vec(), words(&[0, 0, 0, 0x1000])].concat();
    // Until the server is stuck with its replies, and nothing more goes in.
    let mut refusals = 0;
    while refusals < 20 {
        match pair.client.write(&ask) {
            Ok(written) => {
                assert_eq!(written, ask.len(), "a message is taken whole");
                refusals = 0;
            }
            Err(_) => {
                refusals += 1;
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
    pair.bell.ring();
    assert_eq!(pair.server.join().expect("no panic").0, Ended::Bell);
}
