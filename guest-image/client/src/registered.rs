// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registered buffers: pinned, and at a device address of their own.
//!
//! A registration by itself lets the device do nothing: it only gives commands
//! something to name. So leaking one leaks the pin and no more. While a command
//! uses a buffer it borrows the registration, as it borrows ordinary operands.
#![allow(unsafe_code, reason = "gives borrows of a buffer out while the device does not use it")]

use crate::error::Error;
use crate::kernel::Kernel;
use crate::loan::{Loan, address_of};
use crate::plain::Plain;
use crate::reply::Done;
use crate::scope::{Scope, Submitted, between, same_length};
use farfault_abi::descriptor::{self as abi, Descriptor};
use farfault_abi::uapi::{REGISTER_WRITE, Register, Unregister};
use nix::errno::Errno;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// The pin; taken off when dropped.
struct Registration {
    kernel: Arc<dyn Kernel>,
    device_address: u64,
}

impl Registration {
    fn new<T>(kernel: Arc<dyn Kernel>, buffer: &[T], flags: u32) -> Result<Self, Error> {
        let (address, length) = (address_of(buffer), size_of_val(buffer) as u64);
        let mut request = Register { address, length, flags, ..Register::default() };
        kernel.register(&mut request).map_err(Error::system("ioctl REGISTER"))?;
        Ok(Self { kernel, device_address: request.device_address })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let request = Unregister { device_address: self.device_address, reserved: 0 };
        // Whatever else it answers, no command uses the buffer, and closing the file unpins it.
        while self.kernel.unregister(&request) == Err(Errno::EINTR) {}
    }
}

/// A buffer that is pinned for the device to read; see [`Device::register`](crate::Device::register).
pub struct Registered<'a, T> {
    registration: Registration,
    buffer: &'a [T],
}

impl<'a, T: Plain> Registered<'a, T> {
    pub(crate) fn new(kernel: Arc<dyn Kernel>, buffer: &'a [T]) -> Result<Self, Error> {
        Ok(Self { registration: Registration::new(kernel, buffer, 0)?, buffer })
    }
}

impl<T> Registered<'_, T> {
    /// What the device calls its first byte.
    pub fn device_address(&self) -> u64 {
        self.registration.device_address
    }
}

impl<T> Deref for Registered<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.buffer
    }
}

/// A buffer that is pinned for the device to write; see
/// [`Device::register_mut`](crate::Device::register_mut). Between commands it is the program's.
pub struct RegisteredMut<'a, T> {
    registration: Registration,
    buffer: NonNull<[T]>,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: as for the exclusive borrow that it stands for.
unsafe impl<T: Send> Send for RegisteredMut<'_, T> {}
// SAFETY: as for the exclusive borrow that it stands for.
unsafe impl<T: Sync> Sync for RegisteredMut<'_, T> {}

impl<'a, T: Plain> RegisteredMut<'a, T> {
    pub(crate) fn new(kernel: Arc<dyn Kernel>, buffer: &'a mut [T]) -> Result<Self, Error> {
        let registration = Registration::new(kernel, buffer, REGISTER_WRITE)?;
        Ok(Self { registration, buffer: NonNull::from(buffer), borrow: PhantomData })
    }
}

impl<T> RegisteredMut<'_, T> {
    /// What the device calls its first byte.
    pub fn device_address(&self) -> u64 {
        self.registration.device_address
    }
}

impl<T> Deref for RegisteredMut<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: borrowed for longer than self lives, and a command that writes borrows self.
        unsafe { self.buffer.as_ref() }
    }
}

impl<T> DerefMut for RegisteredMut<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and a command that reads borrows self too.
        unsafe { self.buffer.as_mut() }
    }
}

/// The commands again, on registered buffers.
impl<'scope> Scope<'scope, '_> {
    /// Copies `source` to `destination`.
    ///
    /// # Errors
    /// [`Error::Lengths`], [`Error::OtherDevice`], and as [`nop`](Scope::nop).
    pub fn copy_registered<T: Plain>(
        &'scope self,
        source: &'scope Registered<'_, T>,
        destination: &'scope mut RegisteredMut<'_, T>,
    ) -> Submitted<'scope, Done> {
        same_length(source, destination)?;
        self.is_of(&source.registration)?;
        let length = size_of_val(source.buffer) as u64;
        let operands = between(source.device_address(), destination.device_address(), length);
        self.registered(abi::OP_COPY, operands, &destination.registration)
    }

    /// Sets every element to `value`.
    ///
    /// # Errors
    /// [`Error::OtherDevice`], and as [`nop`](Scope::nop).
    pub fn fill_registered<T: Plain>(
        &'scope self,
        destination: &'scope mut RegisteredMut<'_, T>,
        value: T,
    ) -> Submitted<'scope, Done> {
        let length = (destination.len() * size_of::<T>()) as u64;
        let operands = between(0, destination.device_address(), length);
        let operands = Descriptor { operand: value.pattern(), ..operands };
        self.registered(abi::OP_FILL, operands, &destination.registration)
    }

    /// Counts how often each byte value occurs; `counts` is reached through the mirror.
    ///
    /// # Errors
    /// [`Error::OtherDevice`], and as [`nop`](Scope::nop).
    pub fn histogram_registered(
        &'scope self,
        bytes: &'scope Registered<'_, u8>,
        counts: &'scope mut [u64; 256],
    ) -> Submitted<'scope, Loan<'scope, [u64; 256]>> {
        self.is_of(&bytes.registration)?;
        let loan = Loan::new(counts);
        let operands = between(bytes.device_address(), loan.address(), bytes.len() as u64);
        self.submit(abi::OP_HISTOGRAM, loan, operands)
    }

    /// `y[i] += factor * x[i]`, multiply and add each rounded.
    ///
    /// # Errors
    /// [`Error::Lengths`], [`Error::OtherDevice`], and as [`nop`](Scope::nop).
    pub fn saxpy_registered(
        &'scope self,
        factor: f32,
        x: &'scope Registered<'_, f32>,
        y: &'scope mut RegisteredMut<'_, f32>,
    ) -> Submitted<'scope, Done> {
        same_length(x, y)?;
        self.is_of(&x.registration)?;
        let operands = between(x.device_address(), y.device_address(), x.len() as u64);
        let operands = Descriptor { operand: factor.to_bits().into(), ..operands };
        self.registered(abi::OP_SAXPY, operands, &y.registration)
    }

    /// The callers have borrowed the operands for 'scope.
    fn registered(
        &self,
        opcode: u32,
        operands: Descriptor,
        destination: &Registration,
    ) -> Submitted<'scope, Done> {
        self.is_of(destination)?;
        self.submit(opcode, Done, operands)
    }

    /// At its address another device has something else.
    fn is_of(&self, registration: &Registration) -> Result<(), Error> {
        if self.is_queue_of(&registration.kernel) { Ok(()) } else { Err(Error::OtherDevice) }
    }
}
