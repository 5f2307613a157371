// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What KVM says when it cannot go on with a vCPU, and the one case in which
//! it is wrong.
//!
//! A guest cannot touch a device while an event is being delivered to it, and
//! KVM gives up on one that seems to. On AMD it believes so whenever the type
//! of a last event is set in EXITINTINFO, without regard to the valid bit;
//! QEMU's nested SVM leaves the type of an exception that the guest took by
//! itself. The first access to a device after a page fault then looks like one
//! during delivery. Nothing is lost: the event was delivered and the access
//! was not made, so the vCPU just has to go on, and the entry clears the
//! leftover.
//!
//! A guest that really does this meets the same exit for ever. There is no
//! telling it from one that rings the same doorbell after many page faults,
//! and it harms nobody but itself: it can be stopped like any other.
//!
//! Code that cannot be emulated is the guest's own fault: its kernel has run into
//! a BAR, or to where nothing is.

use super::run_page;
use kvm_bindings::{KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION};
use kvm_ioctls::VcpuFd;

/// What an internal error comes to.
pub enum Judgement {
    /// The vCPU may go on.
    GoOn,
    /// The guest's code cannot be run.
    NotRunnable,
    /// KVM failed.
    Failed(String),
}

/// Judges the internal error that a vCPU has just exited with.
pub fn judge(vcpu: &mut VcpuFd) -> Judgement {
    match run_page::internal_error(vcpu) {
        (KVM_INTERNAL_ERROR_DELIVERY_EV, _) => Judgement::GoOn,
        (KVM_INTERNAL_ERROR_EMULATION, _) => Judgement::NotRunnable,
        (kind, data) => {
            Judgement::Failed(format!("KVM cannot go on (internal error {kind}, {data:x?})"))
        }
    }
}
