// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Look-ahead: which pages a command will miss next.
//!
//! Many lanes of an accelerator run into the pages of a range at about the same
//! time. Here one command stands for the lanes: when it misses a page it goes
//! on to look at the pages after it, in the order in which it would come to them.

use crate::exec::Stream;
use crate::queue::{Binding, Halt, Run};
use crate::section::{Operand, PageFault, Section};
use crate::walk::PAGE;
use farfault_abi::fault::{
    FAULT_LAST, FAULT_LOOKAHEAD, FAULT_PAGE_REQUEST, FAULT_QUEUE_HALTED, Fault, REASON_NOT_PRESENT,
    REASON_PERMISSION,
};

/// Walks the pages ahead of one or two streams side by side, and collects the
/// records of a group.
pub struct Lookahead {
    binding: Binding,
    group: u32,
    lanes: [Option<Lane>; 2],
    demanded: u64,
    most: usize,
    records: Vec<Fault>,
}

/// One stream, page by page.
struct Lane {
    /// Where the stream was when it stopped.
    from: u64,
    /// Where the next page is entered.
    next: u64,
    stream: Stream,
    pages: u32,
}

impl Lookahead {
    /// At the page that `fault` of the queue demands, to look at `pages` of each of
    /// its streams and to ask for as many.
    pub fn new(run: &mut Run, fault: &PageFault, pages: u32) -> Self {
        let lanes = run.streams().map(|stream| {
            let stream = stream?;
            Some(Lane { from: stream.next, next: stream.next, stream, pages })
        });
        let (group, demanded, most) = (run.next_group(), fault.address / PAGE, pages as usize);
        let mut ahead =
            Self { binding: run.binding, group, lanes, demanded, most, records: Vec::new() };
        ahead.ask(fault, 0);
        ahead
    }

    pub fn group(&self) -> u32 {
        self.group
    }

    pub fn into_records(self) -> Vec<Fault> {
        self.records
    }

    /// Adds a record that asks for a page, and tells how far its stream goes on.
    fn ask(&mut self, fault: &PageFault, flags: u32) {
        self.records.push(Fault {
            address: fault.address,
            pasid: self.binding.pasid,
            queue: self.binding.queue,
            kind: FAULT_PAGE_REQUEST as u8,
            access: fault.access.bits() as u8,
            group: self.group,
            flags: flags as u8,
            reason: fault.reason as u8,
            level: fault.level as u8,
            extent: self.extent(fault),
            ..Fault::default()
        });
    }

    /// How many pages behind that of `fault` its stream goes on to.
    fn extent(&self, fault: &PageFault) -> u32 {
        let page = fault.address / PAGE;
        let of = |lane: &&Lane| {
            let pages = lane.from / PAGE..=lane.stream.end.saturating_sub(1) / PAGE;
            lane.stream.access == fault.access && pages.contains(&page)
        };
        let Some(lane) = self.lanes.iter().flatten().find(of) else { return 0 };
        let last = lane.stream.end.saturating_sub(1) / PAGE;
        last.saturating_sub(page).try_into().unwrap_or(u32::MAX)
    }

    /// The page after all those that it gave before, while there is one.
    fn next(&mut self) -> Option<Operand> {
        let lane = self
            .lanes
            .iter_mut()
            .flatten()
            .filter(|lane| lane.pages > 0 && lane.next < lane.stream.end)
            .min_by_key(|lane| lane.next - lane.from)?;
        let page = lane.next & !(PAGE - 1);
        lane.pages -= 1;
        lane.next = page.saturating_add(PAGE);
        Some(Operand { address: page, access: lane.stream.access })
    }

    /// Looks on until the section is spent; true if there is more to look at.
    pub fn look(&mut self, section: &mut Section<'_, '_>) -> bool {
        while self.records.len() < self.most {
            if section.is_spent() {
                return true;
            }
            let Some(operand) = self.next() else { return false };
            if operand.address / PAGE == self.demanded {
                continue;
            }
            let missing = section.probe(operand);
            let wanted = |f: &PageFault| matches!(f.reason, REASON_NOT_PRESENT | REASON_PERMISSION);
            if let Some(fault) = missing.filter(wanted) {
                self.ask(&fault, FAULT_LOOKAHEAD);
            }
        }
        false
    }
}

/// The record that says that a queue was halted; alone, so the last of its kind.
pub fn halted(binding: &Binding, halt: &Halt) -> Fault {
    Fault {
        address: halt.address,
        pasid: binding.pasid,
        queue: binding.queue,
        kind: FAULT_QUEUE_HALTED as u8,
        flags: FAULT_LAST as u8,
        reason: halt.reason as u8,
        ..Fault::default()
    }
}
