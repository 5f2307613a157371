// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The unit as a kernel drives it, with a device that writes down when it was
//! told of changes.

use super::{Behind, IommuPort, IommuRegisters, Unit};
use crate::pci::Message;
use crate::pci::test_doubles::{Sent, Sink};
use farfault_device_model::{Iommu, Mapping, Permits};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const SOURCE: u16 = 8;
const ROOT: u64 = 0x1000;
const TABLES: [u64; 5] = [0x2000, 0x3000, 0x4000, 0x5000, 0x6000];
const LAST: u64 = TABLES[4];
/// The first of the addresses that the last table maps.
const VA: u64 = 0x4000_0000;

/// A device that counts how often it was told.
impl Behind for AtomicU32 {
    fn dma_changed(&self) {
        self.fetch_add(1, Relaxed);
    }
}

struct World {
    memory: Arc<GuestMemoryMmap>,
    iommu: Arc<IommuRegisters>,
    port: IommuPort,
    device: Arc<AtomicU32>,
    sink: Sink,
}

impl World {
    /// A unit in reset, and tables that map VA to 0x9000 and the page after it to 0xa000.
    fn new() -> World {
        let ranges = [(GuestAddress(0), 8 << 20)];
        let memory = Arc::new(GuestMemoryMmap::from_ranges(&ranges).unwrap());
        let (device, sink) = (Arc::new(AtomicU32::new(0)), Sink::default());
        let unit = Unit::new(Arc::clone(&memory), sink.vectors(1).remove(0));
        let iommu = IommuRegisters::new(Arc::clone(&unit), Arc::clone(&device) as _);
        let world = World { memory, iommu, port: IommuPort::new(unit, SOURCE), device, sink };
        world.set(ROOT, TABLES[0] | 1);
        world.set(TABLES[0] + 8 * 16, TABLES[1] | 1);
        world.set(TABLES[0] + 8 * 16 + 8, 2 | 1 << 8);
        world.set(TABLES[1], TABLES[2] | 3);
        world.set(TABLES[2] + 8, TABLES[3] | 3);
        world.set(TABLES[3], LAST | 3);
        world.set(LAST, 0x9000 | 3);
        world.set(LAST + 8, 0xa000 | 3);
        world
    }

    /// The same, translating.
    fn enabled() -> World {
        let world = World::new();
        world.write64(0x20, ROOT);
        world.write32(0x18, 1 << 30);
        world.write32(0x18, 1 << 31);
        world
    }

    fn set(&self, address: u64, value: u64) {
        self.memory.write_obj(value, GuestAddress(address)).unwrap();
    }

    fn read32(&self, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        self.iommu.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn read64(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.iommu.read(offset, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn write32(&self, offset: u64, value: u32) {
        self.iommu.write(offset, &value.to_le_bytes());
    }

    fn write64(&self, offset: u64, value: u64) {
        self.iommu.write(offset, &value.to_le_bytes());
    }

    /// Makes an access as the device does: where it leads, if it is not refused.
    fn touch(&self, address: u64, wanted: Permits) -> Option<u64> {
        match self.port.translate(address, wanted) {
            Ok(mapping) => Some(mapping.address),
            Err(fault) => {
                assert_eq!((fault.address, fault.wanted), (address, wanted));
                self.port.refused(&fault);
                None
            }
        }
    }

    fn told(&self) -> u32 {
        self.device.swap(0, Relaxed)
    }
}

#[test]
fn a_kernel_finds_what_it_needs() {
    let world = World::new();
    assert_eq!(world.read32(0), 0x10, "version 1.0");
    let capabilities = world.read64(8);
    assert_eq!(capabilities >> 8 & 0x1f, 1 << 2, "4 levels and no other number");
    assert_eq!(capabilities >> 16 & 0x3f, 47, "48 bits");
    assert_eq!(capabilities >> 7 & 1, 0, "no caching mode");
    assert_eq!(capabilities >> 40 & 0xff, 0, "one fault record");
    assert_eq!(capabilities >> 34 & 0xf, 0b11, "2 MiB and 1 GiB pages");
    assert!(capabilities & 7 >= 2, "256 domains at least");
    let extended = world.read64(0x10);
    assert_eq!(extended & 0b1111, 1, "coherent; no queue, no device TLBs, no interrupts");
    assert_eq!(world.read32(8), capabilities as u32);
    assert_eq!(world.read32(12), (capabilities >> 32) as u32);
    assert_eq!(world.read32(0x64), 0, "no protected memory");
}

#[test]
fn accesses_that_are_none_do_nothing() {
    let world = World::enabled();
    for (offset, size) in [(0, 1), (0, 2), (2, 4), (4, 8), (0xfff, 1), (0, 3), (0, 7)] {
        let mut bytes = [0; 8];
        world.iommu.read(offset, &mut bytes[..size]);
        assert!(bytes[..size].iter().all(|byte| *byte == 0xff), "{offset:#x} {size}");
        world.iommu.write(offset, &[0; 8][..size]);
    }
    for offset in (0..4096).step_by(4).filter(|offset| *offset != 0x18) {
        world.read32(offset);
        world.write32(offset, u32::MAX);
        world.write32(offset, 0);
    }
    assert_eq!(world.read64(0xff8), 0);
    assert_eq!(world.read32(0x1c), 3 << 30, "still translating");
}

#[test]
fn translation_is_on_when_the_status_says_so() {
    let world = World::new();
    assert_eq!(world.touch(VA, Permits::ALL), Some(VA), "not translated");
    world.write64(0x20, ROOT);
    assert_eq!((world.read32(0x1c), world.told()), (0, 0), "nothing was asked for");
    world.write32(0x18, 1 << 30);
    assert_eq!((world.read32(0x1c), world.told()), (1 << 30, 1));
    world.write32(0x18, 1 << 31);
    assert_eq!((world.read32(0x1c), world.told()), (3 << 30, 1));
    assert_eq!(world.touch(VA + 0x12, Permits::ALL), Some(0x9012));
    // Another root register counts when it is set.
    world.write64(0x20, 0x7000);
    assert_eq!(world.touch(VA, Permits::ALL), Some(0x9000));
    // A write-buffer flush and what the unit does not have change nothing.
    world.write32(0x18, 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25);
    assert_eq!((world.read32(0x1c), world.told()), (3 << 30, 0));
    world.write32(0x18, 0);
    assert_eq!((world.read32(0x1c), world.told()), (1 << 30, 1));
    assert_eq!(world.touch(VA, Permits::ALL), Some(VA));
}

/// One question is one walk: what it says ends with the page, whatever comes behind.
#[test]
fn a_mapping_ends_with_its_page() {
    let world = World::enabled();
    let found = |address, wanted| {
        world.port.translate(address, wanted).ok().map(|Mapping { address, left, permits }| {
            assert!(permits.cover(wanted));
            (address, left)
        })
    };
    assert_eq!(found(VA + 0x12, Permits::ALL), Some((0x9012, 4096 - 0x12)));
    assert_eq!(found(VA + 2 * 4096, Permits::READ), None);
    world.set(LAST + 8, 0xa000 | 1);
    assert_eq!(found(VA + 4096, Permits::READ), Some((0xa000, 4096)));
    assert_eq!(found(VA + 4096, Permits::WRITE), None);
    world.set(TABLES[3], 0x20_0000 | 1 << 7 | 3);
    assert_eq!(found(VA + 0x3000, Permits::ALL), Some((0x20_3000, (2 << 20) - 0x3000)));
    // A huge page around the interrupt messages' addresses ends there.
    world.set(TABLES[2] + 3 * 8, 1 << 7 | 3);
    let messages = 0xfee0_0000;
    assert_eq!(found(messages - 4096, Permits::ALL), Some((0x3edf_f000, 4096)));
    assert_eq!(found(messages, Permits::WRITE).map(|(address, _)| address), Some(messages));
    assert_eq!(found(1 << 48, Permits::READ), None);
    assert_eq!(found(u64::MAX, Permits::READ), None);
    assert_eq!((world.iommu.faults(), world.sink.take()), (0, vec![]), "asking has no effect");
}

#[test]
fn invalidations_of_every_granularity_tell_the_device() {
    let world = World::enabled();
    world.told();
    for asked in 1..4u64 {
        world.write64(0x28, 1 << 63 | asked << 61 | 5);
        assert_eq!(world.told(), 1);
        assert_eq!(world.read64(0x28), asked << 61 | 1 << 59 | 5, "done, globally");
        world.write64(0x100, 0x1234_5000 | 3);
        world.write64(0x108, 1 << 63 | asked << 60 | 1 << 49 | 1 << 48 | 5 << 32);
        assert_eq!(world.told(), 1);
        let expected = asked << 60 | 1 << 57 | 1 << 49 | 1 << 48 | 5 << 32;
        assert_eq!(world.read64(0x108), expected, "done, globally");
    }
    assert_eq!(world.iommu.invalidations(), 6);
    // In halves it is the upper one that counts.
    world.write32(0x108, 0);
    world.write32(0x28, 7);
    assert_eq!(world.told(), 0);
    world.write32(0x10c, 1 << 31 | 1 << 28);
    world.write32(0x2c, 1 << 31 | 1 << 29);
    assert_eq!((world.told(), world.iommu.invalidations()), (2, 8));
    // No granularity, no invalidation: the kernel sees that none was carried out.
    world.write64(0x28, 1 << 63);
    world.write64(0x108, 1 << 63);
    assert_eq!((world.read64(0x28), world.read64(0x108), world.told()), (0, 0, 0));
}

#[test]
fn a_refused_access_is_recorded_and_reported() {
    let world = World::enabled();
    let message = Message { address: 0xfee0_1000, data: 0x41 };
    world.write32(0x3c, message.data);
    world.write32(0x40, message.address as u32);
    world.write32(0x44, 0);
    assert_eq!(world.sink.take().last(), Some(&Sent::Programmed(0, message)));
    assert_eq!(world.read32(0x38), 1 << 31, "masked");
    world.write32(0x38, 0);

    assert_eq!(world.touch(VA + 0x2345, Permits::WRITE), None);
    assert_eq!(world.sink.take(), [Sent::Sent(0)]);
    assert_eq!(world.read32(0x34), 2, "a record");
    assert_eq!(world.read64(0x200), VA + 0x2000);
    assert_eq!(world.read64(0x208), 1 << 63 | 5 << 32 | 8, "a write of 00:01.0, reason 5");

    // There is room for no other, and no message for one that is lost.
    assert_eq!(world.touch(VA + 0x3000, Permits::READ), None);
    assert_eq!((world.read32(0x34), world.sink.take()), (3, vec![]));
    assert_eq!(world.read64(0x200), VA + 0x2000);
    assert_eq!(world.iommu.faults(), 2);

    // As long as the overflow is not acknowledged, nothing is recorded.
    world.write32(0x20c, 1 << 31);
    assert_eq!(world.read32(0x34), 1);
    assert_eq!(world.touch(VA + 0x3000, Permits::READ), None);
    assert_eq!((world.read32(0x34), world.sink.take()), (1, vec![]));
    world.write32(0x34, 1);
    assert_eq!(world.read32(0x34), 0);
    assert_eq!(world.touch(VA + 0x3000, Permits::READ), None);
    assert_eq!((world.read32(0x34), world.sink.take()), (2, vec![Sent::Sent(0)]));
    assert_eq!(world.read64(0x208), 3 << 62 | 6 << 32 | 8, "a read, reason 6");
    assert_eq!(world.iommu.faults(), 4);
}

#[test]
fn a_masked_event_waits_unless_its_cause_goes() {
    let world = World::enabled();
    assert_eq!(world.touch(VA + 0x2000, Permits::READ), None);
    assert_eq!((world.read32(0x38), world.sink.take()), (3 << 30, vec![]));
    world.write32(0x38, 0);
    assert_eq!((world.read32(0x38), world.sink.take()), (0, vec![Sent::Sent(0)]));
    world.write32(0x38, 0);
    assert_eq!(world.sink.take(), []);

    world.write32(0x38, 1 << 31);
    world.write32(0x20c, 1 << 31);
    assert_eq!(world.touch(VA + 0x2000, Permits::READ), None);
    assert_eq!(world.read32(0x38), 3 << 30);
    world.write32(0x20c, 1 << 31);
    assert_eq!(world.read32(0x38), 1 << 31, "seen to by looking");
    world.write32(0x38, 0);
    assert_eq!(world.sink.take(), []);
}

#[test]
fn nothing_is_recorded_for_who_wants_silence_and_for_messages() {
    let world = World::enabled();
    assert_eq!(world.touch(0xfee0_0000, Permits::WRITE), Some(0xfee0_0000));
    world.set(TABLES[0] + 8 * 16, TABLES[1] | 3);
    assert_eq!(world.touch(VA + 0x2000, Permits::READ), None);
    assert_eq!((world.iommu.faults(), world.read32(0x34)), (0, 0));
}

#[test]
fn another_unit_goes_on_where_one_was_saved() {
    let world = World::enabled();
    world.write32(0x3c, 0x41);
    world.write32(0x38, 0);
    let fault = world.port.translate(VA + 0x5000, Permits::READ).expect_err("not mapped");
    world.port.refused(&fault);
    let other = World::new();
    other.iommu.restore(&world.iommu.save());
    for offset in (0..0x210).step_by(4) {
        assert_eq!(other.read32(offset), world.read32(offset), "{offset:#x}");
    }
    assert_eq!(other.iommu.faults(), 1);
    let translate = |world: &World| world.port.translate(VA + 0x1000, Permits::READ);
    assert_eq!(translate(&other), translate(&world));
    assert_eq!(translate(&other).map(|mapping| mapping.address), Ok(0xa000));
    assert!(matches!(other.sink.take()[..], [Sent::Programmed(0, Message { data: 0x41, .. })]));
}
