// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the BARs of a function answer; what an MMIO access is looked up in.

use super::bar::{Bar, BarMove};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where BARs that are not decoded are: nowhere. Not a possible BAR address.
const NOWHERE: u64 = u64::MAX;

/// The BARs of a function.
pub struct DecodedBars(Vec<DecodedBar>);

struct DecodedBar {
    bar: Arc<Bar>,
    address: AtomicU64,
}

impl DecodedBars {
    /// None of them answers yet.
    pub fn new(bars: &[Arc<Bar>]) -> DecodedBars {
        let nowhere =
            |bar: &Arc<Bar>| DecodedBar { bar: Arc::clone(bar), address: AtomicU64::new(NOWHERE) };
        DecodedBars(bars.iter().map(nowhere).collect())
    }

    /// The BAR at `address`, and how far in that is.
    pub fn find(&self, address: u64) -> Option<(&Bar, u64)> {
        self.0.iter().find_map(|DecodedBar { bar, address: base }| {
            let base = base.load(Ordering::Acquire);
            let offset = address.checked_sub(base)?;
            (base != NOWHERE && offset < bar.size).then_some((bar.as_ref(), offset))
        })
    }

    /// They answer where `place` says, which is told where each was; what has moved.
    pub fn follow(&self, place: impl Fn(&Bar, Option<u64>) -> Option<u64>) -> Vec<BarMove> {
        self.0.iter().filter_map(|decoded| decoded.follow(&place)).collect()
    }
}

impl DecodedBar {
    fn follow(&self, place: impl Fn(&Bar, Option<u64>) -> Option<u64>) -> Option<BarMove> {
        let from = Some(self.address.load(Ordering::Acquire)).filter(|from| *from != NOWHERE);
        let to = place(&self.bar, from);
        self.address.store(to.unwrap_or(NOWHERE), Ordering::Release);
        (from != to).then(|| BarMove { bar: Arc::clone(&self.bar), from, to })
    }
}
