// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `saxpy`: the device computes y += a * x on two ordinary vectors, and the CPU
//! checks it bit for bit.

use farfault_client::Device;
use farfault_workloads::options::within;
use farfault_workloads::program::{Program, Summary};
use farfault_workloads::{Failure, reference};
use std::process::ExitCode;

const PROGRAM: Program = Program {
    name: "saxpy",
    usage: "[ELEMENTS]",
    about: "Has the device add a multiple of one vector of floats to another (default 1000000).",
};

fn main() -> ExitCode {
    PROGRAM.run(
        |options| {
            let elements = options.operand("ELEMENTS")?.unwrap_or(1_000_000);
            within("ELEMENTS", elements, 0..=1 << 30)
        },
        work,
    )
}

fn work(elements: usize) -> Result<Summary, Failure> {
    const FACTOR: f32 = 0.3;
    let x: Vec<f32> = (0..elements).map(|i| (i % 1009) as f32 * 0.1).collect();
    let mut y: Vec<f32> = (0..elements).map(|i| (i % 2003) as f32 * -0.7).collect();
    let mut expected = y.clone();
    reference::saxpy(FACTOR, &x, &mut expected);

    Device::open()?.queue(16)?.saxpy(FACTOR, &x, &mut y)?;

    let same = |(y, expected): (&f32, &f32)| y.to_bits() == expected.to_bits();
    let verified = y.iter().zip(&expected).all(same);
    Ok(Summary::new(verified).with("elements", elements).with("bytes", elements * 12))
}
