// SPDX-License-Identifier: Apache-2.0 OR MIT
//! BAR 0 and the doorbells, in ways that a driver would and would not use them.

use crate::world::{World, command};
use farfault_abi::pci::{BAR_REGISTERS_SIZE, QUEUES, VECTORS};
use farfault_abi::regs::*;
use farfault_device_model::{ConfigError, Device, DeviceConfig, Step};
use farfault_reference_driver::{Driver, FakeMachine};

fn read(device: &Device, offset: u64, size: usize) -> u64 {
    let mut bytes = [0; 8];
    device.read(offset, &mut bytes[..size]);
    u64::from_le_bytes(bytes)
}

fn device() -> std::sync::Arc<Device> {
    let config = DeviceConfig { engines: 3, lookahead: 77, ..DeviceConfig::default() };
    Device::new(config, FakeMachine::new(&[(0, 1 << 20)])).expect("valid")
}

#[test]
fn configurations_that_cannot_be() {
    let make = |engines, lookahead, tlb| {
        DeviceConfig { engines, lookahead, tlb, ..DeviceConfig::default() }.validate()
    };
    assert_eq!(make(0, 1, 128), Err(ConfigError::Engines(0)));
    assert_eq!(make(17, 1, 128), Err(ConfigError::Engines(17)));
    assert_eq!(make(1, 0, 128), Err(ConfigError::Lookahead(0)));
    assert_eq!(make(1, 4097, 128), Err(ConfigError::Lookahead(4097)));
    for tlb in [0, 64, 129, 1 << 17] {
        assert_eq!(make(1, 1, tlb), Err(ConfigError::Tlb(tlb)));
    }
    assert_eq!(make(1, 1, 128), Ok(()));
    assert_eq!(make(16, 4096, 1 << 16), Ok(()));
}

#[test]
fn what_the_device_says_of_itself() {
    let device = device();
    for (register, size, value) in [
        (REG_ID, 4, u64::from(ID_MAGIC)),
        (REG_VERSION, 4, VERSION.into()),
        (REG_FEATURES, 8, 15),
        (REG_QUEUES, 4, QUEUES.into()),
        (REG_ENGINES, 4, 3),
        (REG_VA_BITS, 4, 48),
        (REG_PASID_BITS, 4, 16),
        (REG_LOOKAHEAD, 4, 77),
        (REG_VECTORS, 4, VECTORS.into()),
        (REG_CTRL, 4, 0),
        (REG_STATUS, 4, 0),
        (REG_ERRORS, 4, 0),
    ] {
        assert_eq!(read(&device, register.into(), size), value, "{register:#x}");
    }
    for counter in 0..COUNTERS {
        assert_eq!(read(&device, (REG_COUNTERS + 8 * counter).into(), 8), 0);
    }
    assert_eq!(read(&device, REG_ERRORS.into(), 4), 0);
}

#[test]
fn wide_registers_in_halves() {
    let device = device();
    for register in [REG_CONTEXT_BASE, REG_COMMAND_BASE, REG_FAULT_BASE].map(u64::from) {
        device.write(register, &0x1111_2222_3333_4444u64.to_le_bytes());
        device.write(register + 4, &0x5555_6666u32.to_le_bytes());
        assert_eq!(read(&device, register, 8), 0x5555_6666_3333_4444);
        device.write(register, &0x7777_8888u32.to_le_bytes());
        assert_eq!(read(&device, register, 4), 0x7777_8888);
        assert_eq!(read(&device, register + 4, 4), 0x5555_6666);
    }
    assert_eq!(read(&device, REG_ERRORS.into(), 4), 0);
}

/// Every offset, and widths that no CPU has: right ones answer, all others read
/// ones and are counted; none panics.
#[test]
fn accesses_of_every_shape() {
    let device = device();
    let wide = |o: u64| {
        [8, 0x28, 0x50, 0x60, 0x70].contains(&o)
            || (0x100..0x100 + 8 * u64::from(COUNTERS)).contains(&o)
    };
    let narrow: Vec<u64> =
        vec![0, 4, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x40, 0x44, 0x48, 0x58, 0x68, 0x78];
    let edges = [u64::MAX, u64::MAX - 7, 1 << 32, (1 << 32) + 0x40, BAR_REGISTERS_SIZE * 2];
    let mut bad = 0;
    for offset in (0..BAR_REGISTERS_SIZE + 16).chain(edges) {
        for size in [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 64] {
            let right = match size {
                4 => offset % 4 == 0 && (wide(offset & !7) || narrow.contains(&offset)),
                8 => offset % 8 == 0 && wide(offset),
                _ => false,
            };
            let mut bytes = vec![0x5a; size];
            device.read(offset, &mut bytes);
            bad += u64::from(!right);
            assert!(right || bytes.iter().all(|byte| *byte == 0xff), "{offset:#x} {size}");
        }
    }
    assert_eq!(device.counters().bad_accesses, bad);
    for offset in (0..BAR_REGISTERS_SIZE + 16).chain(edges) {
        for size in [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 64] {
            device.write(offset, &vec![0xa5; size]);
        }
    }
    assert_eq!(read(&device, REG_ERRORS.into(), 4) as u32 & ERR_ACCESS, ERR_ACCESS);
    assert_eq!(read(&device, REG_ID.into(), 4), u64::from(ID_MAGIC));
}

#[test]
fn base_registers_keep_their_values_while_enabled() {
    let driver = Driver::start(DeviceConfig::default());
    for register in [REG_CONTEXT_BASE, REG_COMMAND_BASE, REG_FAULT_BASE] {
        let before = read(&driver.device, register.into(), 8);
        driver.write64(register, 0);
        assert_eq!(driver.read32(REG_ERRORS), ERR_ACCESS);
        driver.write32(REG_ERRORS, ERR_ACCESS);
        assert_eq!(driver.read32(REG_ERRORS), 0);
        assert_eq!(read(&driver.device, register.into(), 8), before);
    }
    for register in [REG_ID, REG_STATUS, REG_QUEUES] {
        let before = driver.read32(register);
        driver.write32(register, !before);
        assert_eq!(driver.read32(register), before);
        assert_eq!(driver.read32(REG_ERRORS), ERR_ACCESS);
        driver.write32(REG_ERRORS, u32::MAX);
    }
}

#[test]
fn bases_that_cannot_be_used() {
    let end = 64u64 << 20;
    for (register, wide, value) in [
        (REG_CONTEXT_BASE, true, 8),
        (REG_CONTEXT_BASE, true, end),
        (REG_CONTEXT_BASE, true, end - 4096 + 4096 * 7),
        (REG_CONTEXT_BASE, true, !4095),
        (REG_CONTEXT_ENTRIES, false, 0),
        (REG_CONTEXT_ENTRIES, false, 65537),
        (REG_CONTEXT_ENTRIES, false, u32::MAX.into()),
        (REG_COMMAND_BASE, true, 64),
        (REG_COMMAND_BASE, true, end - 128),
        (REG_COMMAND_BASE, true, !127),
        (REG_COMMAND_ENTRIES, false, 0),
        (REG_COMMAND_ENTRIES, false, 1),
        (REG_COMMAND_ENTRIES, false, 48),
        (REG_COMMAND_ENTRIES, false, 1 << 17),
        (REG_FAULT_BASE, true, 127),
        (REG_FAULT_BASE, true, 1 << 47),
        (REG_FAULT_ENTRIES, false, 3),
        (REG_FAULT_ENTRIES, false, 1 << 31),
    ] {
        let driver = Driver::start(DeviceConfig::default());
        driver.write32(REG_CTRL, 0);
        let width = if wide { 8 } else { 4 };
        driver.device.write(register.into(), &value.to_le_bytes()[..width]);
        driver.write32(REG_CTRL, CTRL_ENABLE);
        assert_eq!(driver.read32(REG_ERRORS), ERR_BASE, "{register:#x} {value:#x}");
        assert_eq!((driver.read32(REG_STATUS), driver.read32(REG_CTRL)), (0, 0));
    }
}

#[test]
fn doorbells_of_queues_that_are_not_there() {
    let mut world = World::new(DeviceConfig::default());
    let before = world.counters();
    for page in [1, 63, 65, 127, 1 << 16, 1 << 32, u64::MAX] {
        world.driver.device.doorbell(page);
        assert_eq!(world.driver.read32(REG_ERRORS), ERR_DOORBELL, "{page}");
        world.driver.write32(REG_ERRORS, ERR_DOORBELL);
    }
    world.driver.device.doorbell(0); // rung for nothing
    world.driver.device.doorbell(64);
    assert_eq!(world.driver.read32(REG_ERRORS), 0);
    let after = world.counters();
    assert_eq!(after.doorbells - before.doorbells, 8);
    assert_eq!(after.doorbells_wild - before.doorbells_wild, 7);
    world.run(command(farfault_abi::descriptor::OP_NOP, 0));
}

#[test]
fn a_disabled_device_does_nothing() {
    let device = device();
    device.set_bus_master(true);
    (0..70).for_each(|page| device.doorbell(page));
    assert_eq!(device.step_commands(), Step::Idle);
    let attachment = device.attach();
    assert_eq!(device.engine(&attachment).step(), Step::Idle);
    assert_eq!(read(&device, REG_ERRORS.into(), 4), u64::from(ERR_DOORBELL));
}
