// SPDX-License-Identifier: Apache-2.0 OR MIT
//! MSI-X: what is sent, when, and what stays pending.

use super::msix::{Message, Msix, PENDING};
use super::test_doubles::{Sent, Sink, VECTORS};

const FIRST: Message = Message { address: 0x1_fee0_1000, data: 0x4021 };

fn msix() -> (Msix, Sink) {
    let sink = Sink::default();
    (Msix::new(sink.vectors(VECTORS)), sink)
}

fn enabled() -> (Msix, Sink) {
    let (msix, sink) = msix();
    msix.configure(true, false, true);
    (msix, sink)
}

fn program(msix: &Msix, vector: u64, message: Message) {
    msix.write(16 * vector, &message.address.to_le_bytes());
    msix.write(16 * vector + 8, &message.data.to_le_bytes());
}

fn mask(msix: &Msix, vector: u64, masked: bool) {
    msix.write(16 * vector + 12, &u32::from(masked).to_le_bytes());
}

fn read_u32(msix: &Msix, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    msix.read(offset, &mut bytes);
    u32::from_le_bytes(bytes)
}

#[test]
fn vectors_begin_masked_and_read_back_what_was_written() {
    let (msix, _) = msix();
    assert_eq!(read_u32(&msix, 12), 1);
    program(&msix, 0, FIRST);
    assert_eq!(read_u32(&msix, 0), 0xfee0_1000);
    assert_eq!(read_u32(&msix, 4), 1);
    assert_eq!(read_u32(&msix, 8), 0x4021);
    let mut both = [0; 8];
    msix.read(8, &mut both);
    assert_eq!(both, [0x21, 0x40, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn a_message_is_programmed_when_its_vector_is_unmasked_and_then_sent() {
    let (msix, sink) = enabled();
    program(&msix, 1, FIRST);
    assert_eq!(sink.take(), []);
    mask(&msix, 1, false);
    assert_eq!(sink.take(), [Sent::Programmed(1, FIRST)]);
    msix.signal(1);
    msix.signal(1);
    assert_eq!(sink.take(), [Sent::Sent(1), Sent::Sent(1)]);
    assert_eq!(msix.sent(), 2);
}

#[test]
fn a_message_changed_while_unmasked_is_programmed_again() {
    let (msix, sink) = enabled();
    program(&msix, 0, FIRST);
    mask(&msix, 0, false);
    sink.take();
    msix.write(8, &7u32.to_le_bytes());
    assert_eq!(sink.take(), [Sent::Programmed(0, Message { data: 7, ..FIRST })]);
}

#[test]
fn a_masked_vector_is_pending_and_sent_once_when_unmasked() {
    let (msix, sink) = enabled();
    msix.signal(2);
    msix.signal(2);
    assert_eq!(sink.take(), []);
    assert_eq!(read_u32(&msix, PENDING), 0b100);
    mask(&msix, 2, false);
    assert_eq!(sink.take(), [Sent::Programmed(2, Message::default()), Sent::Sent(2)]);
    assert_eq!(read_u32(&msix, PENDING), 0);
}

#[test]
fn the_function_mask_and_bus_mastering_hold_back_all() {
    let (msix, sink) = msix();
    mask(&msix, 0, false);
    sink.take();
    for (all_masked, bus_master) in [(true, true), (false, false)] {
        msix.configure(true, all_masked, bus_master);
        msix.signal(0);
        assert_eq!(sink.take(), []);
        msix.configure(true, false, true);
        assert_eq!(sink.take(), [Sent::Sent(0)]);
    }
}

#[test]
fn nothing_is_sent_or_kept_while_msix_is_off() {
    let (msix, sink) = msix();
    mask(&msix, 0, false);
    msix.configure(false, false, true);
    msix.signal(0);
    msix.configure(true, false, true);
    assert_eq!(sink.take(), [Sent::Programmed(0, Message::default())]);
}

#[test]
fn vectors_that_do_not_exist_are_ignored() {
    let (msix, sink) = enabled();
    msix.signal(VECTORS);
    msix.signal(u16::MAX);
    mask(&msix, VECTORS.into(), false);
    assert_eq!(sink.take(), []);
    assert_eq!(read_u32(&msix, 16 * u64::from(VECTORS)), 0);
}

#[test]
fn pending_bits_are_read_only() {
    let (msix, sink) = enabled();
    msix.write(PENDING, &[0xff; 4]);
    assert_eq!(read_u32(&msix, PENDING), 0);
    assert_eq!(sink.take(), []);
}

#[test]
fn odd_accesses_read_ones_and_write_nothing() {
    let (msix, _) = msix();
    for size in [1, 2, 3, 5, 7] {
        msix.write(0, &vec![0xaa; size]);
        let mut bytes = vec![0; size];
        msix.read(0, &mut bytes);
        assert_eq!(bytes, vec![0xff; size]);
    }
    msix.write(2, &[0xaa; 4]);
    msix.write(4, &[0xaa; 8]);
    assert_eq!((read_u32(&msix, 0), read_u32(&msix, 4), read_u32(&msix, 8)), (0, 0, 0));
}

#[test]
fn a_reset_masks_and_forgets() {
    let (msix, sink) = enabled();
    program(&msix, 0, FIRST);
    msix.signal(0);
    msix.reset();
    msix.configure(true, false, true);
    mask(&msix, 0, false);
    assert_eq!(sink.take(), [Sent::Programmed(0, Message::default())]);
}

#[test]
fn another_table_goes_on_where_one_was_saved() {
    let (msix, _) = enabled();
    program(&msix, 0, FIRST);
    mask(&msix, 0, false);
    msix.signal(0);
    program(&msix, 2, FIRST);
    msix.signal(2);
    let (other, sink) = self::msix();
    assert!(other.restore(&msix.save()));
    assert_eq!(other.save(), msix.save());
    assert_eq!(sink.take(), [Sent::Programmed(0, FIRST)]);
    other.configure(true, false, true);
    assert_eq!(sink.take(), []);
    mask(&other, 2, false);
    assert_eq!(sink.take(), [Sent::Programmed(2, FIRST), Sent::Sent(2)]);
    assert_eq!(other.sent(), 2);
    assert!(!Msix::new(Vec::new()).restore(&msix.save()));
}
