// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What of a vCPU's run page, which it shares with KVM, kvm-ioctls does not open.
#![allow(unsafe_code)] // The page is a union, with data behind it.

use kvm_bindings::{KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_IO};
use kvm_ioctls::VcpuFd;
use parking_lot::Mutex;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The port access with which a vCPU has just left its guest, or a row of them by one
/// string instruction: the bytes of each, and all data.
pub fn port_access(vcpu: &mut VcpuFd) -> (usize, &mut [u8]) {
    let run = vcpu.get_kvm_run();
    if run.exit_reason != KVM_EXIT_IO {
        return (1, &mut []);
    }
    // SAFETY: with this exit reason KVM has filled in this member, and any
    // bits are a valid value of its integers.
    let io = unsafe { run.__bindgen_anon_1.io };
    let size = usize::from(io.size).max(1);
    let page = (&raw mut *run).cast::<u8>();
    // SAFETY: KVM has put the data into the mapping that begins with this page.
    let start = unsafe { page.add(io.data_offset as usize) };
    // SAFETY: the data is as long, and the mapping lives as long as the vCPU, which stays
    // borrowed, so that nobody else touches it.
    let data = unsafe { slice::from_raw_parts_mut(start, size * io.count as usize) };
    (size, data)
}

/// Kind of the internal error with which a vCPU has just left its guest, and
/// the words that go with it.
pub fn internal_error(vcpu: &mut VcpuFd) -> (u32, Vec<u64>) {
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

/// Withdraws what [`ImmediateExit::ask`] has asked for until now.
pub fn withdraw(vcpu: &mut VcpuFd) {
    let flag: *const AtomicU8 = (&raw mut vcpu.get_kvm_run().immediate_exit).cast();
    // SAFETY: the byte is in the run page, which is mapped as long as the vCPU, and all of this
    // process access it atomically.
    unsafe { &*flag }.store(0, Ordering::Release);
}

/// Asks KVM to leave the guest at once, also when it is entered only later.
pub struct ImmediateExit {
    flag: *const AtomicU8,
    _vcpu: Arc<Mutex<VcpuFd>>,
}

// SAFETY: the byte is in a mapping of this process that the vCPU keeps, whichever thread uses
// it, and all of them access it atomically.
unsafe impl Send for ImmediateExit {}
// SAFETY: as above.
unsafe impl Sync for ImmediateExit {}

impl ImmediateExit {
    /// For a vCPU, which may then be locked by the thread that runs it.
    pub fn new(vcpu: &Arc<Mutex<VcpuFd>>) -> ImmediateExit {
        let flag = (&raw mut vcpu.lock().get_kvm_run().immediate_exit).cast();
        ImmediateExit { flag, _vcpu: Arc::clone(vcpu) }
    }

    /// From now on.
    pub fn ask(&self) {
        // SAFETY: the byte is in the run page, which stays mapped as long as the vCPU, which we
        // keep, and all of this process access it atomically. While a vCPU runs KVM reads it.
        unsafe { &*self.flag }.store(1, Ordering::Release);
    }
}
