// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How memory is mapped, page by page, and what a program says it will do with it.

use farfault_abi::uapi::{
    ADVISE_DONT_NEED, ADVISE_PREFER_DEVICE, ADVISE_PREFER_NOTHING, ADVISE_PREFER_OFTEN,
    ADVISE_PREFER_WRITTEN, ADVISE_WILL_READ, ADVISE_WILL_WRITE, MIGRATE_DEVICE, MIGRATE_SYSTEM,
    SNAPSHOT_1G, SNAPSHOT_2M, SNAPSHOT_DEVICE, SNAPSHOT_ERROR, SNAPSHOT_MIRRORED, SNAPSHOT_READ,
    SNAPSHOT_WRITE, SNAPSHOT_ZERO,
};

/// How the CPU maps a page, as [`Device::snapshot`](crate::Device::snapshot) finds it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Page(pub(crate) u8);

/// Names of what a [`Page`] can be.
const NAMES: [(u32, &str); 8] = [
    (SNAPSHOT_READ, "read"),
    (SNAPSHOT_WRITE, "write"),
    (SNAPSHOT_ZERO, "zero"),
    (SNAPSHOT_DEVICE, "device"),
    (SNAPSHOT_ERROR, "error"),
    (SNAPSHOT_2M, "2M"),
    (SNAPSHOT_1G, "1G"),
    (SNAPSHOT_MIRRORED, "mirrored"),
];

impl Page {
    fn has(self, bit: u32) -> bool {
        u32::from(self.0) & bit != 0
    }

    /// It is there and can be read.
    pub fn is_readable(self) -> bool {
        self.has(SNAPSHOT_READ)
    }

    /// It is there and can be written without a fault.
    pub fn is_writable(self) -> bool {
        self.has(SNAPSHOT_WRITE)
    }

    /// It is the page of zeroes that all share, of 4 KiB.
    pub fn is_zero_page(self) -> bool {
        self.has(SNAPSHOT_ZERO)
    }

    /// It is in the device's own memory.
    pub fn is_in_device(self) -> bool {
        self.has(SNAPSHOT_DEVICE)
    }

    /// A device cannot have it.
    pub fn is_error(self) -> bool {
        self.has(SNAPSHOT_ERROR)
    }

    /// It is part of a 2 MiB or 1 GiB entry.
    pub fn is_large(self) -> bool {
        self.has(SNAPSHOT_2M | SNAPSHOT_1G)
    }

    /// The device's page table has it, too.
    pub fn is_mirrored(self) -> bool {
        self.has(SNAPSHOT_MIRRORED)
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = NAMES.iter().filter(|(bit, _)| self.has(*bit)).map(|n| n.1).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join("+"))
    }
}

/// What the device will do with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Advice {
    /// Read it: what can be had at once is made present.
    WillRead = ADVISE_WILL_READ,
    /// Write it: likewise.
    WillWrite = ADVISE_WILL_WRITE,
    /// Nothing: the device forgets where it is.
    DontNeed = ADVISE_DONT_NEED,
    /// Use it in its own memory: what it faults on goes there.
    PreferDevice = ADVISE_PREFER_DEVICE,
    /// Use it where it is.
    PreferNothing = ADVISE_PREFER_NOTHING,
    /// Use it in its own memory once it uses it often.
    PreferOften = ADVISE_PREFER_OFTEN,
    /// Use in its own memory what it writes; what it only reads stays where it is.
    PreferWritten = ADVISE_PREFER_WRITTEN,
}

/// What kind of memory a page is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Memory {
    /// The device's own.
    Device = MIGRATE_DEVICE,
    /// The system's.
    System = MIGRATE_SYSTEM,
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn pages_say_what_they_are() {
        let large = Page(0b1010_0011);
        assert!(large.is_readable() && large.is_writable() && large.is_large());
        assert!(large.is_mirrored() && !large.is_zero_page() && !large.is_error());
        assert_eq!(format!("{large:?}"), "read+write+2M+mirrored");
        assert_eq!(format!("{:?}", Page(0b1001)), "read+device");
        assert_eq!(format!("{:?}", Page(0)), "none");
    }
}
