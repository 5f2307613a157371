// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The serial line between a guest's port accesses and the host's stream.

use super::*;
use event_manager::{EventManager, SubscriberId, SubscriberOps};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const LINE_STATUS: u16 = 5;
const DATA_READY: u8 = 1;

struct Rig {
    port: Arc<SerialPort>,
    interrupt: EventFd,
    host: UnixStream,
    events: EventManager<SerialLine>,
    id: SubscriberId,
}

impl Rig {
    fn new() -> Rig {
        let interrupt = EventFd::new(EFD_NONBLOCK).unwrap();
        let port = SerialPort::new(interrupt.try_clone().unwrap()).unwrap();
        let (guest, host) = UnixStream::pair().unwrap();
        host.set_nonblocking(true).unwrap();
        let mut events = EventManager::new().unwrap();
        let id = events.add_subscriber(SerialLine::new(Arc::clone(&port), guest).unwrap());
        Rig { port, interrupt, host, events, id }
    }

    fn turn(&mut self) {
        while self.events.run_with_timeout(0).unwrap() > 0 {}
    }

    fn print(&self, bytes: &[u8]) {
        for byte in bytes {
            self.port.write(DATA, *byte);
        }
    }

    /// What the guest reads until there is no more.
    fn type_in(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.turn();
        while self.port.read(LINE_STATUS) & DATA_READY != 0 {
            bytes.push(self.port.read(DATA));
            self.turn();
        }
        bytes
    }

    fn host_read(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Fails where there is no more for now.
        let _ = self.host.read_to_end(&mut bytes);
        bytes
    }

    fn is_flushed(&mut self) -> bool {
        self.events.subscriber_mut(self.id).unwrap().is_flushed()
    }
}

#[test]
fn what_the_guest_prints_arrives() {
    let mut rig = Rig::new();
    rig.print(b"hello");
    assert!(!rig.is_flushed());
    rig.turn();
    assert!(rig.is_flushed());
    assert_eq!(rig.host_read(), b"hello");
}

#[test]
fn what_is_typed_arrives_with_an_interrupt() {
    let mut rig = Rig::new();
    rig.port.write(INTERRUPT_ENABLE, 1);
    rig.host.write_all(b"x").unwrap();
    rig.turn();
    assert_eq!(rig.interrupt.read().unwrap(), 1);
    assert_eq!(rig.type_in(), b"x");
}

#[test]
fn more_input_than_the_port_holds_waits_and_is_not_lost() {
    let mut rig = Rig::new();
    let typed: Vec<u8> = (0..=255).cycle().take(1000).collect();
    rig.host.write_all(&typed).unwrap();
    assert_eq!(rig.type_in(), typed);
}

#[test]
fn output_waits_for_a_slow_reader_up_to_the_backlog() {
    let mut rig = Rig::new();
    let mut printed = 0;
    // Until the stream is full; then the backlog fills.
    while rig.is_flushed() {
        rig.print(&[b'.'; 4096]);
        printed += 4096;
        rig.turn();
    }
    let waiting = printed - rig.host_read().len();
    rig.turn();
    let arrived = rig.host_read().len();
    assert_eq!(arrived, waiting);
    assert!(rig.is_flushed());
}

#[test]
fn output_beyond_the_backlog_is_lost_and_the_reader_is_told() {
    let mut rig = Rig::new();
    rig.print(&vec![b'.'; BACKLOG + 100]);
    let mut arrived = Vec::new();
    while !rig.is_flushed() {
        rig.turn();
        arrived.extend(rig.host_read());
    }
    rig.print(b"on");
    rig.turn();
    arrived.extend(rig.host_read());
    let told =
        b"\r\n[farfault: 100 bytes of the serial log are lost: nobody read them in time]\r\non";
    assert_eq!(String::from_utf8_lossy(&arrived[BACKLOG..]), String::from_utf8_lossy(told));
}

#[test]
fn input_waits_for_the_end_of_loopback() {
    let mut rig = Rig::new();
    rig.port.write(MODEM_CONTROL, 1 << 4);
    rig.host.write_all(b"x").unwrap();
    assert_eq!(rig.type_in(), b"");
    rig.port.write(MODEM_CONTROL, 0);
    assert_eq!(rig.type_in(), b"x");
}

#[test]
fn a_host_that_has_gone_stops_nothing() {
    let mut rig = Rig::new();
    drop(std::mem::replace(&mut rig.host, UnixStream::pair().unwrap().0));
    rig.print(b"to nobody");
    rig.turn();
    assert!(rig.is_flushed());
}

#[test]
fn another_port_goes_on_where_one_was_saved() {
    let mut rig = Rig::new();
    rig.port.write(INTERRUPT_ENABLE, 1);
    rig.host.write_all(b"typed").unwrap();
    rig.turn();
    let _ = rig.interrupt.read();
    let saved = |rig: &mut Rig| rig.events.subscriber_mut(rig.id).unwrap().save();
    let mut other = Rig::new();
    let state = saved(&mut rig).expect("idle");
    other.events.subscriber_mut(other.id).unwrap().restore(&state).unwrap();
    assert_eq!(saved(&mut other), Some(state));
    assert_eq!(other.interrupt.read().unwrap(), 1, "what is pending is raised");
    assert_eq!(other.type_in(), b"typed");
    other.print(b"printed");
    assert_eq!(saved(&mut other), None);
    other.turn();
    assert_eq!(other.host_read(), b"printed");
}
