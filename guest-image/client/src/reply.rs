// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a finished command gives: a number out of its completion record, or a
//! buffer back.
#![allow(unsafe_code, reason = "says when the device is done with a buffer")]

use crate::loan::Loan;
use farfault_abi::descriptor::Completion;

/// What is made of a completion record.
pub trait Reply {
    /// What [`Pending::wait`](crate::Pending::wait) returns.
    type Value;

    /// # Safety
    /// `completion` is that of the command this reply was made for, which has ended.
    #[doc(hidden)]
    unsafe fn value(self, completion: &Completion) -> Self::Value;
}

/// Nothing but that it is done.
pub struct Done;

impl Reply for Done {
    type Value = ();
    unsafe fn value(self, _: &Completion) {}
}

/// The result field.
pub struct Count;

impl Reply for Count {
    type Value = u64;
    unsafe fn value(self, completion: &Completion) -> u64 {
        completion.result
    }
}

/// Where two buffers of `elements` first differ.
pub struct Difference {
    pub(crate) element_size: usize,
    pub(crate) elements: usize,
}

impl Reply for Difference {
    type Value = Option<usize>;
    unsafe fn value(self, completion: &Completion) -> Option<usize> {
        let element = usize::try_from(completion.result).ok()? / self.element_size;
        (element < self.elements).then_some(element)
    }
}

/// What a pointer chase found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chased {
    /// Wrapping sum of the nodes' values.
    pub sum: u64,
    /// Nodes seen.
    pub nodes: u64,
}

/// Result and count of a chase.
pub struct Chase;

impl Reply for Chase {
    type Value = Chased;
    unsafe fn value(self, completion: &Completion) -> Chased {
        Chased { sum: completion.result, nodes: completion.done }
    }
}

/// The completion record itself.
pub struct Raw;

impl Reply for Raw {
    type Value = Completion;
    unsafe fn value(self, completion: &Completion) -> Completion {
        *completion
    }
}

impl<'scope, T: ?Sized> Reply for Loan<'scope, T> {
    type Value = &'scope mut T;
    unsafe fn value(self, _: &Completion) -> &'scope mut T {
        // SAFETY: the command has ended, and only it used the buffer.
        unsafe { self.give_back() }
    }
}
