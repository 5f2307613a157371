// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rule 3 at random: whatever is written to memory, registers and doorbells,
//! nothing panics, every step ends, and after a reset the device works.

use crate::world::{DESTINATION, RECORD, SOURCE, World, command, commands, lookahead};
use farfault_abi::command::Command;
use farfault_abi::descriptor::*;
use farfault_abi::regs::REG_CTRL;
use farfault_device_model::DeviceConfig;
use farfault_reference_driver::{Driver, PAGE, with_engines};
use proptest::prelude::*;

/// Something that a guest can do.
#[derive(Clone, Debug)]
enum Deed {
    /// Writes to a structure that the device reads: which, where, what and how much.
    Scribble(u8, u64, u64, u8),
    /// Puts a command where the device will find it.
    Command(Command),
    /// Puts a descriptor where the device will find it.
    Descriptor(Descriptor),
    /// Offset, value and size.
    WriteRegister(u64, u64, u8),
    ReadRegister(u64, u8),
    Doorbell(u64),
    BusMaster(bool),
    Engine(u8),
    CommandProcessor,
}

/// Numbers of the kinds that hurt.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..70u64,
        4 => (0..64u32).prop_map(|bit| 1u64 << bit),
        2 => (0..64u32).prop_map(|bit| (1u64 << bit).wrapping_sub(1)),
        4 => (0..16384u64).prop_map(|page| page * PAGE),
        4 => (0..16384u64).prop_map(|page| page * PAGE + 15),
        3 => SOURCE..SOURCE + 9 * PAGE,
        3 => DESTINATION..DESTINATION + 9 * PAGE,
        2 => (0..64u64).prop_map(|slot| RECORD + slot * 64),
        2 => any::<u64>(),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0..9u8, 0..512u64, number(), prop::sample::select(vec![1u8, 4, 8]))
            .prop_map(|(target, offset, value, size)| Deed::Scribble(target, offset, value, size)),
        6 => (0..8u8, 0..4u8, 0..70u16, 0..300u32, [number(), number(), number()])
            .prop_map(|(opcode, flags, queue, pasid, [address, value, extra])| {
                Deed::Command(Command { opcode, flags, queue, pasid, address, value, extra })
            }),
        6 => (0..13u8, prop::array::uniform7(number()))
            .prop_map(|(opcode, words)| Deed::Descriptor(descriptor(opcode, words))),
        2 => (0..0x300u64, number(), 0..10u8)
            .prop_map(|(offset, value, size)| Deed::WriteRegister(offset, value, size)),
        1 => (number(), 0..10u8).prop_map(|(offset, size)| Deed::ReadRegister(offset, size)),
        4 => number().prop_map(Deed::Doorbell),
        1 => any::<bool>().prop_map(Deed::BusMaster),
        12 => (0..2u8).prop_map(Deed::Engine),
        8 => Just(Deed::CommandProcessor),
    ]
}

fn descriptor(opcode: u8, words: [u64; 7]) -> Descriptor {
    let [source, destination, length, operand, operand2, completion, fence] = words;
    // What is long is slow, not wrong: one step does a section of it all the same.
    let length = if u32::from(opcode) == OP_CHASE { length % 4096 } else { length };
    let plain = Descriptor { opcode, source, destination, length, ..Descriptor::default() };
    Descriptor { operand, operand2, completion, fence, ..plain }
}

fn scribble(world: &World, target: u8, offset: u64, value: u64, size: u8) {
    let driver = &world.driver;
    let space = driver.space(1);
    // Follows whatever is there now, if it leads anywhere.
    let table = |level: u32| {
        (level..3).fold(space.root, |table, _| {
            let next = driver.machine.load(table) & !0xfff;
            if next != 0 && next < 63 << 20 { next } else { table }
        })
    };
    let (base, span) = match target {
        0 => (driver.commands.base, 128),
        1 => (driver.faults.base, 128),
        2 => (space.physical(world.queue.ring.base), 128),
        3 => (driver.contexts, 4096),
        4 => (table(3), 4096),
        5 => (table(2), 4096),
        6 => (table(1), 4096),
        7 => (table(0), 4096),
        _ => (space.physical(SOURCE), 4096),
    };
    let at = base + offset * 8 % span;
    driver.machine.write(at, &value.to_le_bytes()[..usize::from(size)]);
}

fn do_deed(world: &mut World, deed: &Deed) {
    let driver = &world.driver;
    match *deed {
        Deed::Scribble(target, offset, value, size) => {
            scribble(world, target, offset, value, size);
        }
        Deed::Command(command) => {
            let ring = driver.commands;
            let tail = driver.machine.load32(ring.tail());
            driver.machine.write(ring.entry(tail), &command.to_bytes());
            driver.machine.store32(ring.tail(), tail.wrapping_add(1));
            driver.device.doorbell(64);
        }
        Deed::Descriptor(descriptor) => {
            let ring = world.queue.ring;
            let tail = driver.machine.load32(driver.space(1).physical(ring.tail()));
            driver.write(1, ring.entry(tail), &descriptor.to_bytes());
            driver.write(1, ring.tail(), &tail.wrapping_add(1).to_le_bytes());
            driver.device.doorbell(0);
        }
        Deed::WriteRegister(offset, value, size) => {
            // Not half of the deeds in a disabled device.
            if offset != u64::from(REG_CTRL) || value % 4 == 0 {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&value.to_le_bytes());
                driver.device.write(offset, &bytes[..usize::from(size)]);
            }
        }
        Deed::ReadRegister(offset, size) => {
            driver.device.read(offset, &mut [0; 16][..usize::from(size)]);
        }
        Deed::Doorbell(page) => driver.device.doorbell(page),
        Deed::BusMaster(on) => driver.device.set_bus_master(on),
        Deed::Engine(_) | Deed::CommandProcessor => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_guest_writes_does_harm(deeds in prop::collection::vec(deed(), 1..250)) {
        let mut world = World::mapped(lookahead(8));
        let device = world.driver.device.clone();
        with_engines(&device, 2, |engines| {
            for deed in &deeds {
                match deed {
                    Deed::Engine(index) => drop(engines[usize::from(*index)].step()),
                    Deed::CommandProcessor => drop(device.step_commands()),
                    deed => do_deed(&mut world, deed),
                }
            }
        });
        // Set up from scratch, it works.
        device.reset();
        let mut fresh = World::on(Driver::start(DeviceConfig::default()));
        prop_assert_eq!(fresh.run(command(OP_COPY, PAGE)).status, STATUS_OK);
        world.driver.enable();
        let root = world.driver.frames.take_zeroed(&world.driver.machine);
        world.driver.spaces.get_mut(&1).expect("space").root = root;
        world.driver.set_context(1, root | 1);
        world.driver.machine.store(world.driver.contexts + 24, 0);
        world.driver.rebind(&world.queue);
        commands(&world);
        prop_assert_eq!(world.run(command(OP_COPY, PAGE)).status, STATUS_OK);
    }
}
