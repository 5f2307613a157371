// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a write to configuration space does to the device behind it.

use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::events::BarEvents;
use super::function::Function;
use super::root::Root;
use super::test_doubles::{Recorder, Registry, Sent, Told, function};

const COMMAND: usize = 0x04;
const MEMORY: u8 = 1 << 1;
const MASTER: u8 = 1 << 2;
/// Where the capabilities of the test function are.
const DEVICE_CONTROL: usize = 0x40 + 8;
const MSIX_CONTROL: usize = 0x7c + 2;

fn place(function: &Function, register: usize, address: u64) {
    function.write_config(register, &(address as u32).to_le_bytes());
    function.write_config(register + 4, &((address >> 32) as u32).to_le_bytes());
}

fn placed() -> (Function, Arc<Recorder>, super::test_doubles::Sender) {
    let (function, device, sender) = function();
    place(&function, 0x10, 0xc000_0000);
    place(&function, 0x18, 0xc000_4000);
    place(&function, 0x20, 16 << 30);
    function.write_config(COMMAND, &[MEMORY | MASTER]);
    (function, device, sender)
}

#[test]
fn enabling_memory_moves_all_bars_at_once() {
    let (_function, device, _) = placed();
    assert_eq!(
        device.take(),
        [
            Told::BusMaster(true),
            Told::Moved(0, Some(0xc000_0000)),
            Told::Moved(2, Some(0xc000_4000)),
            Told::Moved(4, Some(16 << 30)),
        ]
    );
}

#[test]
fn accesses_reach_the_bar_that_is_there() {
    let (function, device, _) = placed();
    device.take();
    assert!(function.write_memory(0xc000_3fff, &[1]));
    assert!(function.read_memory((16 << 30) + 8, &mut [0; 8]));
    assert!(!function.read_memory(0xbfff_ffff, &mut [0]));
    assert!(!function.read_memory(u64::MAX, &mut [0]));
    assert_eq!(device.take(), [Told::Write(0, 0x3fff, vec![1]), Told::Read(4, 8, 8)]);
}

#[test]
fn the_msix_bar_never_reaches_the_device() {
    let (function, device, sender) = placed();
    device.take();
    assert!(function.write_memory(0xc000_400c, &[0; 4]));
    assert_eq!(device.take(), []);
    assert_eq!(sender.take().len(), 1);
}

#[test]
fn a_bar_follows_its_register_and_vanishes_with_memory_decoding() {
    let (function, device, _) = placed();
    device.take();
    function.write_config(0x10, &0xd000_0000u32.to_le_bytes());
    assert_eq!(device.take(), [Told::Moved(0, Some(0xd000_0000))]);
    assert!(function.read_memory(0xd000_0000, &mut [0]));
    assert!(!function.read_memory(0xc000_0000, &mut [0]));
    function.write_config(COMMAND, &[MASTER]);
    assert!(!function.read_memory(0xd000_0000, &mut [0]));
}

#[test]
fn a_function_level_reset_stops_access_first() {
    let (function, device, sender) = placed();
    function.write_config(MSIX_CONTROL, &[0, 0x80]);
    function.write_memory(0xc000_400c, &[0; 4]);
    device.take();
    sender.take();
    function.write_config(DEVICE_CONTROL, &0x8000u16.to_le_bytes());
    assert_eq!(
        device.take(),
        [
            Told::BusMaster(false),
            Told::Reset,
            Told::Moved(0, None),
            Told::Moved(2, None),
            Told::Moved(4, None),
        ]
    );
    let mut command = [0xff; 2];
    function.read_config(COMMAND, &mut command);
    assert_eq!(command, [0, 0]);
}

#[test]
fn messages_wait_for_the_function_to_be_allowed_to_send() {
    let (device, sender) = (Arc::new(Recorder::default()), super::test_doubles::Sender::default());
    let msix = Arc::new(super::Msix::new(3, 0x800, Box::new(sender.clone())));
    let config = super::test_doubles::config();
    let function = Function::new(config, Some((2, Arc::clone(&msix))), device as _);
    function.write_config(MSIX_CONTROL, &[0, 0x80]);
    msix.write(12, &[0; 4]);
    sender.take();
    msix.signal(0);
    assert_eq!(sender.take(), []);
    function.write_config(COMMAND, &[MASTER]);
    assert_eq!(sender.take(), [Sent::Sent(0)]);
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
    root.write_config(2 << 15, &[0xff; 4]);
    assert!(!root.write_memory(0xc000_0000, &[0]));
}

#[test]
fn events_follow_their_bar() {
    let event = || EventFd::new(0).unwrap();
    let registry = Arc::new(Registry { refused: Some(0x9000), ..Registry::default() });
    let events = BarEvents::new(Arc::clone(&registry) as _, vec![(0, event()), (0x1000, event())]);
    let attached = || registry.attached.lock().clone();
    events.moved(Some(0x4000));
    assert_eq!(attached(), [0x4000, 0x5000]);
    events.moved(Some(0x8000));
    assert_eq!(attached(), [0x8000], "one address is refused, the other is not");
    events.moved(None);
    assert_eq!(attached(), [0; 0]);
    events.moved(Some(u64::MAX - 0xfff));
    assert_eq!(attached(), [u64::MAX - 0xfff], "an address that overflows is left out");
}
