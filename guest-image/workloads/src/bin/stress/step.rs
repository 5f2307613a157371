// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One random command: chosen, done by the CPU on the shadows, handed to the
//! device, and compared.

use crate::buffer::Buffer;
use crate::margins::Margins;
use farfault_client::{Error, Scope};
use farfault_workloads::random::Random;
use farfault_workloads::{reference, views};
use std::ops::Range;
use std::sync::atomic::Ordering;

/// Waits for the command, and says whether device and CPU agree.
pub type Check<'scope> = Box<dyn FnOnce() -> Result<bool, Error> + 'scope>;

/// A command on two buffers.
#[derive(Debug)]
pub struct Step {
    command: Command,
    from: Range<usize>,
    to: Range<usize>,
    value: u64,
}

#[derive(Clone, Copy, Debug)]
enum Command {
    Nop,
    Fence,
    Copy,
    Fill,
    Compare,
    FetchAdd,
    WordCount,
    Histogram,
    Saxpy,
}

const COMMANDS: [Command; 12] = {
    use Command::*;
    [Nop, Fence, Copy, Copy, Copy, Fill, Fill, Compare, FetchAdd, WordCount, Histogram, Saxpy]
};

impl Step {
    /// Chooses a command on parts of `left` and `right`.
    pub fn choose(left: &mut Buffer, right: &mut Buffer, random: &mut Random) -> Self {
        let command = COMMANDS[random.below(COMMANDS.len())];
        let unit = match command {
            Command::FetchAdd | Command::Fence | Command::Histogram => 8,
            Command::Saxpy => 4,
            _ => 1,
        };
        let longest = left.shadow.len().min(right.shadow.len());
        let from = random.range(longest, unit);
        let length = match command {
            Command::FetchAdd | Command::Fence => 8,
            Command::Histogram => 256 * 8,
            _ => from.len(),
        };
        let places = (right.shadow.len() - length) / unit + 1;
        let start = random.below(places) * unit;
        let step = Self { command, from, to: start..start + length, value: random.bits() };
        if matches!(command, Command::Saxpy) {
            left.put_floats(step.from.clone(), random);
            right.put_floats(step.to.clone(), random);
        } else if matches!(command, Command::Compare) && random.below(2) == 0 {
            // Else the first byte would tell them apart nearly always.
            right.shadow[step.to.clone()].copy_from_slice(&left.shadow[step.from.clone()]);
            right.memory[step.to.clone()].copy_from_slice(&left.shadow[step.from.clone()]);
        }
        step
    }

    /// Bytes the device will read and write.
    pub fn bytes(&self) -> u64 {
        let (from, to) = (self.from.len() as u64, self.to.len() as u64);
        match self.command {
            Command::Nop => 0,
            Command::Fence | Command::FetchAdd | Command::Fill => to,
            Command::WordCount => from,
            _ => from + to,
        }
    }

    /// Submits the command; the shadow of `right` is what the CPU makes of it.
    /// What the device does not get of `right` is given back at once.
    pub fn submit<'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        left: &'scope Buffer,
        right: &'scope mut Buffer,
    ) -> Result<(Check<'scope>, Margins<'scope>), Error> {
        let source = &left.memory[self.from.clone()];
        let model = &left.shadow[self.from.clone()];
        let (target, expected, margins) = Margins::around(right, &self.to);
        let value = self.value;
        let check: Check<'scope> = match self.command {
            Command::Nop => {
                let pending = scope.nop()?;
                Box::new(move || pending.wait().map(|()| true))
            }
            Command::Fence => {
                expected.copy_from_slice(&value.to_le_bytes());
                let word = &views::atomics(target)[0];
                let pending = scope.fence(word, value)?;
                Box::new(move || {
                    pending.wait()?;
                    Ok(word.load(Ordering::Acquire) == value)
                })
            }
            Command::Copy => {
                expected.copy_from_slice(model);
                let pending = scope.copy(source, target)?;
                Box::new(move || Ok(*pending.wait()? == *expected))
            }
            Command::Fill => {
                reference::fill(expected, u64::from_le_bytes([value as u8; 8]));
                let pending = scope.fill(target, value as u8)?;
                Box::new(move || Ok(*pending.wait()? == *expected))
            }
            Command::Compare => {
                let difference = reference::compare(model, expected);
                let pending = scope.compare(source, target)?;
                Box::new(move || Ok(pending.wait()? == difference))
            }
            Command::FetchAdd => {
                let word = &views::atomics(target)[0];
                let old = views::words(expected)[0];
                let sum = old.wrapping_add(value);
                expected.copy_from_slice(&sum.to_le_bytes());
                let pending = scope.fetch_add(word, value)?;
                Box::new(move || Ok(pending.wait()? == old && word.load(Ordering::Acquire) == sum))
            }
            Command::WordCount => {
                let words = reference::word_count(model);
                let pending = scope.word_count(source)?;
                Box::new(move || Ok(pending.wait()? == words))
            }
            Command::Histogram => {
                let counts = reference::histogram(model);
                views::words_mut(expected).copy_from_slice(&counts);
                let Some(target) = views::words_mut(target).first_chunk_mut() else {
                    unreachable!("chosen to be 256 words long")
                };
                let pending = scope.histogram(source, target)?;
                Box::new(move || Ok(*pending.wait()? == counts))
            }
            Command::Saxpy => {
                let factor = (value % 100) as f32 * 0.01;
                let expected = views::floats_mut(expected);
                reference::saxpy(factor, views::floats(model), expected);
                let target = views::floats_mut(target);
                let pending = scope.saxpy(factor, views::floats(source), target)?;
                Box::new(move || Ok(*pending.wait()? == *expected))
            }
        };
        Ok((check, margins))
    }
}
