// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What KVM says when it cannot go on with a vCPU, and the one case in which
//! it is wrong.
//!
//! A guest cannot touch a device while an event is being delivered to it, and
//! KVM gives up on one that seems to. On AMD it believes so whenever the type
//! of a last event is set in EXITINTINFO, without regard to the valid bit;
//! QEMU's nested SVM leaves the type of an event that it has delivered. The
//! next access to a device then looks like one during delivery. Nothing is
//! lost: the event was delivered and the access was not made, so the vCPU
//! just has to go on. A real one would fail at the same place again.
#![allow(unsafe_code)] // KVM's report is in a union that kvm-ioctls does not open.

use kvm_bindings::{KVM_EXIT_INTERNAL_ERROR, KVM_INTERNAL_ERROR_DELIVERY_EV};
use kvm_ioctls::VcpuFd;

/// How often a vCPU may fail at one place before it is believed.
const PATIENCE: u32 = 8;

/// Where a vCPU has failed last, and how often in a row.
#[derive(Default)]
pub struct Failures {
    rip: u64,
    count: u32,
}

impl Failures {
    /// Judges the internal error that a vCPU has just exited with: nothing if
    /// it may go on, a reason if not.
    pub fn judge(&mut self, vcpu: &mut VcpuFd) -> Option<String> {
        let (kind, data) = report(vcpu);
        let rip = vcpu.get_regs().map_or(0, |regs| regs.rip);
        let spurious = kind == KVM_INTERNAL_ERROR_DELIVERY_EV && self.may_go_on(rip);
        (!spurious).then(|| format!("KVM cannot go on (internal error {kind}, {data:x?})"))
    }

    fn may_go_on(&mut self, rip: u64) -> bool {
        self.count = if rip == self.rip { self.count + 1 } else { 1 };
        self.rip = rip;
        self.count <= PATIENCE
    }
}

/// Kind of the error, and the words that go with it.
fn report(vcpu: &mut VcpuFd) -> (u32, Vec<u64>) {
    let run = vcpu.get_kvm_run();
    if run.exit_reason != KVM_EXIT_INTERNAL_ERROR {
        return (0, Vec::new());
    }
    // SAFETY: with this exit reason KVM has filled in this member, and any
    // bits are a valid value of its integers.
    let error = unsafe { run.__bindgen_anon_1.internal };
    let count = (error.ndata as usize).min(error.data.len());
    (error.suberror, error.data.iter().take(count).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vcpu_that_fails_at_one_place_again_and_again_is_believed() {
        let mut failures = Failures::default();
        assert!((0..PATIENCE).all(|_| failures.may_go_on(0x1000)));
        assert!(!failures.may_go_on(0x1000));
        assert!(failures.may_go_on(0x2000));
        assert!(failures.may_go_on(0x1000));
    }
}
