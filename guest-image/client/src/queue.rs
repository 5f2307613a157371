// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A user-mode queue: commands that are waited for at once, and scopes.

use crate::error::Error;
use crate::kernel::Kernel;
use crate::list::Node;
use crate::plain::Plain;
use crate::reply::Chased;
use crate::scope::{self, Scope};
use crate::submission::Submission;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A queue of the device, with its ring in this process's memory.
///
/// Submitting a command is a few stores to memory and one to the doorbell page;
/// no system call. Waiting looks at memory first and sleeps in the kernel if
/// that takes long. When dropped, the queue is taken from the device.
///
/// After `fork`, a queue is the parent's: the child must not use it.
pub struct Queue {
    submission: RefCell<Submission>,
}

impl Queue {
    pub(crate) fn new(kernel: Arc<dyn Kernel>, entries: u32, first: u32) -> Result<Self, Error> {
        let submission = Submission::new(kernel, entries, first)?;
        Ok(Self { submission: RefCell::new(submission) })
    }

    /// The number by which the driver knows it.
    pub fn number(&self) -> u32 {
        self.submission.borrow().queue()
    }

    /// Runs `body`, which submits commands, and returns when the device is
    /// through with all of them.
    ///
    /// # Errors
    /// What `body` returns; if that is success, the first failure of a command
    /// whose fence `body` did not wait for.
    pub fn scope<'env, T, F>(&mut self, body: F) -> Result<T, Error>
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> Result<T, Error>,
    {
        scope::run(&self.submission, body)
    }

    /// Does nothing, all the way to the device and back.
    ///
    /// # Errors
    /// If the command could not be submitted or waited for, or ended with an
    /// error; so for all commands.
    pub fn nop(&mut self) -> Result<(), Error> {
        self.scope(|s| s.nop()?.wait())
    }

    /// Has the device store `value` to `word`.
    pub fn fence(&mut self, word: &AtomicU64, value: u64) -> Result<(), Error> {
        self.scope(|s| s.fence(word, value)?.wait())
    }

    /// Copies `source` to `destination`.
    ///
    /// # Errors
    /// [`Error::Lengths`], and as [`nop`](Self::nop).
    pub fn copy<T: Plain>(&mut self, source: &[T], destination: &mut [T]) -> Result<(), Error> {
        self.scope(|s| s.copy(source, destination)?.wait().map(drop))
    }

    /// Sets every element of `destination` to `value`.
    pub fn fill<T: Plain>(&mut self, destination: &mut [T], value: T) -> Result<(), Error> {
        self.scope(|s| s.fill(destination, value)?.wait().map(drop))
    }

    /// The first element in which the two differ, bit for bit.
    ///
    /// # Errors
    /// [`Error::Lengths`], and as [`nop`](Self::nop).
    pub fn compare<T: Plain>(&mut self, left: &[T], right: &[T]) -> Result<Option<usize>, Error> {
        self.scope(|s| s.compare(left, right)?.wait())
    }

    /// Adds `value` to `word` in one atomic step, wrapping, and returns the old value.
    pub fn fetch_add(&mut self, word: &AtomicU64, value: u64) -> Result<u64, Error> {
        self.scope(|s| s.fetch_add(word, value)?.wait())
    }

    /// The number of words: runs of bytes other than space and 0x09 to 0x0d.
    pub fn word_count(&mut self, text: &[u8]) -> Result<u64, Error> {
        self.scope(|s| s.word_count(text)?.wait())
    }

    /// Counts how often each byte value occurs.
    pub fn histogram(&mut self, bytes: &[u8], counts: &mut [u64; 256]) -> Result<(), Error> {
        self.scope(|s| s.histogram(bytes, counts)?.wait().map(drop))
    }

    /// `y[i] += factor * x[i]`, multiply and add each rounded.
    ///
    /// # Errors
    /// [`Error::Lengths`], and as [`nop`](Self::nop).
    pub fn saxpy(&mut self, factor: f32, x: &[f32], y: &mut [f32]) -> Result<(), Error> {
        self.scope(|s| s.saxpy(factor, x, y)?.wait().map(drop))
    }

    /// Follows a list from `first` over at most `most` nodes, adding up values.
    pub fn chase(&mut self, first: &Node<'_>, most: u64) -> Result<Chased, Error> {
        self.scope(|s| s.chase(first, most)?.wait())
    }
}
