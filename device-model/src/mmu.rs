// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one engine translates with; it outlives sections and is used in them only.

use crate::access_counters::AccessCounters;
use crate::atomic::Atomics;
use crate::counters::Tally;
use crate::dma::Stretch;
use crate::faulty::Faulty;
use crate::log::Log;
use crate::ram::{Dma, Ram, Slice, nothing};
use crate::refusal::Refusal;
use crate::tlb::Tlb;
use crate::vram::Vram;

/// An engine's way to memory.
pub struct Mmu<'m> {
    pub memory: Ram<'m>,
    /// How it modifies a word.
    pub atomics: &'m Atomics,
    /// Which copies go wrong.
    pub faulty: &'m Faulty,
    /// Translations that have been found.
    pub tlb: Tlb<Slice<'m>>,
    /// What has been counted.
    pub tally: Tally,
    /// Where it has been how often.
    pub accesses: AccessCounters,
    /// What has been refused, to be told of behind the section: few, as each access
    /// can add one and a section is bounded.
    pub refusals: Vec<Refusal>,
}

impl<'m> Mmu<'m> {
    /// One that knows nothing yet, and can know so many pages.
    pub fn new(
        memory: &'m Dma,
        vram: &'m Vram,
        atomics: &'m Atomics,
        faulty: &'m Faulty,
        entries: u32,
    ) -> Self {
        Self {
            atomics,
            faulty,
            memory: Ram::new(memory, vram),
            tlb: Tlb::new(entries as usize, nothing()),
            tally: Tally::default(),
            accesses: AccessCounters::new(),
            refusals: Vec::new(),
        }
    }

    /// Drops what leads to memory that DMA addresses no longer lead to (`gate.rs`).
    #[inline]
    pub fn follow(&mut self, unmapped: &Log<Stretch>) {
        let Self { memory, tlb, .. } = self;
        tlb.follow(unmapped, |stretch| memory.places(*stretch));
    }
}
