// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Each kind of memory: read by the device, written by it, first touched by it.

use farfault_client::{Device, Queue};
use farfault_guest_programs::Failure;
use farfault_guest_programs::counters::growth;
use farfault_guest_programs::ktap::{Outcome, Skip, expect, expect_equal};
use farfault_guest_programs::memory::{
    self, Access, HUGE_PAGE, PAGE, Region, Sharing, unnamed_file,
};
use farfault_guest_programs::random::Random;
use std::fs::File;

/// Bytes of a buffer under test.
const LENGTH: usize = 16 * PAGE;

pub fn queue() -> Result<Queue, Failure> {
    Ok(Device::open()?.queue(16)?)
}

/// Has the device read `memory`, which must be full of `value`.
pub fn is_read(queue: &mut Queue, memory: &[u8], what: &str, value: u8) -> Outcome {
    let mut copy = vec![!value; memory.len()];
    queue.copy(memory, &mut copy)?;
    expect(what, copy.iter().all(|&byte| byte == value))
}

/// Has the device read what the CPU wrote, write what the CPU reads, and be the
/// first to touch the second half.
fn exercise(buffer: &mut [u8]) -> Outcome {
    let mut queue = queue()?;
    let half = buffer.len() / 2;
    let (first, second) = buffer.split_at_mut(half);
    let mut read = vec![0xff; half];

    queue.copy(second, &mut read)?;
    expect("untouched memory reads as zeros", read.iter().all(|&byte| byte == 0))?;
    queue.fill(second, 0xa5)?;
    expect("the CPU sees what the device wrote", second.iter().all(|&byte| byte == 0xa5))?;

    Random::new(1, &[]).fill(first);
    queue.copy(first, &mut read)?;
    expect("the device sees what the CPU wrote", *first == *read)?;
    queue.copy(first, second)?;
    expect("the device copies within it", *first == *second)?;

    first[half / 2] ^= 1;
    let difference = queue.compare(first, second)?;
    expect_equal("first difference after the CPU wrote again", &difference, &Some(half / 2))
}

pub fn small_pages() -> Outcome {
    exercise(&mut Region::small_pages(LENGTH)?)
}

pub fn huge_pages() -> Outcome {
    memory::allow_huge_pages()?;
    let mut region = Region::huge_pages(2 * HUGE_PAGE)?;
    let leaves = growth("leaves_2m", || exercise(&mut region))?;
    if leaves == 0 && !has_huge_pages(region.address())? {
        return Err(Box::new(Skip("the system gave no huge pages".to_owned())));
    }
    expect("the device maps huge pages as such", leaves > 0)
}

/// Whether the mapping at `address` has any, from `/proc/self/smaps`.
fn has_huge_pages(address: u64) -> Result<bool, Failure> {
    let smaps = std::fs::read_to_string("/proc/self/smaps")?;
    let head = format!("{address:x}-");
    let mapping = smaps.lines().skip_while(|line| !line.starts_with(&head));
    let line = mapping.into_iter().find(|line| line.starts_with("AnonHugePages:"));
    Ok(line.is_some_and(|line| line.split_whitespace().nth(1) != Some("0")))
}

pub fn shared_anonymous() -> Outcome {
    exercise(&mut Region::shared_anonymous(LENGTH)?)
}

fn mapped(file: &File, sharing: Sharing) -> Outcome {
    exercise(&mut Region::of_file(file, LENGTH, sharing, Access::Write)?)
}

pub fn memory_file() -> Outcome {
    mapped(&memory::memory_file(LENGTH as u64)?, Sharing::Shared)
}

pub fn private_file() -> Outcome {
    mapped(&unnamed_file(LENGTH as u64)?, Sharing::Private)
}

pub fn shared_file() -> Outcome {
    mapped(&unnamed_file(LENGTH as u64)?, Sharing::Shared)
}

pub fn stack() -> Outcome {
    let mut array = [0; LENGTH];
    exercise(&mut array)
}

pub fn heap() -> Outcome {
    let mut large: Vec<u8> = vec![0; LENGTH];
    exercise(&mut large)?;
    // A small one shares its page with other objects.
    let mut small: Box<[u8]> = Box::new([0; 100]);
    exercise(&mut small)
}

static TEXT: [u8; 4096] = [b'x'; 4096];

pub fn constants_of_the_program() -> Outcome {
    let mut queue = queue()?;
    expect_equal("words of a constant", &queue.word_count(&TEXT)?, &1)?;
    let mut read = [0; 4096];
    queue.copy(&TEXT, &mut read)?;
    expect("a constant is read right", read == TEXT)
}
