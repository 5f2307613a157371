// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An idle device that goes on as another.

use crate::world::{PAGES, World, command, commands};
use farfault_abi::descriptor::*;
use farfault_abi::regs::*;
use farfault_device_model::{Device, DeviceConfig, SavedDevice};
use farfault_reference_driver::{FakeMachine, PAGE};
use std::sync::Arc;

fn registers(device: &Device) -> Vec<u64> {
    let end = REG_COUNTERS + 8 * COUNTERS;
    let read = |offset: u32| {
        let mut bytes = [0; 4];
        device.read(offset.into(), &mut bytes);
        u32::from_le_bytes(bytes).into()
    };
    // Behind the errors, which reading where nothing is adds to.
    [read(REG_ERRORS)].into_iter().chain((REG_CTRL..end).step_by(4).map(read)).collect()
}

fn new_device(machine: &Arc<FakeMachine>) -> Arc<Device> {
    let device = Device::new(DeviceConfig::default(), machine.clone()).expect("valid");
    device.set_bus_master(true);
    device
}

/// A device that has worked, its errors, and what it is when idle.
fn saved(world: &mut World) -> SavedDevice {
    assert_eq!(world.run(command(OP_COPY, PAGES * PAGE)).status, STATUS_OK);
    world.driver.device.doorbell(9);
    assert!(world.driver.device.save().is_none(), "a queue is enabled");
    world.driver.unbind(world.queue.number);
    // Saving does what the command doorbell has asked for.
    world.driver.device.save().expect("idle")
}

#[test]
fn another_device_goes_on() {
    let mut world = World::mapped(DeviceConfig::default());
    let saved = saved(&mut world);
    let device = new_device(&world.driver.machine);
    device.restore(&saved).expect("restored");
    let before = registers(&world.driver.device);
    assert!(before[0] & u64::from(ERR_DOORBELL) != 0);
    assert_eq!(registers(&device), before);
    world.driver.move_to(device);
    world.driver.rebind(&world.queue);
    commands(&world);
    world.map_all();
    world.check(command(OP_FILL, PAGES * PAGE));
    // A fault comes to where the ring's tail was.
    world.driver.unmap(1, crate::world::DESTINATION, PAGE);
    world.check(command(OP_COPY, PAGES * PAGE));
}

#[test]
fn what_is_not_in_memory_is_refused() {
    let mut world = World::mapped(DeviceConfig::default());
    let saved = saved(&mut world);
    let small = FakeMachine::new(&[(0, 1 << 20)]);
    assert!(new_device(&small).restore(&saved).is_err());
}

#[test]
fn a_device_that_waits_for_an_answer_is_not_idle() {
    let mut world = World::new(DeviceConfig::default());
    world.submit(command(OP_COPY, PAGE));
    assert!(!world.faults().is_empty());
    assert!(world.driver.device.save().is_none());
}

#[test]
fn a_disabled_device_stays_disabled() {
    let machine = FakeMachine::new(&[(0, 1 << 20)]);
    let saved = new_device(&machine).save().expect("idle");
    let other = new_device(&machine);
    other.restore(&saved).expect("restored");
    assert_eq!(registers(&other), registers(&new_device(&machine)));
}
