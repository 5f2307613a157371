// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A first workload: the device copies a string and counts words in the copy.

use farfault_client::{Device, Error};

fn main() -> Result<(), Error> {
    let device = Device::open()?;
    let mut queue = device.queue(16)?;

    let text = "the quick brown fox jumps over the lazy dog ".repeat(10_000);
    let mut copy = vec![0; text.len()]; // ordinary memory, not even touched yet
    queue.copy(text.as_bytes(), &mut copy)?; // the device faults, the driver serves it
    assert_eq!(copy, text.as_bytes());

    let (left, right) = copy.split_at(copy.len() / 2);
    let words = queue.scope(|s| {
        let first = s.word_count(left)?; // submitting does not wait
        let second = s.word_count(right)?;
        Ok(first.wait()? + second.wait()?)
    })?;
    println!("first: words={words}");
    Ok(())
}
