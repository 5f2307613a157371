// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Models of the protocols that rest on memory ordering, for loom to try in
//! every interleaving. They drive the code that ships (`Space`, `Tlb`, `publish`,
//! `overflow`, `Scheduler`, `Gate`) with the least that can stand for the rest.
//!
//! Each model is also run with bugs put in on purpose, which must be found: a
//! model that finds nothing shows nothing.
//!
//!     RUSTFLAGS="--cfg loom" cargo test -p farfault-device-model --lib models

/// Tests that seeded bugs are found, each in the way that is named.
macro_rules! finds {
    ($($name:ident: $model:expr, $how:literal;)*) => {
        $(
            #[test]
            #[should_panic(expected = $how)]
            fn $name() {
                $model;
            }
        )*
    };
}

use crate::ram::Place;
use crate::tlb::Leads;

mod fault_queue;
mod iommu;
mod scheduler;
mod space;

/// The number of a frame.
impl Leads for usize {
    fn place(&self) -> Place {
        Place { start: (*self as u64) << 12, bytes: 4096 }
    }
}

/// Tries all interleavings with at most `preemptions` forced switches.
/// (The counted pointer to a model is std's: loom's own aborts when it is dropped after a finding.)
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
