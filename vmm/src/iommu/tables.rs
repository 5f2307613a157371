// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tables that the guest's kernel makes for the unit, and the walk through
//! them (VT-d 3.4, 3.7, 9.1, 9.3, 9.8).
//!
//! A table may hold anything. Each level is visited once, so a table that
//! contains itself is only read four times, and every address is checked
//! against guest memory before it is read.

use farfault_device_model::{Mapping, Permits};
use std::sync::atomic::Ordering;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Bits of the addresses that devices use, of those in tables, and of those that
/// four levels translate.
pub const WIDTH: u32 = 48;
const TOP: u32 = 3;
/// The highest level with leaves: 1 GiB.
const LARGEST: u32 = 2;

const ADDRESS: u64 = ((1 << WIDTH) - 1) & !0xfff;
/// Address bits that no memory of this machine can have.
const BEYOND: u64 = 0xf_ffff_ffff_ffff & !((1 << WIDTH) - 1);

const PRESENT: u64 = 1;
/// Root entry, low half: between P and the address of the context table.
const ROOT_RESERVED: u64 = 0xffe | !0 << WIDTH;
/// Root table address register: the table is of another mode than legacy.
const ROOT_MODE: u64 = 3 << 10;

const CONTEXT_NO_FAULTS: u64 = 1 << 1;
const CONTEXT_TYPE: u64 = 3 << 2;
const CONTEXT_THROUGH_TABLES: u64 = 0;
const CONTEXT_PASS_THROUGH: u64 = 2 << 2;
const CONTEXT_RESERVED: u64 = 0xff0 | !0 << WIDTH;
/// High half: address width, and the value of it that means 4 levels.
const CONTEXT_WIDTH: u64 = 7;
const CONTEXT_4_LEVELS: u64 = 2;
/// Bits 6:3 are software's, 23:8 are the domain's number.
const CONTEXT_HIGH_RESERVED: u64 = 1 << 7 | !0 << 24;

const READ: u64 = 1;
const WRITE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
/// Reserved in a leaf: snooping is not controlled here; in all entries: no
/// device keeps translations of its own (bit 62, transient mapping).
const LEAF_RESERVED: u64 = 1 << 11;
const ENTRY_RESERVED: u64 = 1 << 62 | BEYOND;

/// Why a request is refused: the fault reasons of VT-d 7.1.3 that there can be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The root entry is not present.
    Root = 1,
    /// The context entry is not present.
    Context = 2,
    /// The context entry asks for what the unit cannot do, or its table is not in memory.
    ContextProgramming = 3,
    /// The address has more bits than are translated.
    Width = 4,
    /// No entry, or none that may be written.
    Write = 5,
    /// No entry, or none that may be read.
    Read = 6,
    /// A second-stage table is not in memory.
    Table = 7,
    /// The root table is not in memory.
    RootTable = 8,
    /// The context table is not in memory.
    ContextTable = 9,
    /// A reserved bit of the root entry is set.
    RootReserved = 0xa,
    /// A reserved bit of the context entry is set.
    ContextReserved = 0xb,
    /// A reserved bit of a second-stage entry is set.
    EntryReserved = 0xc,
    /// The root table's register asks for what the unit cannot do.
    RootRegister = 0x30,
}

/// A request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    pub reason: Reason,
    /// The guest does not want to be told (fault processing disable, VT-d 9.3).
    pub silent: bool,
}

/// How the requests of one source are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The top table; none if addresses are passed through.
    top: Option<u64>,
    silent: bool,
}

impl Domain {
    /// What the tables say for `source` (bus, device and function), where `root` is
    /// the root table address register.
    pub fn of(memory: &GuestMemoryMmap, root: u64, source: u16) -> Result<Self, Denial> {
        let loud = |reason| Denial { reason, silent: false };
        let [bus, function] = source.to_be_bytes().map(u64::from);
        if root & ROOT_MODE != 0 {
            return Err(loud(Reason::RootRegister));
        }
        let entry = pair(memory, (root & !0xfff).checked_add(bus * 16));
        let [low, high] = entry.ok_or(loud(Reason::RootTable))?;
        if low & PRESENT == 0 {
            return Err(loud(Reason::Root));
        }
        if low & ROOT_RESERVED != 0 || high != 0 {
            return Err(loud(Reason::RootReserved));
        }
        let entry = pair(memory, Some((low & ADDRESS) + function * 16));
        let [low, high] = entry.ok_or(loud(Reason::ContextTable))?;
        let silent = low & CONTEXT_NO_FAULTS != 0;
        let refuse = |reason| Err(Denial { reason, silent });
        if low & PRESENT == 0 {
            return refuse(Reason::Context);
        }
        if low & CONTEXT_RESERVED != 0 || high & CONTEXT_HIGH_RESERVED != 0 {
            return refuse(Reason::ContextReserved);
        }
        if high & CONTEXT_WIDTH != CONTEXT_4_LEVELS {
            return refuse(Reason::ContextProgramming);
        }
        match low & CONTEXT_TYPE {
            CONTEXT_THROUGH_TABLES => Ok(Self { top: Some(low & ADDRESS), silent }),
            CONTEXT_PASS_THROUGH => Ok(Self { top: None, silent }),
            _ => refuse(Reason::ContextProgramming),
        }
    }

    /// What `address` is mapped to, for an access that needs `wanted` there.
    pub fn find(
        &self,
        memory: &GuestMemoryMmap,
        address: u64,
        wanted: Permits,
    ) -> Result<Mapping, Denial> {
        self.walk(memory, address, wanted).map_err(|reason| Denial { reason, silent: self.silent })
    }

    fn walk(
        &self,
        memory: &GuestMemoryMmap,
        address: u64,
        wanted: Permits,
    ) -> Result<Mapping, Reason> {
        if address >> WIDTH != 0 {
            return Err(Reason::Width);
        }
        let mut permits = Permits::ALL;
        let Some(mut table) = self.top else {
            return Ok(Mapping { address, left: (1 << WIDTH) - address, permits });
        };
        for level in (0..=TOP).rev() {
            let shift = 12 + 9 * level;
            let index = address >> shift & 0x1ff;
            let missing = if level == TOP { Reason::ContextProgramming } else { Reason::Table };
            let entry = word(memory, table + index * 8).ok_or(missing)?;
            permits = permits.and(Permits { read: entry & READ != 0, write: entry & WRITE != 0 });
            if !permits.read && !permits.write || !permits.cover(wanted) {
                let write = wanted.write && !permits.write;
                return Err(if write { Reason::Write } else { Reason::Read });
            }
            let is_leaf = level == 0 || entry & LARGE != 0;
            let offset = (1u64 << shift) - 1;
            let reserved = match is_leaf {
                true => ENTRY_RESERVED | LEAF_RESERVED | offset & ADDRESS,
                false => ENTRY_RESERVED,
            };
            if entry & reserved != 0 || is_leaf && level > LARGEST {
                return Err(Reason::EntryReserved);
            }
            table = entry & ADDRESS;
            if is_leaf {
                let inside = address & offset;
                return Ok(Mapping { address: table | inside, left: offset + 1 - inside, permits });
            }
        }
        // The last level has nothing but leaves.
        Err(Reason::EntryReserved)
    }
}

fn pair(memory: &GuestMemoryMmap, address: Option<u64>) -> Option<[u64; 2]> {
    let address = address?;
    Some([word(memory, address)?, word(memory, address.checked_add(8)?)?])
}

fn word(memory: &GuestMemoryMmap, address: u64) -> Option<u64> {
    memory.load(GuestAddress(address), Ordering::Acquire).ok()
}
