// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The console against a driver that behaves, and against those that do not.

use super::*;
use crate::devices::virtio::control::message;
use crate::devices::virtio::test_driver::{MEMORY, Rig, SIZE, area};
use crate::pci::test_doubles::Sent;
use crate::pci::{NO_VECTOR, PciDevice};
use proptest::prelude::*;
use std::net::Shutdown;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const NEEDS_RESET: u8 = 64;

fn answers(rig: &mut Rig) -> Vec<Vec<u8>> {
    rig.turn();
    std::iter::from_fn(|| rig.receive(2)).collect()
}

#[test]
fn ports_are_introduced_in_the_order_that_drivers_expect() {
    let mut rig = Rig::started();
    (0..SIZE).for_each(|_| rig.offer(2, 64));
    rig.send(3, &message(0, 0, 1));
    assert_eq!(answers(&mut rig), [control::port_add(0), control::port_add(1)]);
    rig.send(3, &message(1, 3, 1));
    assert_eq!(answers(&mut rig), [control::port_name(1, "second"), control::port_open(1, true)]);
}

#[test]
fn bytes_travel_both_ways_on_their_own_port() {
    let mut rig = Rig::open();
    rig.send(3, &message(1, 6, 1));
    rig.send(1, b"from the first");
    rig.send(5, b"from the second");
    rig.offer(0, 64);
    rig.offer(4, 64);
    rig.turn();
    assert_eq!(rig.host_read(0), b"from the first");
    assert_eq!(rig.host_read(1), b"from the second");
    rig.host_write(0, b"to the first");
    rig.host_write(1, b"to the second");
    rig.turn();
    assert_eq!(rig.receive(0).unwrap(), b"to the first");
    assert_eq!(rig.receive(4).unwrap(), b"to the second");
}

#[test]
fn input_waits_until_a_program_listens() {
    let mut rig = Rig::started();
    rig.offer(0, 64);
    rig.host_write(0, b"early");
    rig.turn();
    assert_eq!(rig.receive(0), None);
    rig.send(3, &message(0, 6, 1));
    rig.turn();
    assert_eq!(rig.receive(0).unwrap(), b"early");
}

#[test]
fn input_waits_for_buffers_and_fills_them_in_order() {
    let mut rig = Rig::open();
    rig.host_write(0, b"abcdef");
    rig.turn();
    rig.offer(0, 4);
    rig.offer(0, 4);
    rig.turn();
    assert_eq!(rig.receive(0).unwrap(), b"abcd");
    assert_eq!(rig.receive(0).unwrap(), b"ef");
    assert_eq!(rig.receive(0), None);
}

#[test]
fn a_buffer_of_no_length_ends_nothing() {
    let mut rig = Rig::open();
    rig.offer(0, 0);
    rig.offer(0, 4);
    rig.offer(0, 4);
    rig.host_write(0, b"abcdef");
    rig.turn();
    let received: Vec<_> = std::iter::from_fn(|| rig.receive(0)).collect();
    assert_eq!(received, [&b""[..], b"abcd", b"ef"]);
    // Nor is a control message lost in one.
    let mut rig = Rig::started();
    [0, 64, 64].into_iter().for_each(|length| rig.offer(2, length));
    rig.send(3, &message(0, 0, 1));
    assert_eq!(answers(&mut rig), [vec![], control::port_add(0), control::port_add(1)]);
}

#[test]
fn the_end_of_input_is_told_once_after_all_data() {
    let mut rig = Rig::open();
    rig.offer(0, 64);
    rig.offer(0, 64);
    rig.host_write(0, b"last");
    rig.host[0].shutdown(Shutdown::Write).unwrap();
    let told = answers(&mut rig);
    assert_eq!(rig.receive(0).unwrap(), b"last");
    assert_eq!(told, [control::port_open(0, false)]);
    rig.offer(0, 64);
    assert_eq!(answers(&mut rig), [[0; 0]; 0]);
}

#[test]
fn a_full_stream_keeps_the_drivers_buffer_and_loses_nothing() {
    let mut rig = Rig::open();
    let mut sent = Vec::new();
    let chunk = |n: u16| n.to_le_bytes().repeat(2048);
    // Until the stream takes no more: the buffer is not given back.
    for n in 0.. {
        rig.send(1, &chunk(n));
        sent.extend(chunk(n));
        rig.turn();
        if rig.receive(1).is_none() {
            break;
        }
    }
    let mut received = rig.host_read(0);
    while received.len() < sent.len() {
        rig.turn();
        received.extend(rig.host_read(0));
    }
    assert!(received == sent);
    assert!(rig.receive(1).is_some());
}

#[test]
fn a_reader_that_has_gone_takes_everything() {
    let mut rig = Rig::open();
    rig.host.remove(0);
    for _ in 0..100 {
        rig.send(1, &[7; 4096]);
        rig.turn();
        assert!(rig.receive(1).is_some());
    }
}

#[test]
fn a_reset_lets_out_what_was_written_before_it() {
    let mut rig = Rig::open();
    rig.send(1, b"last words");
    rig.write8(0x14, 0);
    assert_ne!(rig.status(), 0, "not before the words are out");
    rig.turn();
    assert_eq!(rig.status(), 0);
    assert_eq!(rig.host_read(0), b"last words");
}

#[test]
fn the_end_of_the_guest_lets_out_what_was_never_kicked() {
    let mut rig = Rig::open();
    rig.send(1, b"last words");
    for kick in rig.transport.kicks() {
        let _ = kick.read();
    }
    rig.console().begin_flush();
    assert!(!rig.console().is_flushed());
    rig.turn();
    assert!(rig.console().is_flushed());
    assert_eq!(rig.host_read(0), b"last words");
}

#[test]
fn interrupts_come_with_the_vector_of_the_queue() {
    let mut rig = Rig::open();
    rig.sink.take();
    rig.send(1, b"x");
    rig.turn();
    assert_eq!(rig.sink.take(), [Sent::Sent(1)]);
}

#[test]
fn a_vector_that_is_not_there_reads_back_as_none() {
    let rig = Rig::new();
    rig.write16(0x10, 5);
    let mut vector = [0; 2];
    rig.transport.read(0, 0x10, &mut vector);
    assert_eq!(u16::from_le_bytes(vector), NO_VECTOR);
}

#[test]
fn another_console_goes_on_where_one_was_saved() {
    let mut rig = Rig::open();
    rig.offer(0, 64);
    rig.send(1, b"before");
    rig.turn();
    rig.sink.take();
    let mut other = rig.moved();
    other.sink.take();
    assert_eq!(other.status(), rig.status());
    // It uses the buffer that was offered to the first, and knows which port is open.
    other.host_write(0, b"in");
    other.host_write(1, b"not listened to");
    other.send(1, b"after");
    other.turn();
    assert_eq!(other.receive(0).unwrap(), b"in");
    assert_eq!((rig.host_read(0), other.host_read(0)), (b"before".to_vec(), b"after".to_vec()));
    let sent = other.sink.take();
    assert!(sent.iter().all(|sent| *sent == Sent::Sent(1)) && !sent.is_empty(), "{sent:?}");
}

#[test]
fn a_console_at_work_is_not_saved() {
    let mut rig = Rig::open();
    // The driver takes no answers.
    rig.send(3, &message(0, 0, 1));
    (0..4).for_each(|_| rig.send(3, &message(1, 3, 1)));
    rig.turn();
    assert!(rig.console().save().is_none());
    let mut rig = Rig::open();
    rig.offer(0, 64);
    rig.host[0].shutdown(Shutdown::Write).unwrap();
    rig.turn();
    assert!(rig.console().save().is_none(), "the end of a stream is not told again");
}

#[test]
fn what_was_saved_of_another_console_is_refused() {
    let saved = serde_json::to_value(Rig::open().console().save()).unwrap();
    let refuses = |change: fn(&mut serde_json::Value)| {
        let mut saved = saved.clone();
        change(&mut saved);
        let saved = serde_json::from_value(saved).unwrap();
        assert!(!Rig::new().console().restore(&saved), "{saved:?}");
    };
    refuses(|saved| drop(saved["open"].as_array_mut().unwrap().pop()));
    refuses(|saved| drop(saved["driver"]["queues"].as_array_mut().unwrap().pop()));
    refuses(|saved| saved["driver"]["queues"][1]["ring"]["size"] = 3.into());
    refuses(|saved| saved["driver"]["queues"][1]["ring"]["desc_table"] = 1.into());
}

#[test]
fn features_that_were_not_offered_are_not_accepted() {
    let rig = Rig::new();
    rig.write8(0x14, 3);
    rig.write32(0x08, 1);
    rig.write32(0x0c, 1);
    rig.write32(0x08, 0);
    rig.write32(0x0c, 1 << 5);
    rig.write8(0x14, 11);
    assert_eq!(rig.status(), 3);
}

#[test]
fn nothing_touches_memory_without_bus_mastering() {
    let mut rig = Rig::open();
    rig.transport.set_bus_master(false);
    rig.send(1, b"x");
    rig.turn();
    assert_eq!(rig.host_read(0), b"");
    rig.transport.set_bus_master(true);
    rig.turn();
    assert_eq!(rig.host_read(0), b"x");
}

#[test]
fn rings_outside_memory_are_not_enabled() {
    let rig = Rig::new();
    rig.negotiate();
    for base in [MEMORY as u64, !0xfff, 1 << 40] {
        rig.set_up(1, base);
        let mut enabled = [9; 2];
        rig.transport.read(0, 0x1c, &mut enabled);
        assert_eq!(enabled, [0, 0], "{base:#x}");
    }
}

#[test]
fn an_available_index_that_runs_ahead_stops_the_device_until_a_reset() {
    let mut rig = Rig::open();
    rig.set_available(1, SIZE + 1);
    rig.turn();
    assert_eq!(rig.status() & NEEDS_RESET, NEEDS_RESET);
    rig.write8(0x14, 0);
    assert_eq!(rig.status(), 0);
}

#[test]
fn a_chain_that_loops_ends() {
    let mut rig = Rig::open();
    rig.describe(1, 0, (area(1) + 0x1000, 8, NEXT, 1));
    rig.describe(1, 1, (area(1) + 0x1000, 8, NEXT, 0));
    rig.make_available(1, 0);
    rig.turn();
    assert_eq!(rig.host_read(0).len(), 8 * usize::from(SIZE));
}

#[test]
fn buffers_outside_memory_stop_the_device() {
    for (address, length) in [(MEMORY as u64 - 4, 8), (u64::MAX - 4, 8), (1 << 45, u32::MAX)] {
        let mut rig = Rig::open();
        rig.put(1, address, length, 0);
        rig.turn();
        assert_eq!(rig.status() & NEEDS_RESET, NEEDS_RESET, "{address:#x}");
        assert_eq!(rig.host_read(0), b"");
    }
}

#[test]
fn a_buffer_of_the_wrong_direction_is_given_back_empty() {
    let mut rig = Rig::open();
    rig.put(1, area(1) + 0x1000, 8, WRITE);
    rig.put(0, area(0) + 0x1000, 8, 0);
    rig.host_write(0, b"x");
    rig.turn();
    assert_eq!(rig.receive(1).unwrap(), b"");
    assert_eq!(rig.receive(0).unwrap(), b"");
    assert_eq!(rig.host_read(0), b"");
}

#[test]
fn a_driver_that_repeats_itself_cannot_make_us_remember_more_and_more() {
    let mut rig = Rig::started();
    // No buffers for the answers: after a while the questions stay where
    // they are.
    let mut unanswered = 0;
    for _ in 0..200 {
        rig.send(3, &message(0, 0, 1));
        rig.turn();
        if rig.receive(3).is_none() {
            unanswered += 1;
            break;
        }
    }
    assert_eq!(unanswered, 1);
}

#[test]
fn control_messages_about_ports_that_are_not_there_are_ignored() {
    let mut rig = Rig::started();
    rig.offer(2, 64);
    for id in [2, u32::MAX] {
        for event in [3, 6] {
            rig.send(3, &message(id, event, 1));
        }
    }
    rig.send(3, b"short");
    assert_eq!(answers(&mut rig), [[0; 0]; 0]);
}

proptest! {
    /// Whatever the registers and the rings hold, the event loop comes back
    /// and the device can be reset.
    #[test]
    fn no_ring_or_register_panics_or_hangs(
        registers in prop::collection::vec((0u64..0x40, any::<u32>(), 1usize..=8), 0..40),
        ring in prop::collection::vec((0u64..0x1000, any::<u64>()), 0..60),
        queue in 0u16..6,
    ) {
        use vm_memory::{Bytes, GuestAddress};
        let mut rig = Rig::open();
        for (offset, value) in ring {
            rig.memory.write_obj(value, GuestAddress(area(queue) + offset)).unwrap();
        }
        rig.host_write(0, b"input");
        let index = rig.memory.read_obj(GuestAddress(area(queue) + 0x402)).unwrap();
        rig.set_available(queue, index);
        rig.turn();
        for (register, value, size) in registers {
            let bytes = [value.to_le_bytes(), value.to_le_bytes()].concat();
            rig.transport.write(0, register, &bytes[..size]);
        }
        rig.turn();
        rig.host.clear();
        rig.write8(0x14, 0);
        rig.turn();
        prop_assert_eq!(rig.status(), 0);
    }
}
