// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What KVM says beside an internal error, which kvm-ioctls passes over.

// KVM's answer is a union; its fields are read by the kind of exit.
#![allow(unsafe_code)]

use kvm_bindings::{KVM_EXIT_INTERNAL_ERROR, KVM_INTERNAL_ERROR_DELIVERY_EV};
use kvm_ioctls::VcpuFd;

/// Whether the vCPU's last exit says that the guest touched a device while an
/// event was being delivered to it, and can simply be entered again.
///
/// KVM looks for such an event in the type bits of EXITINTINFO, without the
/// valid bit (`svm_check_emulate_instruction`). QEMU's TCG leaves the type of
/// the last exception there that its guest took by itself. So in nested mode
/// every MMIO access may end so that comes straight after a page fault: the
/// next entry clears the leftover, and the access is made again.
pub fn is_event_delivery(vcpu: &mut VcpuFd) -> bool {
    let run = vcpu.get_kvm_run();
    if run.exit_reason != KVM_EXIT_INTERNAL_ERROR {
        return false;
    }
    // SAFETY: KVM fills `internal` when the exit reason is an internal error, and any bytes are
    // a valid value of its integers.
    let suberror = unsafe { run.__bindgen_anon_1.internal.suberror };
    suberror == KVM_INTERNAL_ERROR_DELIVERY_EV
}
