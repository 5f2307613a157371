// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Descriptors that are wrong in themselves.

use crate::rig::{Rig, command, copy, endless, endless_ring, fill, nop, word_count};
use farfault_client::raw::descriptor::{self as abi, Descriptor};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{PAGE, Region};

pub fn unknown_opcodes() -> Outcome {
    let mut rig = Rig::new()?;
    for opcode in [0, abi::OP_CHASE + 1, 0x80, 0xff] {
        let wrong = command(opcode, 0, 0, 0);
        rig.refuses(&format!("opcode {opcode}"), wrong, abi::STATUS_BAD_OPCODE)?;
    }
    Ok(())
}

pub fn unknown_flags_and_reserved_fields() -> Outcome {
    let mut rig = Rig::new()?;
    let nop = nop();
    let wrong = [
        ("flag 1", Descriptor { flags: 1 << 1, ..nop }),
        ("flag 7", Descriptor { flags: 1 << 7, ..nop }),
        ("reserved0", Descriptor { reserved0: 1, ..nop }),
        ("reserved1", Descriptor { reserved1: 1 << 31, ..nop }),
    ];
    wrong.into_iter().try_for_each(|(what, d)| rig.refuses(what, d, abi::STATUS_BAD_OPERAND))
}

pub fn misaligned_operands() -> Outcome {
    let mut rig = Rig::new()?;
    let region = Region::anonymous(4 * PAGE)?;
    let (near, far) = (region.address(), region.address() + 2 * PAGE as u64);
    let wrong = [
        ("fence", command(abi::OP_FENCE, 0, near + 4, 0)),
        ("fetch_add", command(abi::OP_FETCH_ADD, 0, near + 1, 0)),
        ("histogram", command(abi::OP_HISTOGRAM, near, far + 4, 8)),
        ("saxpy from", command(abi::OP_SAXPY, near + 2, far, 8)),
        ("saxpy to", command(abi::OP_SAXPY, near, far + 1, 8)),
    ];
    for (what, descriptor) in wrong {
        rig.refuses(&format!("misaligned {what}"), descriptor, abi::STATUS_BAD_OPERAND)?;
    }
    expect("nothing was written", region.iter().all(|&byte| byte == 0))
}

pub fn overlapping_operands() -> Outcome {
    let mut rig = Rig::new()?;
    let mut region = Region::anonymous(4 * PAGE)?;
    region.fill(3);
    let near = region.address();
    let wrong = [
        ("copy up", copy(near, near + 8, 64)),
        ("copy down", copy(near + 8, near, 64)),
        ("saxpy", command(abi::OP_SAXPY, near, near + 4, 64)),
    ];
    for (what, descriptor) in wrong {
        rig.refuses(&format!("overlapping {what}"), descriptor, abi::STATUS_BAD_OPERAND)?;
    }
    expect("nothing was written", region.iter().all(|&byte| byte == 3))?;
    rig.done("a copy onto itself", copy(near, near, 2 * PAGE as u64))?;
    expect("a copy onto itself changes nothing", region.iter().all(|&byte| byte == 3))
}

pub fn ranges_that_wrap() -> Outcome {
    let mut rig = Rig::new()?;
    let mut region = Region::anonymous(PAGE)?;
    region.fill(4);
    let here = region.address();
    let end = 1 << 48;
    let wrong = [
        ("a length of all ones", here, word_count(here, u64::MAX)),
        ("a range over the end of 64 bits", u64::MAX - 7, word_count(u64::MAX - 7, 16)),
        ("a range over the end of 48 bits", end - 8, word_count(end - 8, 16)),
        ("a kernel address", 0xffff_8000_0000_0000, fill(0xffff_8000_0000_0000, 64, 0)),
        ("a copy to the end", end - 8, copy(here, end - 8, 64)),
        ("elements times 4", here, command(abi::OP_SAXPY, here, here, 1 << 62)),
        ("a word beyond", end, command(abi::OP_FETCH_ADD, 0, end, 0)),
        ("a counter table", end - 8, command(abi::OP_HISTOGRAM, here, end - 8, 8)),
    ];
    for (what, address, descriptor) in wrong {
        let completion = rig.run(descriptor).map_err(|error| format!("{what}: {error}"))?;
        expect_equal(what, &completion.status, &abi::STATUS_BAD_ADDRESS)?;
        expect_equal(what, &completion.fault_address, &address)?;
        rig.still_works()?;
    }
    expect("nothing was written", region.iter().all(|&byte| byte == 4))
}

pub fn nothing_to_do() -> Outcome {
    let mut rig = Rig::new()?;
    let ring = endless_ring()?;
    let empty = [
        ("copy", copy(8, 16, 0)),
        ("fill", fill(8, 0, 1)),
        ("word_count", word_count(8, 0)),
        ("saxpy", command(abi::OP_SAXPY, 8, 16, 0)),
        ("compare", command(abi::OP_COMPARE, 8, 16, 0)),
        ("chase of no nodes", Descriptor { length: 0, ..endless(&ring) }),
        ("chase from null", command(abi::OP_CHASE, 0, 0, 10)),
    ];
    for (what, descriptor) in empty {
        let completion = rig.run(descriptor)?;
        expect_equal(what, &(completion.status, completion.done), &(abi::STATUS_OK, 0))?;
    }
    rig.still_works()
}
