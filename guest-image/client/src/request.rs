// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands as descriptors: which operand goes into which field.

use crate::error::Error;
use crate::list::Node;
use crate::loan::{Loan, address_of};
use crate::plain::Plain;
use crate::reply::{Chase, Count, Difference, Done};
use farfault_abi::descriptor::{self as abi, Descriptor};
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

/// A command whose operands are borrowed for `'scope`, and what it will give.
pub struct Request<'scope, R> {
    pub(crate) descriptor: Descriptor,
    pub(crate) reply: R,
    operands: PhantomData<&'scope mut ()>,
}

impl<R> Request<'_, R> {
    pub(crate) fn new(opcode: u32, reply: R, operands: Descriptor) -> Self {
        // Opcodes are defined as u32 for C's sake and fit the descriptor's byte.
        let descriptor = Descriptor { opcode: opcode as u8, ..operands };
        Self { descriptor, reply, operands: PhantomData }
    }
}

/// From `source` to `destination`, `length` bytes or elements.
pub fn between(source: u64, destination: u64, length: u64) -> Descriptor {
    Descriptor { source, destination, length, ..Descriptor::default() }
}

pub fn nop<'scope>() -> Request<'scope, Done> {
    Request::new(abi::OP_NOP, Done, Descriptor::default())
}

pub fn fence(word: &AtomicU64, value: u64) -> Request<'_, Done> {
    let operands = Descriptor { operand: value, ..between(0, address_of(word), 0) };
    Request::new(abi::OP_FENCE, Done, operands)
}

pub fn copy<'scope, T: Plain>(
    source: &'scope [T],
    destination: &'scope mut [T],
) -> Result<Request<'scope, Loan<'scope, [T]>>, Error> {
    same_length(source, destination)?;
    let loan = Loan::new(destination);
    let operands = between(address_of(source), loan.address(), size_of_val(source) as u64);
    Ok(Request::new(abi::OP_COPY, loan, operands))
}

pub fn fill<T: Plain>(destination: &mut [T], value: T) -> Request<'_, Loan<'_, [T]>> {
    let length = size_of_val(destination) as u64;
    let loan = Loan::new(destination);
    let operands = Descriptor { operand: value.pattern(), ..between(0, loan.address(), length) };
    Request::new(abi::OP_FILL, loan, operands)
}

pub fn compare<'scope, T: Plain>(
    left: &'scope [T],
    right: &'scope [T],
) -> Result<Request<'scope, Difference>, Error> {
    same_length(left, right)?;
    let operands = between(address_of(left), address_of(right), size_of_val(left) as u64);
    let reply = Difference { element_size: size_of::<T>(), elements: left.len() };
    Ok(Request::new(abi::OP_COMPARE, reply, operands))
}

pub fn fetch_add(word: &AtomicU64, value: u64) -> Request<'_, Count> {
    let operands = Descriptor { operand: value, ..between(0, address_of(word), 0) };
    Request::new(abi::OP_FETCH_ADD, Count, operands)
}

pub fn word_count(text: &[u8]) -> Request<'_, Count> {
    Request::new(abi::OP_WORD_COUNT, Count, between(address_of(text), 0, text.len() as u64))
}

pub fn histogram<'scope>(
    bytes: &'scope [u8],
    counts: &'scope mut [u64; 256],
) -> Request<'scope, Loan<'scope, [u64; 256]>> {
    let loan = Loan::new(counts);
    let operands = between(address_of(bytes), loan.address(), bytes.len() as u64);
    Request::new(abi::OP_HISTOGRAM, loan, operands)
}

pub fn saxpy<'scope>(
    factor: f32,
    x: &'scope [f32],
    y: &'scope mut [f32],
) -> Result<Request<'scope, Loan<'scope, [f32]>>, Error> {
    same_length(x, y)?;
    let loan = Loan::new(y);
    let operands = between(address_of(x), loan.address(), x.len() as u64);
    let operands = Descriptor { operand: factor.to_bits().into(), ..operands };
    Ok(Request::new(abi::OP_SAXPY, loan, operands))
}

pub fn chase<'scope>(first: &'scope Node<'_>, most: u64) -> Request<'scope, Chase> {
    let operands = between(address_of(first), 0, most);
    let operands = Descriptor { operand: Node::NEXT, operand2: Node::VALUE, ..operands };
    Request::new(abi::OP_CHASE, Chase, operands)
}

pub fn same_length<T>(left: &[T], right: &[T]) -> Result<(), Error> {
    if left.len() == right.len() {
        Ok(())
    } else {
        Err(Error::Lengths { left: left.len(), right: right.len() })
    }
}
