// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The stretch of a program in which commands are under way.
//!
//! The crate's documentation says why it is built as it is.
#![allow(unsafe_code, reason = "the one place where borrowed operands are given to the device")]

use crate::error::Error;
use crate::kernel::Kernel;
use crate::list::Node;
use crate::loan::{Loan, address_of};
use crate::plain::Plain;
use crate::reply::{Chase, Count, Difference, Done, Raw, Reply};
use crate::submission::Submission;
use farfault_abi::descriptor::{self as abi, Descriptor};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Takes commands; made by [`Queue::scope`](crate::Queue::scope).
///
/// The device carries commands out in the order in which they were submitted.
/// When the ring is full, submitting waits for the oldest to end.
pub struct Scope<'scope, 'env: 'scope> {
    queue: &'scope RefCell<Submission>,
    // Both lifetimes are invariant, as in std::thread::Scope: a shorter 'scope
    // would let operands be borrowed for less than the device uses them.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// A command that is under way, or why it is not.
pub type Submitted<'scope, R> = Result<Pending<'scope, R>, Error>;

/// Runs `body` in a scope of `queue` and returns when the device is through
/// with every command that it submitted.
pub(crate) fn run<'env, T, F>(queue: &RefCell<Submission>, body: F) -> Result<T, Error>
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> Result<T, Error>,
{
    /// Settles on the way out, also when `body` panics.
    struct Settle<'a>(&'a RefCell<Submission>);
    impl Drop for Settle<'_> {
        fn drop(&mut self) {
            self.0.borrow_mut().settle();
        }
    }

    let guard = Settle(queue);
    let scope = Scope { queue, scope: PhantomData, env: PhantomData };
    let result = body(&scope);
    let failure = queue.borrow_mut().settle();
    drop(guard);
    match (result, failure) {
        (Ok(_), Some(failure)) => Err(failure),
        (result, _) => result,
    }
}

impl<'scope> Scope<'scope, '_> {
    pub(crate) fn is_queue_of(&self, kernel: &Arc<dyn Kernel>) -> bool {
        self.queue.borrow().is_of(kernel)
    }

    /// Does nothing; its fence says that all before it has ended.
    ///
    /// # Errors
    /// [`Error::Halted`], or [`Error::System`] if waiting for room fails; so for all commands.
    pub fn nop(&'scope self) -> Submitted<'scope, Done> {
        self.submit(abi::OP_NOP, Done, Descriptor::default())
    }

    /// Stores `value` to `word` after all earlier commands of the queue.
    pub fn fence(&'scope self, word: &'scope AtomicU64, value: u64) -> Submitted<'scope, Done> {
        let operands = Descriptor { operand: value, ..between(0, address_of(word), 0) };
        self.submit(abi::OP_FENCE, Done, operands)
    }

    /// Copies `source` to `destination`, and hands the latter back.
    ///
    /// # Errors
    /// [`Error::Lengths`], and as [`nop`](Self::nop).
    pub fn copy<T: Plain>(
        &'scope self,
        source: &'scope [T],
        destination: &'scope mut [T],
    ) -> Submitted<'scope, Loan<'scope, [T]>> {
        same_length(source, destination)?;
        let loan = Loan::new(destination);
        let operands = between(address_of(source), loan.address(), size_of_val(source) as u64);
        self.submit(abi::OP_COPY, loan, operands)
    }

    /// Sets every element to `value`, and hands the buffer back.
    pub fn fill<T: Plain>(
        &'scope self,
        destination: &'scope mut [T],
        value: T,
    ) -> Submitted<'scope, Loan<'scope, [T]>> {
        let length = size_of_val(destination) as u64;
        let loan = Loan::new(destination);
        let operands =
            Descriptor { operand: value.pattern(), ..between(0, loan.address(), length) };
        self.submit(abi::OP_FILL, loan, operands)
    }

    /// Finds the first element in which the two differ, bit for bit.
    ///
    /// # Errors
    /// [`Error::Lengths`], and as [`nop`](Self::nop).
    pub fn compare<T: Plain>(
        &'scope self,
        left: &'scope [T],
        right: &'scope [T],
    ) -> Submitted<'scope, Difference> {
        same_length(left, right)?;
        let operands = between(address_of(left), address_of(right), size_of_val(left) as u64);
        let reply = Difference { element_size: size_of::<T>(), elements: left.len() };
        self.submit(abi::OP_COMPARE, reply, operands)
    }

    /// Adds `value` to `word` in one atomic step, wrapping; gives the old value.
    pub fn fetch_add(
        &'scope self,
        word: &'scope AtomicU64,
        value: u64,
    ) -> Submitted<'scope, Count> {
        let operands = Descriptor { operand: value, ..between(0, address_of(word), 0) };
        self.submit(abi::OP_FETCH_ADD, Count, operands)
    }

    /// Counts words: runs of bytes other than space and 0x09 to 0x0d.
    pub fn word_count(&'scope self, text: &'scope [u8]) -> Submitted<'scope, Count> {
        self.submit(abi::OP_WORD_COUNT, Count, between(address_of(text), 0, text.len() as u64))
    }

    /// Counts how often each byte value occurs, and hands the counts back.
    pub fn histogram(
        &'scope self,
        bytes: &'scope [u8],
        counts: &'scope mut [u64; 256],
    ) -> Submitted<'scope, Loan<'scope, [u64; 256]>> {
        let loan = Loan::new(counts);
        let operands = between(address_of(bytes), loan.address(), bytes.len() as u64);
        self.submit(abi::OP_HISTOGRAM, loan, operands)
    }

    /// `y[i] += factor * x[i]`, multiply and add each rounded; hands `y` back.
    ///
    /// # Errors
    /// [`Error::Lengths`], and as [`nop`](Self::nop).
    pub fn saxpy(
        &'scope self,
        factor: f32,
        x: &'scope [f32],
        y: &'scope mut [f32],
    ) -> Submitted<'scope, Loan<'scope, [f32]>> {
        same_length(x, y)?;
        let loan = Loan::new(y);
        let operands = between(address_of(x), loan.address(), x.len() as u64);
        let operands = Descriptor { operand: factor.to_bits().into(), ..operands };
        self.submit(abi::OP_SAXPY, loan, operands)
    }

    /// Follows a list from `first` over at most `most` nodes, adding up values.
    pub fn chase(&'scope self, first: &'scope Node<'_>, most: u64) -> Submitted<'scope, Chase> {
        let operands = between(address_of(first), 0, most);
        let operands = Descriptor { operand: Node::NEXT, operand2: Node::VALUE, ..operands };
        self.submit(abi::OP_CHASE, Chase, operands)
    }

    /// Submits a descriptor as it stands, but for completion record and fence,
    /// which are the library's; waiting gives the whole record, and a failed
    /// command is an error like any other.
    ///
    /// # Safety
    /// Whatever the descriptor has the device read is, until the command has
    /// ended, not written by others except atomically; whatever it has the device
    /// write is not used otherwise at all. Addresses at which nothing is mapped are
    /// allowed (that is what this is for), as long as nothing comes to be mapped there.
    pub unsafe fn submit_raw(&'scope self, descriptor: Descriptor) -> Submitted<'scope, Raw> {
        // SAFETY: as the caller promises.
        let ticket = unsafe { self.queue.borrow_mut().submit(descriptor) }?;
        Ok(Pending { queue: self.queue, ticket, reply: Some(Raw) })
    }

    /// For the methods that are commands: each has borrowed its operands for 'scope.
    pub(crate) fn submit<R: Reply>(
        &self,
        opcode: u32,
        reply: R,
        operands: Descriptor,
    ) -> Submitted<'scope, R> {
        // Opcodes are defined as u32 for C's sake and fit the descriptor's byte.
        let descriptor = Descriptor { opcode: opcode as u8, ..operands };
        // SAFETY: the operands are borrowed for 'scope, and run() does not let it
        // end before settle() has returned.
        let ticket = unsafe { self.queue.borrow_mut().submit(descriptor) }?;
        Ok(Pending { queue: self.queue, ticket, reply: Some(reply) })
    }
}

/// From `source` to `destination`, `length` bytes or elements.
pub(crate) fn between(source: u64, destination: u64, length: u64) -> Descriptor {
    Descriptor { source, destination, length, ..Descriptor::default() }
}

pub(crate) fn same_length<T>(left: &[T], right: &[T]) -> Result<(), Error> {
    let (left, right) = (left.len(), right.len());
    if left == right { Ok(()) } else { Err(Error::Lengths { left, right }) }
}

/// The fence of a command under way.
///
/// Dropped without [`wait`](Self::wait), the command goes on; should it fail,
/// the scope returns its error.
#[must_use = "if nobody waits, a failure is only told at the end of the scope"]
pub struct Pending<'scope, R: Reply> {
    queue: &'scope RefCell<Submission>,
    ticket: u64,
    /// Taken by `wait`.
    reply: Option<R>,
}

impl<R: Reply> Pending<'_, R> {
    /// Whether the command has ended. Makes no system call.
    pub fn is_done(&self) -> bool {
        self.queue.borrow().has_ended(self.ticket)
    }

    /// Waits until the command has ended, and gives what it was for: a result,
    /// or the buffer back.
    ///
    /// # Errors
    /// [`Error::Command`] if the command failed, [`Error::Halted`] if the queue
    /// stopped before, [`Error::System`] if waiting failed.
    pub fn wait(mut self) -> Result<R::Value, Error> {
        let completion = self.queue.borrow_mut().claim(self.ticket);
        let Some(reply) = self.reply.take() else { unreachable!("wait consumes the fence") };
        // SAFETY: claim() has returned the record of this very command.
        completion.map(|completion| unsafe { reply.value(&completion) })
    }
}

impl<R: Reply> Drop for Pending<'_, R> {
    fn drop(&mut self) {
        if self.reply.is_some() {
            self.queue.borrow_mut().disown(self.ticket);
        }
    }
}
