// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What time it is for the guest. Its TSCs and KVM's clock must go on from one moment: the
//! guest's kernel compares them, and does not trust the one that it finds ahead.

use super::msrs;
use crate::machine::error::MachineError;
use kvm_bindings::{kvm_clock_data, kvm_msr_entry};
use kvm_ioctls::{VcpuFd, VmFd};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How often it is asked what time it is. The host may do something else in the middle.
const TRIES: u32 = 5;

#[derive(Debug, Serialize, Deserialize)]
pub struct SavedClock {
    nanoseconds: u64,
    tscs: Vec<u64>,
}

impl SavedClock {
    /// Of a machine whose vCPUs do not run.
    pub fn of(vm: &VmFd, vcpus: &[&VcpuFd]) -> Result<SavedClock, MachineError> {
        let look = |_| {
            let begun = Instant::now();
            let clock = vm.get_clock().map_err(MachineError::kvm("tell the clock"))?;
            let tscs = vcpus.iter().map(|vcpu| tsc(vcpu)).collect::<Result<_, _>>()?;
            Ok((begun.elapsed(), SavedClock { nanoseconds: clock.clock, tscs }))
        };
        let looks: Vec<_> = (0..TRIES).map(look).collect::<Result<_, MachineError>>()?;
        let best = looks.into_iter().min_by_key(|(took, _): &(Duration, _)| *took);
        best.map(|(_, clock)| clock).ok_or(MachineError::Internal("nobody has looked at the clock"))
    }

    /// Sets the TSCs of new vCPUs; when that was. KVM has them all go on from the first.
    pub fn put_into(&self, vcpus: &[VcpuFd]) -> Result<Instant, MachineError> {
        let mut set = None;
        for (vcpu, tsc) in vcpus.iter().zip(&self.tscs) {
            let entry = kvm_msr_entry { index: msrs::TSC, data: *tsc, ..Default::default() };
            msrs::set(vcpu, &[entry])?;
            set.get_or_insert_with(Instant::now);
        }
        set.ok_or(MachineError::NotRestored("the number of TSCs"))
    }

    /// Sets the clock. For the guest no time has passed, but what has since its TSCs were set.
    pub fn start(&self, vm: &VmFd, tscs_set: Instant) -> Result<(), MachineError> {
        let since = u64::try_from(tscs_set.elapsed().as_nanos()).unwrap_or(0);
        let clock = self.nanoseconds.saturating_add(since);
        vm.set_clock(&kvm_clock_data { clock, ..Default::default() })
            .map_err(MachineError::restore("the clock"))
    }
}

fn tsc(vcpu: &VcpuFd) -> Result<u64, MachineError> {
    let found = msrs::read(vcpu, &[msrs::TSC])?;
    found.first().map(|msr| msr.data).ok_or(MachineError::KvmLacks("tell a vCPU's TSC"))
}
