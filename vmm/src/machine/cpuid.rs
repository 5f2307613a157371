// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a vCPU says about itself: what KVM supports here, less what this
//! machine does not pass on, with each vCPU's own place in the topology.
//!
//! The host's own CPUID is never asked: KVM's answer differs from it, and in
//! a nested guest the host's would be wrong.

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

const VERSION: u32 = 1;
const EXTENDED_FEATURES: u32 = 7;
const TOPOLOGY: [u32; 2] = [0xb, 0x1f];
const EXTENDED_VERSION: u32 = 0x8000_0001;
const ADDRESS_SIZES: u32 = 0x8000_0008;
const AMD_TOPOLOGY: u32 = 0x8000_001e;
const AMD_EXTENDED_TOPOLOGY: u32 = 0x8000_0026;

const VERSION_ECX_VMX: u32 = 1 << 5;
const VERSION_ECX_TSC_DEADLINE: u32 = 1 << 24;
const VERSION_ECX_HYPERVISOR: u32 = 1 << 31;
const VERSION_EDX_HTT: u32 = 1 << 28;
const FEATURES_EDX_ARCH_CAPABILITIES: u32 = 1 << 29;
const EXTENDED_ECX_SVM: u32 = 1 << 2;

const LEVEL_THREAD: u32 = 1;
const LEVEL_CORE: u32 = 2;

/// The CPUID of vCPU `id` of `count`, from what KVM supports.
pub fn filter(supported: &CpuId, id: u8, count: u8) -> Vec<kvm_cpuid_entry2> {
    let mut entries = supported.as_slice().to_vec();
    let amd = is_amd(&entries);
    entries.retain(|entry| {
        !TOPOLOGY.contains(&entry.function) && entry.function != AMD_EXTENDED_TOPOLOGY
    });
    for entry in &mut entries {
        identify(entry, id, count);
        hide(entry, amd);
    }
    for function in TOPOLOGY {
        if supported.as_slice().iter().any(|entry| entry.function == function) {
            entries.extend(topology(function, id, count));
        }
    }
    entries
}

/// Physical address bits of a vCPU.
pub fn address_bits(supported: &CpuId) -> u32 {
    let entry = supported.as_slice().iter().find(|entry| entry.function == ADDRESS_SIZES);
    entry.map_or(36, |entry| entry.eax & 0xff)
}

fn is_amd(entries: &[kvm_cpuid_entry2]) -> bool {
    let vendor = entries.iter().find(|entry| entry.function == 0);
    let starts_like = |name: &[u8; 4]| vendor.is_some_and(|e| e.ebx == u32::from_le_bytes(*name));
    starts_like(b"Auth") || starts_like(b"Hygo")
}

/// APIC IDs are the numbers of the vCPUs; each is a core of the one package.
fn identify(entry: &mut kvm_cpuid_entry2, id: u8, count: u8) {
    let (id, count) = (u32::from(id), u32::from(count));
    match entry.function {
        VERSION => {
            entry.ebx = entry.ebx & 0x0000_ffff | count << 16 | id << 24;
            entry.ecx |= VERSION_ECX_HYPERVISOR | VERSION_ECX_TSC_DEADLINE;
            if count > 1 {
                entry.edx |= VERSION_EDX_HTT;
            } else {
                entry.edx &= !VERSION_EDX_HTT;
            }
        }
        // Deterministic cache parameters: cores in the package.
        4 if entry.eax & 0x1f != 0 => entry.eax = entry.eax & 0x03ff_ffff | (count - 1) << 26,
        ADDRESS_SIZES => entry.ecx = entry.ecx & !0xf0ff | (count - 1) | core_bits(count) << 12,
        AMD_TOPOLOGY => (entry.eax, entry.ebx, entry.ecx) = (id, id & 0xff, 0),
        _ => {}
    }
}

/// Removes what KVM supports and this machine does not offer.
fn hide(entry: &mut kvm_cpuid_entry2, amd: bool) {
    match entry.function {
        // KVM emulates Intel's MSR on AMD too, where it only misleads.
        EXTENDED_FEATURES if entry.index == 0 && amd => {
            entry.edx &= !FEATURES_EDX_ARCH_CAPABILITIES;
        }
        // No guests in the guest.
        EXTENDED_VERSION => entry.ecx &= !EXTENDED_ECX_SVM,
        VERSION => entry.ecx &= !VERSION_ECX_VMX,
        _ => {}
    }
}

fn topology(function: u32, id: u8, count: u8) -> [kvm_cpuid_entry2; 3] {
    let level = |index: u32, shift: u32, cpus: u32, kind: u32| kvm_cpuid_entry2 {
        function,
        index,
        flags: kvm_bindings::KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: cpus,
        ecx: kind << 8 | index,
        edx: id.into(),
        ..Default::default()
    };
    let count = u32::from(count);
    [level(0, 0, 1, LEVEL_THREAD), level(1, core_bits(count), count, LEVEL_CORE), level(2, 0, 0, 0)]
}

/// Bits of an APIC ID that number the cores.
fn core_bits(count: u32) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, index: u32, registers: [u32; 4]) -> kvm_cpuid_entry2 {
        let [eax, ebx, ecx, edx] = registers;
        kvm_cpuid_entry2 { function, index, eax, ebx, ecx, edx, ..Default::default() }
    }

    /// Everything set, as an AMD processor with all extensions would have it.
    fn supported() -> CpuId {
        let mut entries = vec![entry(0, 0, [0x20, u32::from_le_bytes(*b"Auth"), 0, 0])];
        for (function, indices) in [
            (1, 1),
            (4, 2),
            (7, 2),
            (0xb, 1),
            (0xd, 10),
            (0x8000_0001, 1),
            (0x8000_0008, 1),
            (0x8000_001e, 1),
            (0x8000_0026, 2),
        ] {
            entries.extend((0..indices).map(|index| entry(function, index, [u32::MAX; 4])));
        }
        CpuId::from_entries(&entries).unwrap()
    }

    fn find(entries: &[kvm_cpuid_entry2], function: u32, index: u32) -> kvm_cpuid_entry2 {
        let mut found = entries.iter().filter(|e| (e.function, e.index) == (function, index));
        let entry = *found.next().unwrap();
        assert!(found.next().is_none(), "leaf {function:#x} {index} is there twice");
        entry
    }

    #[test]
    fn every_vcpu_has_its_own_apic_id_everywhere() {
        for id in [0, 2] {
            let entries = filter(&supported(), id, 3);
            assert_eq!(find(&entries, 1, 0).ebx >> 24, u32::from(id));
            assert_eq!(find(&entries, 1, 0).ebx >> 16 & 0xff, 3);
            assert_eq!(find(&entries, 0xb, 0).edx, u32::from(id));
            assert_eq!(find(&entries, 0xb, 1).edx, u32::from(id));
            assert_eq!(find(&entries, 0x8000_001e, 0).eax, u32::from(id));
        }
    }

    #[test]
    fn the_topology_is_one_package_of_cores() {
        let entries = filter(&supported(), 0, 3);
        let (threads, cores) = (find(&entries, 0xb, 0), find(&entries, 0xb, 1));
        assert_eq!((threads.eax, threads.ebx, threads.ecx), (0, 1, 0x100));
        assert_eq!((cores.eax, cores.ebx, cores.ecx), (2, 3, 0x201));
        assert_eq!(find(&entries, 0xb, 2).ecx >> 8, 0);
        assert_eq!(find(&entries, 0x8000_0008, 0).ecx & 0xf0ff, 2 << 12 | 2);
        assert!(!entries.iter().any(|entry| entry.function == 0x8000_0026));
        assert!(!entries.iter().any(|entry| entry.function == 0x1f), "was not supported");
    }

    #[test]
    fn no_guests_in_the_guest_and_no_intel_msr_on_amd() {
        let entries = filter(&supported(), 0, 1);
        assert_eq!(find(&entries, 0x8000_0001, 0).ecx, !EXTENDED_ECX_SVM);
        assert_eq!(find(&entries, 1, 0).ecx, !VERSION_ECX_VMX);
        assert_eq!(find(&entries, 7, 0).edx, !(1 << 29));
        assert_eq!(find(&entries, 1, 0).edx & VERSION_EDX_HTT, 0);
    }

    #[test]
    fn xsave_is_left_as_kvm_has_it() {
        let entries = filter(&supported(), 0, 1);
        assert_eq!(entries.iter().filter(|entry| entry.function == 0xd).count(), 10);
    }

    #[test]
    fn address_bits_come_from_their_leaf() {
        assert_eq!(address_bits(&supported()), 255);
        assert_eq!(address_bits(&CpuId::new(0).unwrap()), 36);
    }
}
