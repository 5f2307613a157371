// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading and setting MSRs, which KVM does one after the other until it meets one that a vCPU
//! does not have, or that cannot be set.

use crate::machine::error::MachineError;
use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::{Kvm, VcpuFd};

pub const TSC: u32 = 0x10;
pub const TSC_DEADLINE: u32 = 0x6e0;
/// KVM takes 255 at once.
const AT_ONCE: usize = 128;

/// The MSRs that this KVM saves.
pub fn list(kvm: &Kvm) -> Result<Vec<u32>, MachineError> {
    let listed = kvm.get_msr_index_list().map_err(MachineError::kvm("list what MSRs it saves"))?;
    let mut list = listed.as_slice().to_vec();
    list.extend(mtrrs());
    list.sort_unstable();
    list.dedup();
    // Behind all that it depends on.
    list.sort_by_key(|index| *index == TSC_DEADLINE);
    Ok(list)
}

/// What a guest has said of memory types: not all kernels list these.
fn mtrrs() -> impl Iterator<Item = u32> {
    (0x200..=0x20f).chain([0x250, 0x258, 0x259]).chain(0x268..=0x26f).chain([0x2ff])
}

/// Those of a list that this vCPU has.
pub fn read(vcpu: &VcpuFd, list: &[u32]) -> Result<Vec<kvm_msr_entry>, MachineError> {
    read_by(list, |msrs| vcpu.get_msrs(msrs).map_err(MachineError::kvm("tell a vCPU's MSRs")))
}

/// Reads by `get`, which says how many it has read.
fn read_by(
    mut list: &[u32],
    mut get: impl FnMut(&mut Msrs) -> Result<usize, MachineError>,
) -> Result<Vec<kvm_msr_entry>, MachineError> {
    let mut found = Vec::new();
    while !list.is_empty() {
        let wanted = list.iter().take(AT_ONCE);
        let wanted: Vec<_> =
            wanted.map(|index| kvm_msr_entry { index: *index, ..Default::default() }).collect();
        let mut msrs = msrs(&wanted)?;
        let count = get(&mut msrs)?;
        found.extend(msrs.as_slice().iter().take(count));
        // The one at which it ended is not there.
        list = list.get(wanted.len().min(count + 1)..).unwrap_or_default();
    }
    Ok(found)
}

/// Sets those of `saved` that a new vCPU does not have so anyway: of these some cannot be set.
pub fn restore(vcpu: &VcpuFd, saved: &[kvm_msr_entry]) -> Result<(), MachineError> {
    let list: Vec<u32> = saved.iter().map(|msr| msr.index).collect();
    let new = read(vcpu, &list)?;
    let pair = |msr: &kvm_msr_entry| (msr.index, msr.data);
    let differs = |msr: &&kvm_msr_entry| !new.iter().any(|new| pair(new) == pair(msr));
    set(vcpu, &saved.iter().filter(differs).copied().collect::<Vec<_>>())
}

/// Sets MSRs, in this order.
pub fn set(vcpu: &VcpuFd, wanted: &[kvm_msr_entry]) -> Result<(), MachineError> {
    wanted.chunks(AT_ONCE).try_for_each(|wanted| {
        let set = vcpu.set_msrs(&msrs(wanted)?);
        match set.map_err(MachineError::restore("a vCPU's MSRs"))? {
            count if count == wanted.len() => Ok(()),
            _ => Err(MachineError::NotRestored("an MSR that cannot be set")),
        }
    })
}

fn msrs(entries: &[kvm_msr_entry]) -> Result<Msrs, MachineError> {
    Msrs::from_entries(entries).map_err(|_| MachineError::Internal("too many MSRs at once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vcpu_does_not_have_is_left_out_and_nothing_else() {
        for missing in [vec![], vec![0], vec![127, 128], vec![126, 299]] {
            let list: Vec<u32> = (0..300).collect();
            let found = read_by(&list, |msrs| {
                assert!(msrs.as_slice().len() <= AT_ONCE);
                let there = msrs.as_slice().iter().take_while(|msr| !missing.contains(&msr.index));
                Ok(there.count())
            });
            let found: Vec<u32> = found.unwrap().iter().map(|msr| msr.index).collect();
            let there: Vec<u32> =
                list.iter().copied().filter(|index| !missing.contains(index)).collect();
            assert_eq!(found, there);
        }
    }
}
