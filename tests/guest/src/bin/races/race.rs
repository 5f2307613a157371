// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One kind of change at full speed against queues at full speed.

use crate::accessor::{Accessor, Tally};
use crate::kind::{Kind, Set};
use crate::layout::QUEUES;
use crate::stage::Stage;
use farfault_client::raw::DeviceFile;
use farfault_guest_programs::random::Random;
use farfault_guest_programs::{Failure, raw_queue};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// Queues that access pages while they are changed; the last is the changer's.
const WORKERS: usize = QUEUES - 1;

/// What was done.
#[derive(Default)]
pub struct Done {
    pub changes: u64,
    /// By the queues that do not wait for changes.
    pub tally: Tally,
}

/// Does `changes` of a kind, or stops at the first finding; `progress` counts them.
pub fn run(
    kind: &Kind,
    salt: u64,
    changes: u64,
    seed: u64,
    progress: &AtomicU64,
) -> Result<Done, Failure> {
    let mut set = (kind.make)(salt)?;
    let device = raw_queue::open()?;
    let done = contend(&device, &mut set, changes, seed, progress)?;
    set.change.finish()?;
    set.counted.have_moved()?;
    Ok(done)
}

fn contend(
    device: &Arc<DeviceFile>,
    set: &mut Set,
    changes: u64,
    seed: u64,
    progress: &AtomicU64,
) -> Result<Done, Failure> {
    let (arena, ledger) = (&set.arena, set.ledger.as_ref());
    let accessor =
        |number| Accessor::new(device, number, arena, ledger, Random::new(seed, &[number as u64]));
    let random = Random::new(seed, &[QUEUES as u64]);
    let mut stage = Stage::new(arena, ledger, accessor(WORKERS)?, random)?;
    let over = AtomicBool::new(false);
    let mut done = Done::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let (over, accessor) = (&over, &accessor);
                scope.spawn(move || {
                    let result = accessor(number).and_then(|accessor| work(accessor, over));
                    over.store(true, Ordering::Relaxed);
                    result
                })
            })
            .collect();
        let mut result = Ok(());
        while result.is_ok() && done.changes < changes && !over.load(Ordering::Relaxed) {
            result = stage
                .begin()
                .and_then(|()| {
                    ledger.turn();
                    let done = set.change.step(&mut stage);
                    ledger.turn();
                    done
                })
                .and_then(|()| Ok(ledger.is_settled()?))
                .and_then(|()| stage.look())
                .and_then(|()| stage.watch());
            done.changes += 1;
            progress.fetch_add(1, Ordering::Relaxed);
        }
        over.store(true, Ordering::Relaxed);
        let at = done.changes;
        let told = move |why: Failure| Failure::from(format!("at change {at}: {why}"));
        for worker in workers {
            let ended = worker.join().map_err(|_| "a worker panicked")?;
            let mut accessor = ended.map_err(told)?;
            done.tally.add(&accessor.tally);
            if result.is_ok() {
                result = accessor.verify();
            }
        }
        result.and_then(|()| stage.probe.verify()).map_err(told)
    })?;
    Ok(done)
}

/// Accesses until it is over; gives the queue back so that it can be verified.
fn work<'a>(mut accessor: Accessor<'a>, over: &AtomicBool) -> Result<Accessor<'a>, Failure> {
    while !over.load(Ordering::Relaxed) {
        accessor.round()?;
    }
    Ok(accessor)
}
