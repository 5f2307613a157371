// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a descriptor to a command, or to the reason why there is none.
//!
//! Whatever can be wrong with a descriptor is found here, so that commands
//! compute with addresses that neither wrap nor leave the address space.

use super::chase::Chase;
use super::compare::Compare;
use super::copy::Copy;
use super::count::WordCount;
use super::fill::Fill;
use super::histogram::{HISTOGRAM_BYTES, Histogram};
use super::operation::{Ending, Operation};
use super::saxpy::{ELEMENT, Saxpy};
use super::scalar::{Fence, FetchAdd, Nop, SCALAR};
use crate::space::VA_END;
use farfault_abi::descriptor::{
    DESC_IRQ, Descriptor, OP_CHASE, OP_COMPARE, OP_COPY, OP_FENCE, OP_FETCH_ADD, OP_FILL,
    OP_HISTOGRAM, OP_NOP, OP_SAXPY, OP_WORD_COUNT, STATUS_BAD_ADDRESS, STATUS_BAD_OPCODE,
    STATUS_BAD_OPERAND,
};

const BAD_OPERAND: Ending = Ending { status: STATUS_BAD_OPERAND, address: 0 };

/// Makes the command that `descriptor` asks for.
pub fn decode(descriptor: &Descriptor) -> Result<Box<dyn Operation>, Ending> {
    let Descriptor { source, destination, length, operand, operand2, .. } = *descriptor;
    if u32::from(descriptor.flags) & !DESC_IRQ != 0
        || descriptor.reserved0 != 0
        || descriptor.reserved1 != 0
    {
        return Err(BAD_OPERAND);
    }
    Ok(match u32::from(descriptor.opcode) {
        OP_NOP => Box::new(Nop),
        OP_FENCE => {
            scalar(destination)?;
            Box::new(Fence::new(destination, operand))
        }
        OP_COPY => {
            apart(source, destination, length)?;
            Box::new(Copy::new(source, destination, length))
        }
        OP_FILL => {
            range(destination, length)?;
            Box::new(Fill::new(destination, operand, length))
        }
        OP_COMPARE => {
            range(source, length)?;
            range(destination, length)?;
            Box::new(Compare::new(source, destination, length))
        }
        OP_FETCH_ADD => {
            scalar(destination)?;
            Box::new(FetchAdd::new(destination, operand))
        }
        OP_WORD_COUNT => {
            range(source, length)?;
            Box::new(WordCount::new(source, length))
        }
        OP_HISTOGRAM => {
            aligned(destination, SCALAR)?;
            range(source, length)?;
            range(destination, HISTOGRAM_BYTES)?;
            Box::new(Histogram::new(source, destination, length))
        }
        OP_SAXPY => {
            aligned(source, ELEMENT)?;
            aligned(destination, ELEMENT)?;
            let bytes = length.checked_mul(ELEMENT).ok_or(bad_address(source))?;
            apart(source, destination, bytes)?;
            Box::new(Saxpy::new(f32::from_bits(operand as u32), source, destination, bytes))
        }
        OP_CHASE => Box::new(Chase::new(source, operand, operand2, length)),
        _ => return Err(Ending { status: STATUS_BAD_OPCODE, address: 0 }),
    })
}

fn bad_address(address: u64) -> Ending {
    Ending { status: STATUS_BAD_ADDRESS, address }
}

fn aligned(address: u64, to: u64) -> Result<(), Ending> {
    if address.is_multiple_of(to) { Ok(()) } else { Err(BAD_OPERAND) }
}

/// A range that is empty, or ends in the address space.
fn range(address: u64, length: u64) -> Result<(), Ending> {
    let ends = address.checked_add(length).is_some_and(|end| end <= VA_END);
    if ends || length == 0 { Ok(()) } else { Err(bad_address(address)) }
}

fn scalar(address: u64) -> Result<(), Ending> {
    aligned(address, SCALAR)?;
    range(address, SCALAR)
}

/// Two ranges of the same place or without a byte in common.
fn apart(one: u64, other: u64, length: u64) -> Result<(), Ending> {
    range(one, length)?;
    range(other, length)?;
    let distance = one.abs_diff(other);
    if distance == 0 || distance >= length { Ok(()) } else { Err(BAD_OPERAND) }
}
