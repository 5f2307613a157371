// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Descriptors, and what completion records mean.

use crate::fake::Fake;
use crate::{Failure, Node, Plain};
use farfault_abi::descriptor::*;

#[test]
fn a_fill_value_repeats_to_eight_bytes() {
    assert_eq!(0xab_u8.pattern(), 0xabab_abab_abab_abab);
    assert_eq!(0x1234_i16.pattern(), 0x1234_1234_1234_1234);
    assert_eq!(1.0_f32.pattern(), 0x3f80_0000_3f80_0000);
    assert_eq!(0x0102_0304_0506_0708_u64.pattern(), 0x0102_0304_0506_0708);
}

#[test]
fn lengths_are_in_the_unit_of_the_opcode() {
    let fake = Fake::new();
    let mut queue = fake.queue(2);
    let mut y = [0_f32; 10];
    queue.saxpy(2.0, &[0.0; 10], &mut y).unwrap();
    assert_eq!(fake.state().last.length, 10);
    queue.fill(&mut y, 1.0).unwrap();
    assert_eq!(fake.state().last.length, 40);
    queue.chase(&Node::new(0), 77).unwrap();
    let chase = fake.state().last;
    assert_eq!((chase.length, chase.operand, chase.operand2), (77, 0, 8));
    assert_eq!(u32::from(chase.opcode), OP_CHASE);
}

#[test]
fn each_status_is_its_own_failure() {
    let text = |opcode: u32, status| {
        let completion =
            Completion { status, fault_address: 0x7000, done: 12, ..Default::default() };
        Failure::of(opcode as u8, &completion).map(|failure| failure.to_string())
    };
    assert_eq!(text(OP_COPY, STATUS_OK), None);
    let no_memory = "fill: no memory for the device's access to 0x7000 after 12 bytes; \
                     free some and try again";
    let not_atomic = "fetch_add: the device cannot be atomic at 0x7000: \
                      it can have only pages of private memory for itself";
    let bad_operand = "copy: operands are misaligned or overlap, or a reserved field is set";
    let cases = [
        (OP_SAXPY, STATUS_FAULT, "saxpy: device access to 0x7000 refused after 12 elements"),
        (OP_FILL, STATUS_NO_MEMORY, no_memory),
        (OP_FETCH_ADD, STATUS_NO_ATOMIC, not_atomic),
        (99, STATUS_BAD_OPCODE, "opcode 99 is unknown to the device"),
        (OP_COPY, STATUS_BAD_OPERAND, bad_operand),
        (OP_FILL, STATUS_BAD_ADDRESS, "fill: the range from 0x7000 leaves the address space"),
        (OP_NOP, 77, "nop: the device answered with unknown status 77"),
    ];
    for (opcode, status, expected) in cases {
        assert_eq!(text(opcode, status).as_deref(), Some(expected));
    }
}
