// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a command does with memory.

use crate::dma::Permits;
use farfault_abi::fault::{ACCESS_ATOMIC, ACCESS_READ, ACCESS_WRITE};

/// What an access does: ACCESS bits.
///
/// As wide as an address so that operands have no padding: copying that, right
/// behind a memcpy, waits for all its stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u64);

impl Access {
    pub const READ: Self = Self(ACCESS_READ as u64);
    pub const WRITE: Self = Self(ACCESS_WRITE as u64);
    pub const MODIFY: Self = Self((ACCESS_READ | ACCESS_WRITE) as u64);
    /// MODIFY in one step, where the leaf permits it.
    pub const ATOMIC: Self = Self((ACCESS_READ | ACCESS_WRITE | ACCESS_ATOMIC) as u64);

    pub fn reads(self) -> bool {
        self.0 & Self::READ.0 != 0
    }

    pub fn writes(self) -> bool {
        self.0 & Self::WRITE.0 != 0
    }

    pub fn is_atomic(self) -> bool {
        self.0 & u64::from(ACCESS_ATOMIC) != 0
    }

    pub fn wants(self) -> Permits {
        Permits { read: self.reads(), write: self.writes() }
    }

    pub fn bits(self) -> u32 {
        self.0 as u32
    }
}
