// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pointer chase.

use super::operation::{Ending, Flow, Operation};
use crate::section::{PageFault, Section};
use crate::space::VA_END;
use farfault_abi::descriptor::STATUS_BAD_ADDRESS;

/// Follows the links of a list and sums its values.
pub struct Chase {
    node: u64,
    next: u64,
    value: u64,
    limit: u64,
    seen: u64,
    sum: u64,
}

impl Chase {
    /// At the first node; `next` and `value` are where a node has those.
    pub fn new(node: u64, next: u64, value: u64, limit: u64) -> Self {
        Self { node, next, value, limit, seen: 0, sum: 0 }
    }
}

impl Operation for Chase {
    fn run(&mut self, section: &mut Section<'_, '_>) -> Result<Flow, PageFault> {
        while self.node != 0 && self.seen < self.limit {
            if section.is_spent() {
                return Ok(Flow::More);
            }
            let (value, next) = match (field(self.node, self.value), field(self.node, self.next)) {
                (Ok(value), Ok(next)) => (value, next),
                (Err(ending), _) | (_, Err(ending)) => return Ok(Flow::Failed(ending)),
            };
            let [value, next] = section.loads([value, next])?;
            self.node = next;
            self.sum = self.sum.wrapping_add(value);
            self.seen += 1;
        }
        Ok(Flow::Done)
    }

    fn done_and_result(&self) -> (u64, u64) {
        (self.seen, self.sum)
    }
}

/// Where a node's u64 is, if all of it is in the address space.
fn field(node: u64, offset: u64) -> Result<u64, Ending> {
    let address = node.wrapping_add(offset);
    let inside = address <= VA_END - 8;
    inside.then_some(address).ok_or(Ending { status: STATUS_BAD_ADDRESS, address })
}
