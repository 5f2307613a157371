// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hot loads: a chase through memory that fits into the second-level cache.

use crate::measure::{median, timed};
use farfault_abi::descriptor::{Descriptor, OP_CHASE};
use farfault_device_model::{DeviceConfig, Step};
use farfault_reference_driver::{Driver, PAGE, with_engines};

const BASE: u64 = 1 << 32;
/// Bytes that the list lies in, and of a node.
const SPAN: u64 = 256 << 10;
const NODE: u64 = 64;
const NODES: u64 = SPAN / NODE;
/// Nodes seen in a turn.
const SEEN: u64 = 2_000_000;

/// What came out.
pub struct Row {
    name: String,
    plain: Vec<f64>,
    device: Vec<f64>,
}

impl Row {
    pub fn print(self) {
        let ratios = self.device.iter().zip(&self.plain).map(|(d, p)| d / p).collect();
        let (plain, device) = (median(self.plain), median(self.device));
        println!(
            "{:<31} plain {plain:>6.2} ns  device {device:>6.2} ns  ratio {:.2}",
            self.name,
            median(ratios)
        );
    }
}

/// Node i comes after node i - 1 and lies where nobody expects it.
fn place(i: u64) -> u64 {
    (i % NODES * 1237 + 11) % NODES
}

/// Takes `turns` turns of plain and device. The device's list
/// lies in `parts` equal parts, each in leaves of its own.
pub fn measure(name: &str, leaf: u64, parts: u64, turns: usize) -> Row {
    let config = DeviceConfig { engines: 1, lookahead: 1, ..DeviceConfig::default() };
    let mut driver = Driver::start_sized(config, 64 << 20, 64);
    driver.create_space(1);
    // Where in its leaf a node is does not depend on that: nothing changes for
    // the caches and the TLB of the machine that this runs on.
    let address = |node: u64| BASE + node / (SPAN / parts) * leaf + node;
    for va in (0..SPAN).step_by(PAGE as usize).map(address) {
        driver.allocate(1, va, PAGE, leaf);
        driver.map(1, va, 1, true);
    }
    let mut list = vec![0u64; (SPAN / 8) as usize];
    for i in 0..NODES {
        let (node, next) = (place(i) * NODE, place(i + 1) * NODE);
        driver.write(1, address(node), &address(next).to_le_bytes());
        driver.write(1, address(node) + 8, &i.to_le_bytes());
        list[(node / 8) as usize] = next / 8;
        list[(node / 8) as usize + 1] = i;
    }
    let queue = driver.create_queue(0, 1, 0x10_0000, 4);
    driver.settle();
    driver.map(1, queue.ring.base, PAGE, true);
    let mut row = Row { name: name.to_owned(), plain: vec![], device: vec![] };
    let device = driver.device.clone();
    with_engines(&device, 1, |engines| {
        for turn in 0..=turns {
            let plain = timed(|| {
                std::hint::black_box(plain(std::hint::black_box(&list)));
            });
            let source = address(place(0) * NODE);
            let opcode = OP_CHASE as u8;
            driver.submit(
                &queue,
                Descriptor { opcode, source, length: SEEN, operand2: 8, ..Descriptor::default() },
            );
            let time = timed(|| while engines[0].step() != Step::Idle {});
            if turn > 0 || turns == 1 {
                row.plain.push(plain.as_secs_f64() * 1e9 / SEEN as f64);
                row.device.push(time.as_secs_f64() * 1e9 / SEEN as f64);
            }
        }
    });
    row
}

/// The same through a host pointer.
fn plain(list: &[u64]) -> u64 {
    let (mut at, mut sum) = (place(0) * NODE / 8, 0u64);
    for _ in 0..SEEN {
        sum = sum.wrapping_add(list[at as usize + 1]);
        at = list[at as usize];
    }
    sum
}
