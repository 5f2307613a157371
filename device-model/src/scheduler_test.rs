// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What comes late, of an epoch that is over.

use super::*;
use crate::ring::Ring;
use farfault_abi::descriptor::Descriptor;

fn binding() -> Binding {
    let ring = Ring::new(0x1000, 2, Descriptor::SIZE).unwrap_or_default();
    Binding { queue: 3, pasid: 1, ring, vector: 2 }
}

fn picked(scheduler: &Scheduler, epoch: u64) -> Box<Run> {
    assert!(scheduler.enable(binding(), epoch));
    assert!(scheduler.ring(3));
    match scheduler.pick(Term { epoch, memories: 0 }) {
        Pick::Run(run) => run,
        _ => panic!("the queue is ready"),
    }
}

/// An engine that was in a queue when the device was reset comes late: the
/// queue of that number is another by now, and in another engine's hands.
#[test]
fn what_is_of_an_older_epoch_changes_nothing() {
    let give_backs: [fn(&Scheduler, Box<Run>); 4] = [
        |scheduler, run| scheduler.requeue(run),
        |scheduler, run| scheduler.idle(run),
        |scheduler, run| assert!(scheduler.next_slice(run).is_none()),
        |scheduler, run| {
            assert!(!scheduler.halt(run));
            scheduler.posted(3, 1);
        },
    ];
    for give_back in give_backs {
        let scheduler = Scheduler::new();
        scheduler.set_bus_master(true);
        scheduler.begin_epoch(1);
        let old = picked(&scheduler, 1);
        scheduler.begin_epoch(2);
        let new = picked(&scheduler, 2);
        give_back(&scheduler, old);
        assert!(matches!(scheduler.pick(Term { epoch: 2, memories: 0 }), Pick::Nothing));
        assert!(!scheduler.disable(3), "the new engine still has it");
        scheduler.idle(new);
        assert!(scheduler.disable(3));
    }
}
