// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the processes have done, in memory that they share.

use std::sync::atomic::AtomicU64;

/// Counts, added to by all processes.
pub struct Totals<'a> {
    pub commands: &'a AtomicU64,
    pub bytes: &'a AtomicU64,
    pub meddlings: &'a AtomicU64,
    /// What the kernel was asked to do to pages in use, and did.
    pub stirrings: &'a AtomicU64,
}
