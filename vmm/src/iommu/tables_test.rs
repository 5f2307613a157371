// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Walks through tables that are right, wrong, and random.

use super::tables::{Denial, Domain, Reason};
use farfault_device_model::{Mapping, Permits};
use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const MEMORY: u64 = 1 << 20;
const SOURCE: u16 = 0x0108;
const ROOT: u64 = 0x1000;
const CONTEXT: u64 = 0x2000;
/// The tables of levels 3 to 0.
const TABLES: [u64; 4] = [0x3000, 0x4000, 0x5000, 0x6000];
const READ_WRITE: u64 = 3;
const LARGE: u64 = 1 << 7;
const NOTHING: Permits = Permits { read: false, write: false };

/// Where the entry of `address` is in the table of `level`.
fn slot(level: usize, address: u64) -> u64 {
    TABLES[3 - level] + (address >> (12 + 9 * level) & 0x1ff) * 8
}

struct World(GuestMemoryMmap);

impl World {
    /// Tables that map `address` to a page, through all levels.
    fn new(address: u64, page: u64) -> World {
        let world = World(GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap());
        world.set(ROOT + 16, CONTEXT | 1);
        world.set(CONTEXT + 8 * 16, TABLES[0] | 1);
        world.set(CONTEXT + 8 * 16 + 8, 2 | 5 << 8);
        for level in 1..4 {
            world.set(slot(level, address), TABLES[4 - level] | READ_WRITE);
        }
        world.set(slot(0, address), page | READ_WRITE);
        world
    }

    fn set(&self, address: u64, value: u64) {
        self.0.write_obj(value, GuestAddress(address)).unwrap();
    }

    fn find(&self, address: u64, wanted: Permits) -> Result<Mapping, Denial> {
        Domain::of(&self.0, ROOT, SOURCE)?.find(&self.0, address, wanted)
    }

    fn reason(&self, address: u64, wanted: Permits) -> Reason {
        self.find(address, wanted).expect_err("refused").reason
    }
}

const VA: u64 = 0x7f12_3456_7000;

#[test]
fn pages_of_all_sizes_are_found() {
    let world = World::new(VA, 0x9000);
    let found = world.find(VA + 0x123, Permits::ALL);
    assert_eq!(found, Ok(Mapping { address: 0x9123, left: 0xedd, permits: Permits::ALL }));
    for (level, size) in [(1, 2u64 << 20), (2, 1 << 30)] {
        let frame = 5 << 30;
        world.set(slot(level, VA), frame | LARGE | READ_WRITE);
        let inside = VA % size + 7;
        let expected =
            Mapping { address: frame + inside, left: size - inside, permits: Permits::ALL };
        assert_eq!(world.find(VA + 7, Permits::WRITE), Ok(expected));
    }
}

#[test]
fn permissions_of_all_levels_count() {
    for level in 0..4 {
        for (bits, permits) in [(1, Permits::READ), (2, Permits::WRITE)] {
            let world = World::new(VA, 0x9000);
            let below = if level == 0 { 0x9000 } else { TABLES[4 - level] };
            world.set(slot(level, VA), below | bits);
            assert_eq!(world.find(VA, permits).map(|found| found.permits), Ok(permits));
            let reason = if permits.read { Reason::Write } else { Reason::Read };
            assert_eq!(world.reason(VA, Permits::ALL), reason);
        }
        let world = World::new(VA, 0x9000);
        world.set(slot(level, VA), 0x9000);
        assert_eq!(world.reason(VA, Permits::READ), Reason::Read, "level {level}");
        assert_eq!(world.reason(VA, Permits::WRITE), Reason::Write, "level {level}");
        assert_eq!(world.reason(VA, NOTHING), Reason::Read, "level {level}");
    }
    // Reading here and writing there is neither.
    let world = World::new(VA, 0x9000);
    world.set(slot(3, VA), TABLES[1] | 1);
    world.set(slot(0, VA), 0x9000 | 2);
    assert_eq!(world.reason(VA, NOTHING), Reason::Read);
}

#[test]
fn what_is_wrong_with_a_table_has_its_reason() {
    let context = CONTEXT + 8 * 16;
    let cases = [
        (ROOT + 16, 0, Reason::Root),
        (ROOT + 16, CONTEXT | 3, Reason::RootReserved),
        (ROOT + 16, CONTEXT | 1 | 1 << 48, Reason::RootReserved),
        (ROOT + 24, 1, Reason::RootReserved),
        (ROOT + 16, MEMORY | 1, Reason::ContextTable),
        (context, TABLES[0], Reason::Context),
        (context, TABLES[0] | 1 | 1 << 4, Reason::ContextReserved),
        (context, TABLES[0] | 1 | 1 << 63, Reason::ContextReserved),
        (context + 8, 2 | 1 << 24, Reason::ContextReserved),
        (context, TABLES[0] | 1 | 1 << 2, Reason::ContextProgramming),
        (context, TABLES[0] | 1 | 3 << 2, Reason::ContextProgramming),
        (context + 8, 1, Reason::ContextProgramming),
        (context + 8, 3, Reason::ContextProgramming),
        (context, MEMORY | 1, Reason::ContextProgramming),
        (context, 0xffff_ffff_f000 | 1, Reason::ContextProgramming),
        (slot(3, VA), MEMORY | READ_WRITE, Reason::Table),
        (slot(1, VA), MEMORY | READ_WRITE, Reason::Table),
        (slot(3, VA), TABLES[1] | READ_WRITE | LARGE, Reason::EntryReserved),
        (slot(2, VA), TABLES[2] | READ_WRITE | LARGE, Reason::EntryReserved),
        (slot(1, VA), TABLES[3] | READ_WRITE | LARGE, Reason::EntryReserved),
        (slot(1, VA), TABLES[3] | READ_WRITE | 1 << 62, Reason::EntryReserved),
        (slot(0, VA), 0x9000 | READ_WRITE | 1 << 48, Reason::EntryReserved),
        (slot(0, VA), 0x9000 | READ_WRITE | 1 << 11, Reason::EntryReserved),
    ];
    for (place, value, reason) in cases {
        let world = World::new(VA, 0x9000);
        world.set(place, value);
        assert_eq!(world.reason(VA, Permits::READ), reason, "{value:#x} at {place:#x}");
    }
    let world = World::new(VA, 0x9000);
    assert_eq!(world.reason(1 << 48, Permits::READ), Reason::Width);
    for (root, reason) in [
        (MEMORY, Reason::RootTable),
        (!0xfff, Reason::RootTable),
        (ROOT | 1 << 10, Reason::RootRegister),
    ] {
        let refused = Domain::of(&world.0, root, SOURCE).expect_err("refused");
        assert_eq!(refused.reason, reason, "{root:#x}");
    }
}

#[test]
fn software_may_use_the_bits_that_are_its_own() {
    let world = World::new(VA, 0x9000);
    let software = 0x3ff << 52 & !(1 << 62) | 1 << 63 | 0x700;
    world.set(slot(0, VA), 0x9000 | READ_WRITE | software);
    world.set(slot(2, VA), TABLES[2] | READ_WRITE | software);
    world.set(CONTEXT + 8 * 16 + 8, 2 | 0xf << 3 | 0xffff << 8);
    assert_eq!(world.find(VA, Permits::ALL).map(|found| found.address), Ok(0x9000));
}

#[test]
fn addresses_may_pass_through() {
    let world = World::new(VA, 0x9000);
    world.set(CONTEXT + 8 * 16, 1 | 2 << 2);
    assert_eq!(world.find(VA, Permits::ALL).map(|found| found.address), Ok(VA));
    assert_eq!(world.reason(1 << 48, Permits::READ), Reason::Width);
}

#[test]
fn a_guest_may_ask_for_silence() {
    let world = World::new(VA, 0x9000);
    world.set(CONTEXT + 8 * 16, TABLES[0] | 1 | 2);
    assert_eq!(world.find(VA, Permits::ALL).map(|found| found.address), Ok(0x9000));
    let refused = world.find(VA + 4096, Permits::WRITE);
    assert_eq!(refused, Err(Denial { reason: Reason::Write, silent: true }));
}

#[test]
fn a_table_that_contains_itself_ends() {
    let world = World::new(VA, 0x9000);
    for slot in 0..512 {
        world.set(TABLES[0] + slot * 8, TABLES[0] | READ_WRITE);
    }
    let found = world.find(VA, Permits::ALL).expect("the table as a page");
    assert_eq!((found.address, found.left), (TABLES[0], 4096));
}

proptest! {
    /// Whatever tables hold, a walk ends, and what it finds is what was asked for.
    #[test]
    fn random_tables_do_no_harm(
        words in prop::collection::vec((0..0x7000u64 / 8, any::<u64>(), any::<bool>()), 0..200),
        root in any::<u64>(), address in any::<u64>(), source in any::<u16>(),
    ) {
        let world = World::new(VA, 0x9000);
        for (place, value, near) in words {
            // Half of them lead to other tables.
            world.set(place * 8, if near { value & 0x7fff } else { value });
        }
        for root in [root, ROOT] {
            for (address, source) in [(address, source), (VA, SOURCE), (address >> 16, SOURCE)] {
                let Ok(domain) = Domain::of(&world.0, root, source) else { continue };
                for wanted in [NOTHING, Permits::READ, Permits::WRITE, Permits::ALL] {
                    if let Ok(found) = domain.find(&world.0, address, wanted) {
                        prop_assert!(found.permits.cover(wanted));
                        prop_assert!(found.address.checked_add(found.left).is_some());
                        prop_assert!(found.left > 0);
                    }
                }
            }
        }
    }
}
