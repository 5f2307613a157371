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
#![allow(unsafe_code)] // KVM's report is in a union that kvm-ioctls does not open.

use kvm_bindings::{KVM_EXIT_INTERNAL_ERROR, KVM_INTERNAL_ERROR_DELIVERY_EV};
use kvm_ioctls::VcpuFd;

/// Judges the internal error that a vCPU has just exited with: nothing if it
/// may go on, a reason if not.
pub fn judge(vcpu: &mut VcpuFd) -> Option<String> {
    let (kind, data) = report(vcpu);
    let spurious = kind == KVM_INTERNAL_ERROR_DELIVERY_EV;
    (!spurious).then(|| format!("KVM cannot go on (internal error {kind}, {data:x?})"))
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
