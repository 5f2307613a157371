// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A buffer the device writes to: an exclusive borrow taken apart while the
//! device has it, and put together again afterwards.
#![allow(unsafe_code, reason = "gives an exclusive borrow back when the device is done with it")]

use std::marker::PhantomData;
use std::ptr::NonNull;

/// An exclusive borrow that the device is using.
///
/// It keeps no reference but a pointer: a `&mut` that exists promises that
/// nobody else writes to the memory, and the device does.
pub struct Loan<'scope, T: ?Sized> {
    buffer: NonNull<T>,
    borrow: PhantomData<&'scope mut T>,
}

impl<'scope, T: ?Sized> Loan<'scope, T> {
    pub(crate) fn new(buffer: &'scope mut T) -> Self {
        Self { buffer: NonNull::from(buffer), borrow: PhantomData }
    }

    /// Where the buffer starts.
    pub(crate) fn address(&self) -> u64 {
        self.buffer.as_ptr().cast::<u8>().expose_provenance() as u64
    }

    /// The borrow, whole again.
    ///
    /// # Safety
    /// The device does not access the buffer any more.
    pub(crate) unsafe fn give_back(self) -> &'scope mut T {
        // SAFETY: made from a borrow of that lifetime, which nobody else uses.
        unsafe { &mut *self.buffer.as_ptr() }
    }
}

/// Where a buffer that is only read starts.
pub(crate) fn address_of<T: ?Sized>(buffer: &T) -> u64 {
    std::ptr::from_ref(buffer).cast::<u8>().expose_provenance() as u64
}
