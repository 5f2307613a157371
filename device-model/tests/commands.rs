// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every command on memory that the device has never seen.

use farfault_abi::descriptor::{Descriptor, OP_COPY, STATUS_OK};
use farfault_device_model::Config;
use farfault_reference_driver::{Driver, PAGE, serve, settle};

#[test]
fn copy_through_faults() {
    let mut driver = Driver::start(Config::default());
    driver.create_space(1);
    let queue = driver.create_queue(0, 1, 0x10000, 16);
    let bytes = 300 * PAGE;
    driver.allocate(1, 0x100_0000, bytes, PAGE);
    driver.allocate(1, 0x200_0000, bytes, PAGE);
    driver.allocate(1, 0x30000, PAGE, PAGE);
    let data: Vec<u8> = (0..bytes).map(|i| (i * 7 / 3) as u8).collect();
    driver.write(1, 0x100_0000, &data);
    let device = driver.device.clone();
    let attachment = device.attach();
    let mut engines = [device.engine(&attachment), device.engine(&attachment)];
    settle(&mut driver, &mut engines, &mut serve);
    driver.submit(
        &queue,
        Descriptor {
            opcode: OP_COPY as u8,
            source: 0x100_0000,
            destination: 0x200_0000,
            length: bytes,
            completion: 0x30000,
            fence: 77,
            ..Descriptor::default()
        },
    );
    settle(&mut driver, &mut engines, &mut serve);
    let done = driver.completion(1, 0x30000);
    println!("{:?}", driver.device.counters());
    assert_eq!((done.fence, done.status, done.done), (77, STATUS_OK, bytes));
    assert_eq!(driver.read(1, 0x200_0000, bytes), data);
}
