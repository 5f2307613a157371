// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A safe interface to `/dev/farfault0`: hand ordinary memory to the device.
//!
//! ```no_run
//! # fn main() -> Result<(), farfault_client::Error> {
//! let device = farfault_client::Device::open()?;
//! let mut queue = device.queue(64)?;
//! let x = vec![1.0_f32; 1000];
//! let mut y = vec![2.0_f32; 1000];
//! queue.saxpy(3.0, &x, &mut y)?;
//! assert!(y.iter().all(|&value| value == 5.0));
//! # Ok(())
//! # }
//! ```
//!
//! # Who owns memory while the device works on it
//!
//! A method of [`Queue`] such as [`Queue::saxpy`] returns when the device has
//! finished, so its borrows are as long as the work. To have several commands
//! under way, open a [scope](Queue::scope):
//!
//! ```no_run
//! # fn main() -> Result<(), farfault_client::Error> {
//! # let device = farfault_client::Device::open()?;
//! # let mut queue = device.queue(64)?;
//! let text = std::fs::read("/etc/passwd").unwrap();
//! let mut copy = vec![0_u8; text.len()];
//! let words = queue.scope(|s| {
//!     let copied = s.copy(&text, &mut copy)?;
//!     let words = s.word_count(&text)?;
//!     let copy: &mut [u8] = copied.wait()?; // the fence hands the buffer back
//!     copy.make_ascii_uppercase();
//!     words.wait()
//! })?;
//! # let _ = words;
//! # Ok(())
//! # }
//! ```
//!
//! A guard object that waits when it is dropped would not be sound: safe code
//! may leak it ([`std::mem::forget`]) and reuse the buffer under the device's
//! hands. So it is done as in [`std::thread::scope`]: operands are borrowed for
//! the whole scope, and the scope cannot be left, by return, `?` or panic,
//! before the device is through with every command in it. A [`Pending`] fence
//! that is waited for gives the exclusive borrow back early; one that is
//! dropped or leaked gives nothing back, and the scope still waits. If waiting
//! fails (the queue has halted, the device is gone), the scope takes the queue
//! from the device first, which the kernel acknowledges only when the device
//! has let go. If even that were refused, the process would be aborted.
//!
//! Using a buffer while the device has it does not compile:
//!
//! ```compile_fail,E0499
//! # fn f(queue: &mut farfault_client::Queue) -> Result<(), farfault_client::Error> {
//! let mut buffer = vec![0_u8; 4096];
//! queue.scope(|s| {
//!     let filled = s.fill(&mut buffer, 1)?;
//!     buffer[0] = 2;
//!     filled.wait()?;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! Nor does taking a fence out of its scope:
//!
//! ```compile_fail
//! # fn f(queue: &mut farfault_client::Queue) -> Result<(), farfault_client::Error> {
//! let mut buffer = vec![0_u8; 4096];
//! let pending = queue.scope(|s| s.fill(&mut buffer, 1))?;
//! # Ok(())
//! # }
//! ```
//!
//! Memory that program and device use at the same time is shared by reference
//! to atomics: [`Scope::fetch_add`], [`Scope::fence`], [`Node`].
//!
//! The classic way is there as well, for comparison: [`Device::register`] pins a
//! buffer, which the device then reaches at an address of its own.

#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("the device is 64-bit and little-endian, and so must its programs be");

#[cfg(test)]
mod descriptor_test;
mod device;
mod error;
#[cfg(test)]
mod fake;
mod kernel;
mod list;
mod loan;
mod page;
mod plain;
mod queue;
#[cfg(test)]
mod queue_test;
mod registered;
#[cfg(test)]
mod registered_test;
mod reply;
mod ring;
mod scope;
#[cfg(test)]
mod scope_test;
mod submission;
mod sys;

pub use device::Device;
pub use error::{Error, Failure};
pub use list::Node;
pub use loan::Loan;
pub use page::{Advice, Memory, Page};
pub use plain::Plain;
pub use queue::Queue;
pub use registered::{Registered, RegisteredMut};
pub use reply::{Chased, Reply};
pub use scope::{Pending, Scope, Submitted};

/// The pieces that [`Device`] and [`Queue`] are made of, for tests that need to
/// do what those never would.
pub mod raw {
    pub use crate::kernel::{Doorbell, Kernel};
    pub use crate::ring::RingMemory;
    pub use crate::sys::{DeviceFile, Mapping};
    pub use farfault_abi::{descriptor, ring, uapi};
}
