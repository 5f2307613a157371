// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A function of the host as a guest's driver uses it.

use super::host::Way;
use super::test_doubles::{
    BAR_0, BAR_4, Fake, MSI, MSIX, PCIE, PENDING, POWER, Rig, SIZES, SLOT, TABLE, Told, VECTORS,
    VENDOR,
};
use crate::pci::{Message, PciFunction};
use proptest::prelude::*;

const COMMAND: usize = 0x04;
const MEMORY: u16 = 1 << 1;
const MASTER: u16 = 1 << 2;

impl Rig {
    fn read(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.function.read_config(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn write(&mut self, offset: usize, data: &[u8]) -> Vec<Told> {
        self.function.write_config(offset, data, &mut self.map);
        self.log.take()
    }

    fn write_u32(&mut self, offset: usize, value: u32) {
        self.write(offset, &value.to_le_bytes());
    }

    fn command(&mut self, command: u16) -> Vec<Told> {
        self.write(COMMAND, &command.to_le_bytes())
    }

    /// Writes an entry of the MSI-X table.
    fn entry(&self, vector: u64, message: Message, masked: bool) -> Vec<Told> {
        let at = BAR_0 + TABLE + 16 * vector;
        assert!(self.function.write_memory(at, &message.address.to_le_bytes()));
        assert!(self.function.write_memory(at + 8, &message.data.to_le_bytes()));
        assert!(self.function.write_memory(at + 12, &u32::from(masked).to_le_bytes()));
        self.log.take()
    }

    fn pending(&self) -> u8 {
        let mut bits = [0; 8];
        assert!(self.function.read_memory(BAR_0 + PENDING, &mut bits));
        bits[0]
    }
}

fn rig() -> Rig {
    Rig::new(Fake::new())
}

/// A function whose BARs answer.
fn awake() -> Rig {
    let mut rig = rig();
    rig.command(MEMORY | MASTER);
    rig
}

const MESSAGE: Message = Message { address: 0xfee0_1000, data: 0x41 };

fn command_is(command: u16) -> Told {
    Told::Config(COMMAND, command.to_le_bytes().to_vec())
}

#[test]
fn it_says_who_it_is_and_not_where_it_is() {
    let rig = rig();
    assert_eq!(rig.read(0x00), 0x5678_1234);
    assert_eq!(rig.read(0x08), 0x0108_0203);
    assert_eq!(rig.read(0x2c), 0x0002_0001);
    assert_eq!(rig.read(0x04), 0x0010_0000, "the status is the host's, the command is not");
    assert_eq!(rig.read(0x0c), 0, "one function");
    assert_eq!((rig.read(0x14), rig.read(0x30)), (0, 0), "neither I/O nor ROM");
    assert_eq!(rig.read(0x3c), 0x0100, "a pin, and no line yet");
}

#[test]
fn capabilities_are_where_the_host_has_them() {
    let rig = rig();
    let mut chain = Vec::new();
    let mut at = rig.read(0x34) as usize & 0xff;
    while at != 0 {
        chain.push(at);
        at = (rig.read(at) >> 8) as usize & 0xff;
    }
    assert_eq!(chain, [POWER, MSI, MSIX, PCIE, VENDOR]);
    assert!(!chain.contains(&SLOT));
    assert_eq!(rig.read(PCIE) >> 16, 0x92, "integrated in the root complex");
    assert_eq!((rig.read(PCIE + 0x0c), rig.read(PCIE + 0x10)), (0, 0), "without a link");
    assert_eq!(rig.read(MSIX) >> 16, VECTORS as u32 - 1, "off, whatever the host has done");
    assert_eq!(rig.read(MSI) >> 16, 0x182, "off, two vectors, 64 bits, masks");
    assert_eq!(rig.read(VENDOR) >> 16, 0xab08);
    assert_eq!(rig.read(0x100), 0x140 << 20, "no more functions can be made of it");
    assert_eq!(rig.read(0x140), 0x0001_0003);
}

#[test]
fn all_ones_size_a_bar_and_the_host_hears_nothing_of_it() {
    let mut rig = rig();
    rig.write(0x3c, &[5]);
    for register in (0x10..0x28).step_by(4) {
        assert_eq!(rig.write(register, &[0xff; 4]), []);
    }
    assert_eq!(rig.read(0x10), !(SIZES[0] as u32 - 1));
    assert_eq!(rig.read(0x14), 0);
    let wide = u64::from(rig.read(0x1c)) << 32 | u64::from(rig.read(0x18));
    assert_eq!(wide, !(SIZES[2] - 1) | 0xc);
    assert_eq!(rig.read(0x20), !(SIZES[4] as u32 - 1));
    assert_eq!(rig.read(0x24), 0);
}

#[test]
fn memory_comes_after_the_host_decodes_it_and_goes_before() {
    let mut rig = rig();
    rig.write(0x3c, &[5]);
    let shown = [command_is(MEMORY), Told::Show(BAR_0, TABLE), Told::Show(BAR_0 + 0x3000, 0x1000)];
    assert_eq!(rig.command(MEMORY), shown, "all pages but the table's");
    let moved = rig.write(0x10, &0xd000_0000u32.to_le_bytes());
    let there = [
        Told::Hide(BAR_0),
        Told::Hide(BAR_0 + 0x3000),
        Told::Show(0xd000_0000, TABLE),
        Told::Show(0xd000_3000, 0x1000),
    ];
    assert_eq!(moved, there);
    let gone = [Told::Hide(0xd000_0000), Told::Hide(0xd000_3000), command_is(MASTER)];
    assert_eq!(rig.command(MASTER), gone);
    assert!(!rig.function.read_memory(0xd000_0000, &mut [0]));
}

#[test]
fn what_is_not_mapped_is_read_and_written_there() {
    let rig = awake();
    let mut bytes = [0; 4];
    assert!(rig.function.read_memory(BAR_4 + 0x10, &mut bytes));
    assert_eq!(bytes, [0x5a; 4]);
    assert!(rig.function.write_memory(BAR_4 + 0x7f, &[1]));
    assert!(!rig.function.write_memory(BAR_4 + 0x80, &[1]));
    let expected = [Told::ReadBar(4, 0x10, 4), Told::WriteBar(4, 0x7f, vec![1])];
    assert_eq!(rig.log.take(), expected);
    // The device's own table is nobody's business.
    rig.entry(0, MESSAGE, true);
    assert!(rig.function.write_memory(BAR_0 + PENDING, &[0xff; 4]));
    assert_eq!(rig.log.take(), []);
}

#[test]
fn only_the_hosts_bytes_are_written_there() {
    let mut rig = awake();
    assert_eq!(rig.write(VENDOR + 2, &[1, 2]), [Told::Config(VENDOR + 2, vec![1, 2])]);
    assert_eq!(rig.write(VENDOR, &[9, 9, 3, 4]), [Told::Config(VENDOR + 2, vec![3, 4])]);
    assert_eq!(rig.write(PCIE + 8, &[0x30, 0x28]), [Told::Config(PCIE + 8, vec![0x30, 0x28])]);
    assert_eq!(rig.write(PCIE + 0x10, &[0xff; 2]), [], "a link that is not there");
    assert_eq!(rig.write(0x06, &[0, 0xf9]), [Told::Config(0x06, vec![0, 0xf9])]);
    assert_eq!(rig.write(0xfff, &[1, 2, 3]), [Told::Config(0xfff, vec![1])]);
    let before = rig.read(MSIX + 4);
    assert_eq!(rig.write(MSIX + 4, &[0xff; 4]), []);
    assert_eq!(rig.read(MSIX + 4), before);
    let mut bytes = [0; 4];
    rig.function.read_config(0xffe, &mut bytes);
    assert_eq!(bytes[2..], [0xff; 2], "behind its end");
}

#[test]
fn messages_of_unmasked_vectors_go_to_the_guest() {
    let mut rig = awake();
    // As Linux does it: all masked, then the table, then open.
    let on = rig.write(MSIX + 2, &0xc000u16.to_le_bytes());
    assert_eq!(on, [Told::Silence(Way::Line), Told::Raise(Way::Msix, VECTORS)]);
    assert_eq!(rig.entry(0, MESSAGE, true), []);
    assert_eq!(rig.entry(1, MESSAGE, false), [], "all of them are masked");
    let open = rig.write(MSIX + 2, &0x8000u16.to_le_bytes());
    assert_eq!(open, [Told::Connect(1, MESSAGE)]);
    // A message that is changed while it is in use.
    let other = Message { data: 0x42, ..MESSAGE };
    let changed = rig.entry(1, other, false);
    assert_eq!(changed, [Told::Disconnect(1), Told::Connect(1, other)]);
    assert_eq!(rig.entry(1, other, true), [Told::Disconnect(1)]);
    let off = rig.write(MSIX + 2, &[0, 0]);
    assert_eq!(off, [Told::Silence(Way::Msix), Told::Raise(Way::Line, 1), Told::Wait]);
}

#[test]
fn what_a_masked_vector_raises_is_pending() {
    let mut rig = awake();
    rig.write(MSIX + 2, &0x8000u16.to_le_bytes());
    assert_eq!(rig.pending(), 0);
    rig.host.events.lock()[2].write(3).unwrap();
    assert_eq!((rig.pending(), rig.pending()), (0b100, 0b100));
    assert_eq!(rig.entry(2, MESSAGE, false), [Told::Connect(2, MESSAGE)]);
    // That takes the event; here nobody does.
    assert_eq!(rig.pending(), 0);
    rig.host.events.lock()[0].write(1).unwrap();
    rig.write(MSIX + 2, &[0, 0]);
    rig.write(MSIX + 2, &0x8000u16.to_le_bytes());
    assert_eq!(rig.pending(), 0, "forgotten with what raised it");
}

#[test]
fn messages_of_msi_differ_in_their_lowest_bits() {
    let mut rig = awake();
    rig.write_u32(MSI + 4, 0xfee0_2000);
    rig.write_u32(MSI + 8, 1);
    rig.write(MSI + 12, &0x51u16.to_le_bytes());
    rig.write_u32(MSI + 16, 0b10);
    let message = |data| Message { address: 0x1_fee0_2000, data };
    let on = rig.write(MSI + 2, &0x11u16.to_le_bytes());
    let expected =
        [Told::Silence(Way::Line), Told::Raise(Way::Msi, 2), Told::Connect(0, message(0x50))];
    assert_eq!(on, expected);
    rig.host.events.lock()[1].write(1).unwrap();
    assert_eq!(rig.read(MSI + 20), 0b10, "pending");
    let unmasked = rig.write(MSI + 16, &[0; 4]);
    assert_eq!(unmasked, [Told::Connect(1, message(0x51))]);
    // More than it has.
    assert_eq!(rig.write(MSI + 2, &0x71u16.to_le_bytes()), []);
}

#[test]
fn a_device_without_interrupts_has_none() {
    let mut host = Fake::new();
    (host.msi, host.pins) = (0, 0);
    host.config.get_mut()[0x34] = POWER as u8;
    host.config.get_mut()[POWER + 1] = 0;
    let mut rig = Rig::new(host);
    assert_eq!(rig.read(0x3c), 0, "no pin");
    assert_eq!(rig.write(MSIX + 2, &0x8000u16.to_le_bytes()).len(), 1, "just bytes of the host's");
}

#[test]
fn a_host_without_vectors_is_asked_again() {
    let mut rig = awake();
    *rig.host.refuses.lock() = true;
    let refused = rig.write(MSIX + 2, &0x8000u16.to_le_bytes());
    let expected =
        [Told::Silence(Way::Line), Told::Raise(Way::Msix, VECTORS), Told::Silence(Way::Msix)];
    assert_eq!(refused, expected);
    *rig.host.refuses.lock() = false;
    let taken = rig.write(MSIX + 2, &0x8000u16.to_le_bytes());
    assert_eq!(taken, [Told::Raise(Way::Msix, VECTORS)]);
}

#[test]
fn a_reset_leaves_nothing_of_the_guests() {
    let mut rig = awake();
    rig.write(MSIX + 2, &0x8000u16.to_le_bytes());
    rig.entry(0, MESSAGE, false);
    let reset = rig.write(PCIE + 8, &0x8000u16.to_le_bytes());
    let expected = [
        Told::Hide(BAR_0),
        Told::Hide(BAR_0 + 0x3000),
        Told::Config(PCIE + 8, vec![0, 0x80]),
        command_is(0),
        Told::Silence(Way::Msix),
        Told::Disconnect(0),
        Told::Raise(Way::Line, 1),
        Told::Wait,
    ];
    assert_eq!(reset, expected);
    assert_eq!((rig.read(COMMAND) & 0xffff, rig.read(0x10)), (0, 0));
    assert_eq!(rig.read(MSIX) >> 16, VECTORS as u32 - 1);
    rig.write_u32(0x10, BAR_0 as u32);
    rig.command(MEMORY);
    let mut control = [0; 4];
    assert!(rig.function.read_memory(BAR_0 + TABLE + 12, &mut control));
    assert_eq!(control, [1, 0, 0, 0], "masked");
}

#[test]
fn a_device_that_sleeps_has_no_memory() {
    let mut rig = awake();
    let asleep = rig.write(POWER + 4, &[3, 0]);
    let gone = [Told::Hide(BAR_0), Told::Hide(BAR_0 + 0x3000), Told::Config(POWER + 4, vec![3, 0])];
    assert_eq!(asleep, gone);
    let awake = rig.write(POWER + 4, &[0, 0]);
    let back = [
        Told::Config(POWER + 4, vec![0, 0]),
        Told::Show(BAR_0, TABLE),
        Told::Show(BAR_0 + 0x3000, 0x1000),
    ];
    assert_eq!(awake, back);
}

#[test]
fn it_is_given_back_without_access_to_memory_and_reset() {
    let Rig { function, log, .. } = awake();
    drop(function);
    let told = log.take();
    assert_eq!(told, [command_is(0), Told::Reset, Told::Silence(Way::Line)]);
}

#[test]
fn its_state_cannot_be_kept() {
    assert!(awake().function.save().is_none());
}

/// What a guest can do.
#[derive(Clone, Debug)]
enum Access {
    Config(usize, Vec<u8>),
    ReadConfig(usize, usize),
    Write(u64, Vec<u8>),
    Read(u64, usize),
    /// A vector of the host's.
    Raise(usize),
}

fn access() -> impl Strategy<Value = Access> {
    let data = || prop::collection::vec(any::<u8>(), 1..=8);
    let register = || prop_oneof![0..0x100usize, 0..0x1000usize];
    let address = || {
        (prop_oneof![Just(BAR_0), Just(BAR_4), any::<u64>()], 0..0x5000u64)
            .prop_map(|(base, offset)| base.wrapping_add(offset))
    };
    prop_oneof![
        (register(), data()).prop_map(|(at, data)| Access::Config(at, data)),
        Just(Access::Config(COMMAND, vec![6, 0])),
        Just(Access::Config(MSIX + 3, vec![0x80])),
        (register(), 1..=8usize).prop_map(|(at, size)| Access::ReadConfig(at, size)),
        (address(), data()).prop_map(|(at, data)| Access::Write(at, data)),
        (address(), 1..=8usize).prop_map(|(at, size)| Access::Read(at, size)),
        (0..VECTORS).prop_map(Access::Raise),
    ]
}

/// Bytes of configuration space that are the guest's own.
fn is_guests(at: usize) -> bool {
    (0x08..0x28).contains(&at)
        || (0x30..0x3e).contains(&at)
        || (MSI..MSI + 24).contains(&at)
        || (MSIX..MSIX + 12).contains(&at)
}

proptest! {
    /// Whatever a guest does, it ends; and what is not its business it does not touch.
    #[test]
    fn no_guest_gets_further_than_its_function(accesses in prop::collection::vec(access(), 1..60)) {
        let mut rig = rig();
        for access in accesses {
            match access {
                Access::Config(at, data) => rig.function.write_config(at, &data, &mut rig.map),
                Access::ReadConfig(at, size) => {
                    rig.function.read_config(at, &mut vec![0; size]);
                }
                Access::Write(at, data) => drop(rig.function.write_memory(at, &data)),
                Access::Read(at, size) => drop(rig.function.read_memory(at, &mut vec![0; size])),
                Access::Raise(vector) => {
                    let _ = rig.host.events.lock().get(vector).map(|event| event.write(1));
                }
            }
            prop_assert_eq!(rig.read(0x00), 0x5678_1234);
        }
        for told in rig.log.take() {
            if let Told::Config(at, data) = told {
                prop_assert!(!(at..at + data.len()).any(is_guests), "{:#x} {:?}", at, data);
            }
        }
    }
}
