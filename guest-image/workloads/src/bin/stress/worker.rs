// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A queue with its buffers, and rounds of commands on them.

use crate::buffer::{Buffer, Kind};
use crate::pace::Pace;
use crate::step::Step;
use crate::stir::stir;
use crate::totals::Totals;
use farfault_client::{Device, Node, Queue};
use farfault_workloads::Failure;
use farfault_workloads::random::Random;
use std::sync::atomic::Ordering;

/// Small, so that the ring wraps and fills.
const ENTRIES: u32 = 2;

pub struct Worker {
    queue: Queue,
    buffers: Vec<Buffer>,
    random: Random,
    disturbs: bool,
    forks: bool,
}

impl Worker {
    pub fn new(
        device: &Device,
        seed: u64,
        path: [u64; 2],
        disturbs: bool,
        forks: bool,
    ) -> Result<Self, Failure> {
        let mut random = Random::new(seed, &path);
        let buffers: Result<_, _> =
            Kind::ALL.into_iter().map(|kind| Buffer::new(kind, &mut random)).collect();
        Ok(Self { queue: device.queue(ENTRIES)?, buffers: buffers?, random, disturbs, forks })
    }

    /// Does rounds until `commands` were carried out, or another worker failed.
    pub fn run(&mut self, commands: u64, pace: &Pace, totals: &Totals<'_>) -> Result<(), Failure> {
        let mut done = 0;
        while done < commands && !pace.is_over() {
            let (count, bytes) = match self.random.below(8) {
                0 => self.chase()?,
                _ => self.round(commands - done, totals)?,
            };
            done += count;
            totals.commands.fetch_add(count, Ordering::Relaxed);
            totals.bytes.fetch_add(bytes, Ordering::Relaxed);
            pace.round_done();
            for buffer in &mut self.buffers {
                if self.disturbs && self.random.below(4) == 0 {
                    buffer.disturb(&mut self.random)?;
                }
                if self.random.below(4) == 0 {
                    buffer.scribble(&mut self.random);
                }
            }
        }
        self.buffers.iter().try_for_each(Buffer::verify)
    }

    /// Several commands under way at once, on pairs of buffers.
    fn round(&mut self, most: u64, totals: &Totals<'_>) -> Result<(u64, u64), Failure> {
        let random = &mut self.random;
        random.shuffle(&mut self.buffers);
        let pairs =
            self.buffers.chunks_exact_mut(2).take(usize::try_from(most).unwrap_or(usize::MAX));
        let mut steps = Vec::new();
        let mut places = Vec::new();
        for pair in pairs {
            if let [left, right] = pair {
                for buffer in [&*left, &*right] {
                    places.push((buffer.memory.place(), buffer.kind));
                }
                let step = Step::choose(left, right, random);
                steps.push((step, left, right));
            }
        }
        let count = steps.len() as u64;
        let bytes = steps.iter().map(|(step, ..)| step.bytes()).sum();

        let (disturbs, forks) = (self.disturbs, self.forks);
        let mut stirred = Ok(false);
        let wrong = self.queue.scope(|scope| {
            let (mut checks, mut margins) = (Vec::new(), Vec::new());
            for (step, left, right) in steps {
                let (check, rest) = step.submit(scope, left, right)?;
                checks.push((check, step));
                margins.push(rest);
            }
            if disturbs {
                stirred = stir(&places, &mut margins, random, forks);
            }
            let mut wrong = None;
            for (check, step) in checks {
                if !check()? {
                    wrong.get_or_insert(step);
                }
            }
            Ok(wrong)
        })?;
        totals.stirrings.fetch_add(stirred?.into(), Ordering::Relaxed);
        match wrong {
            None => Ok((count, bytes)),
            Some(step) => Err(format!("device and CPU disagree on {step:?}").into()),
        }
    }

    /// A list in memory that was allocated a moment ago.
    fn chase(&mut self) -> Result<(u64, u64), Failure> {
        let random = &mut self.random;
        let count = 1 + random.below(200);
        let nodes: Vec<Box<Node<'_>>> =
            (0..count).map(|_| Box::new(Node::new(random.bits()))).collect();
        let mut order: Vec<_> = nodes.iter().map(Box::as_ref).collect();
        random.shuffle(&mut order);
        for pair in order.windows(2) {
            pair[0].link(pair[1]);
        }
        let most = 1 + random.below(count);
        let expected = order[..most].iter().fold(0_u64, |sum, node| sum.wrapping_add(node.value()));
        let chased = self.queue.chase(order[0], most as u64)?;
        if (chased.sum, chased.nodes) == (expected, most as u64) {
            Ok((1, 16 * most as u64))
        } else {
            Err(format!("a chase of {most} nodes gave {chased:?}, not the sum {expected}").into())
        }
    }
}
