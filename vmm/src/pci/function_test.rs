// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a write to configuration space does to the device behind it.

use super::bar::BarMove;
use super::test_doubles::{
    Recorder, Registry, Sent, Sink, TABLE, Told, VECTORS, config, function, map,
};
use super::{AddressMap, Area, Backing, Bar, Function, Msix, Root};
use crate::mapping::Mapping;
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

const COMMAND: usize = 0x04;
const MEMORY: u8 = 1 << 1;
const MASTER: u8 = 1 << 2;
/// Where the capabilities of the test function are.
const DEVICE_CONTROL: usize = 0x40 + 8;
const MSIX_CONTROL: usize = 0x7c + 2;

/// A write to configuration space and the moves that come of it: BAR, from, to.
fn write(
    function: &Function,
    offset: usize,
    data: &[u8],
) -> Vec<(usize, Option<u64>, Option<u64>)> {
    let moves = function.write_config(offset, data);
    moves.iter().map(|moved| (moved.bar.index, moved.from, moved.to)).collect()
}

fn place(function: &Function, register: usize, address: u64) {
    assert_eq!(write(function, register, &(address as u32).to_le_bytes()), []);
    assert_eq!(write(function, register + 4, &((address >> 32) as u32).to_le_bytes()), []);
}

const SMALL: u64 = 0xc000_0000;
const LARGE: u64 = 16 << 30;

/// A function that answers at these addresses.
fn placed() -> (Function, Arc<Recorder>, Sink) {
    let (function, device, sink) = function();
    place(&function, 0x10, SMALL);
    place(&function, 0x20, LARGE);
    let moves = write(&function, COMMAND, &[MEMORY | MASTER]);
    assert_eq!(moves, [(0, None, Some(SMALL)), (4, None, Some(LARGE))]);
    assert_eq!(device.take(), [Told::BusMaster(true)]);
    (function, device, sink)
}

#[test]
fn accesses_reach_what_is_there() {
    let (function, device, sink) = placed();
    let mut bytes = [0; 4];
    assert!(function.write_memory(SMALL + 0xfff, &[1]));
    assert!(function.read_memory(LARGE + 8, &mut [0; 8]));
    assert!(!function.read_memory(SMALL - 1, &mut bytes));
    assert!(!function.read_memory(u64::MAX, &mut bytes));
    assert_eq!(device.take(), [Told::Write(0, 0xfff, vec![1]), Told::Read(4, 8, 8)]);
    // The MSI-X table is not the device's.
    assert!(function.write_memory(SMALL + TABLE + 12, &[0; 4]));
    assert_eq!(sink.take().len(), 1);
    assert!(function.read_memory(SMALL + TABLE + 12, &mut bytes));
    assert_eq!(bytes, [0; 4]);
    // Between areas is nothing.
    assert!(function.read_memory(SMALL + 0x1000, &mut bytes));
    assert!(function.write_memory(SMALL + 0x1000, &bytes));
    assert_eq!((bytes, device.take()), ([0xff; 4], vec![]));
}

#[test]
fn a_bar_follows_its_register_and_vanishes_with_memory_decoding() {
    let (function, _, _) = placed();
    let moved = write(&function, 0x10, &0xd000_0000u32.to_le_bytes());
    assert_eq!(moved, [(0, Some(SMALL), Some(0xd000_0000))]);
    assert!(function.read_memory(0xd000_0000, &mut [0]));
    assert!(!function.read_memory(SMALL, &mut [0]));
    let gone = write(&function, COMMAND, &[MASTER]);
    assert_eq!(gone, [(0, Some(0xd000_0000), None), (4, Some(LARGE), None)]);
    assert!(!function.read_memory(0xd000_0000, &mut [0]));
}

#[test]
fn a_function_level_reset_stops_access_first() {
    let (function, device, _) = placed();
    let moves = write(&function, DEVICE_CONTROL, &0x8000u16.to_le_bytes());
    assert_eq!(moves, [(0, Some(SMALL), None), (4, Some(LARGE), None)]);
    assert_eq!(device.take(), [Told::BusMaster(false), Told::Reset]);
    let mut command = [0xff; 2];
    function.read_config(COMMAND, &mut command);
    assert_eq!(command, [0, 0]);
}

#[test]
fn messages_wait_for_the_function_to_be_allowed_to_send() {
    let sink = Sink::default();
    let msix = Arc::new(Msix::new(sink.vectors(VECTORS)));
    let device = Arc::new(Recorder::default());
    let function = Function::new(config(), Some(Arc::clone(&msix)), device as _);
    write(&function, MSIX_CONTROL, &[0, 0x80]);
    msix.write(12, &[0; 4]);
    sink.take();
    msix.signal(0);
    assert_eq!(sink.take(), []);
    write(&function, COMMAND, &[MASTER]);
    assert_eq!(sink.take(), [Sent::Sent(0)]);
}

#[test]
fn the_root_finds_functions_by_number_and_nothing_elsewhere() {
    let (function, _, _) = function();
    let root = Root::new(vec![(1, Arc::new(function))]);
    let read = |offset| {
        let mut bytes = [0; 4];
        root.read_config(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    };
    assert_eq!(read(1 << 15), 0x5678_1234);
    assert_eq!(read(0), u32::MAX, "another device");
    assert_eq!(read(1 << 15 | 1 << 12), u32::MAX, "another function");
    assert_eq!(read(1 << 20 | 1 << 15), u32::MAX, "another bus");
    let (mut map, registry) = map();
    root.write_config(2 << 15, &[0xff; 4], &mut map);
    assert!(registry.attached.lock().is_empty());
    assert!(!root.write_memory(0xc000_0000, &[0]));
}

#[test]
fn doorbells_follow_their_bar() {
    let events = (0..2).map(|_| Arc::new(EventFd::new(0).unwrap())).collect();
    let backing = Backing::Doorbells { stride: 0x1000, events };
    let areas = vec![Area { range: 0..0x4000, backing }];
    let bar = Arc::new(Bar::new(4, 0x4000, areas));
    let registry = Arc::new(Registry { refused: Some(0x9000), ..Registry::default() });
    let mut map = AddressMap::new(Arc::clone(&registry) as _, Arc::clone(&registry) as _);
    let mut from = None;
    let mut follow = |to| {
        map.follow(&[BarMove { bar: Arc::clone(&bar), from, to }]);
        from = to;
        registry.attached.lock().clone()
    };
    assert_eq!(follow(Some(0x4000)), [0x4000, 0x5000]);
    assert_eq!(follow(Some(0x8000)), [0x8000], "one address is refused, the other is not");
    assert_eq!(follow(None), [0; 0]);
    let last = u64::MAX - 0xfff;
    assert_eq!(follow(Some(last)), [last], "an address that overflows is left out");
}

#[test]
fn another_function_goes_on_where_one_was_saved() {
    let (function, ..) = placed();
    assert_eq!(write(&function, MSIX_CONTROL, &[0, 0x80]), []);
    // A vector that is unmasked, with a message.
    function.write_memory(SMALL + TABLE, &0xfee0_0000u64.to_le_bytes());
    function.write_memory(SMALL + TABLE + 12, &[0; 4]);
    let saved = function.save();
    let (other, device, sink) = self::function();
    let root = Root::new(vec![(1, Arc::new(other))]);
    assert!(root.restore(&[saved], &mut map().0), "the same function");
    assert_eq!(device.take(), [Told::BusMaster(true)]);
    assert_eq!(root.save(), Some(vec![function.save()]));
    assert!(matches!(sink.take()[..], [Sent::Programmed(0, _)]));
    assert!(root.write_memory(LARGE, &[1]));
    assert_eq!(device.take(), [Told::Write(4, 0, vec![1])]);
}

#[test]
fn another_bus_is_not_restored() {
    let (function, ..) = placed();
    let without_msix = Function::new(config(), None, Arc::new(Recorder::default()));
    let root = Root::new(vec![(1, Arc::new(without_msix))]);
    let (mut map, _) = map();
    assert!(!root.restore(&[function.save()], &mut map));
    assert!(!root.restore(&[], &mut map));
}

#[test]
fn memory_of_the_host_follows_its_bar() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(0x3000).unwrap();
    let area = |start, size| {
        let memory = Mapping::of(&file, start, size).unwrap();
        Area { range: start..start + size, backing: Backing::Mapped(Arc::new(memory)) }
    };
    let bar = Arc::new(Bar::new(0, 0x4000, vec![area(0, 0x1000), area(0x2000, 0x1000)]));
    let registry = Arc::new(Registry { refused: Some(0x8000), ..Registry::default() });
    let mut map = AddressMap::new(Arc::clone(&registry) as _, Arc::clone(&registry) as _);
    let mut from = None;
    let mut follow = |to| {
        map.follow(&[BarMove { bar: Arc::clone(&bar), from, to }]);
        from = to;
        registry.shown.lock().clone()
    };
    assert_eq!(follow(Some(0x4000)), [0x4000, 0x6000]);
    assert_eq!(follow(Some(0x8000)), [0xa000], "one address is refused, the other is not");
    assert_eq!(follow(None), [0; 0]);
}
