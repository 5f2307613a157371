// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether this host's KVM can run a stock kernel, found by trying: a software
//! KVM shows the same `/dev/kvm`, and fails only at certain instructions.

// Giving memory to a guest is unsafe by nature.
#![allow(unsafe_code)]

mod code;

use crate::machine::set_segments;
use code::{CODE, PORT, PROGRAM, RESULT};
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::error::Error;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

/// Far longer than a working KVM needs, nested in an emulator or not.
const PATIENCE: Duration = Duration::from_secs(5);
/// The probe's signal, away from those at the beginning of the range that a
/// machine uses for its vCPUs.
const KICK_OFFSET: i32 = 8;
const MEMORY: usize = 0x1_0000;
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;

#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("/dev/kvm: {}", reason(.0))]
    Open(kvm_ioctls::Error),
    #[error("KVM refuses to make a probe guest ({0}): {1}")]
    Make(&'static str, kvm_ioctls::Error),
    #[error("no memory for a probe guest: {0}")]
    Memory(String),
    #[error("KVM cannot run what a stock kernel needs: {0}")]
    Ended(String),
    #[error("KVM computes wrongly: the probe guest's result is {0:#x}, not {RESULT:#x}")]
    Result(u32),
    #[error("KVM's probe guest does not end")]
    Hang,
}

fn reason(error: &kvm_ioctls::Error) -> String {
    match error.errno() {
        nix::libc::ENOENT => "not there".to_owned(),
        nix::libc::EACCES => "permission denied (is this user in the group kvm?)".to_owned(),
        _ => error.to_string(),
    }
}

/// Runs the probe guest.
pub fn kvm() -> Result<(), Unusable> {
    let kick = SIGRTMIN() + KICK_OFFSET;
    register_signal_handler(kick, ignore).map_err(|error| Unusable::Make("signal", error))?;
    let (sender, receiver) = mpsc::channel();
    let probe = thread::spawn(move || {
        // Nobody waits for it any more only when it took far too long.
        let _ = sender.send(run());
    });
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        // Ends KVM_RUN; a thread that not even this ends is left behind.
        let _ = probe.kill(kick);
        Err(Unusable::Hang)
    })
}

extern "C" fn ignore(_: i32, _: *mut nix::libc::siginfo_t, _: *mut nix::libc::c_void) {}

fn run() -> Result<(), Unusable> {
    let kvm = Kvm::new().map_err(Unusable::Open)?;
    let vm = kvm.create_vm().map_err(|error| Unusable::Make("VM", error))?;
    let memory = memory().map_err(|error| Unusable::Memory(error.to_string()))?;
    give_memory(&vm, &memory)?;
    let mut vcpu = vm.create_vcpu(0).map_err(|error| Unusable::Make("vCPU", error))?;
    let cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(|error| Unusable::Make("CPUID", error))?;
    vcpu.set_cpuid2(&cpuid).map_err(|error| Unusable::Make("CPUID", error))?;
    enter_long_mode(&vcpu).map_err(|error| Unusable::Make("long mode", error))?;
    judge(vcpu.run())
}

/// The guest's memory, with the program in it and its page tables: the first
/// 2 MiB where they are, as one large page.
fn memory() -> Result<GuestMemoryMmap, Box<dyn Error>> {
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)])?;
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 1 << 7;
    let tables = [
        (PML4, PDPT | PRESENT_WRITABLE),
        (PDPT, PD | PRESENT_WRITABLE),
        (PD, LARGE | PRESENT_WRITABLE),
    ];
    for (address, entry) in tables {
        memory.write_obj(entry, GuestAddress(address))?;
    }
    memory.write_slice(PROGRAM, GuestAddress(CODE))?;
    Ok(memory)
}

fn give_memory(vm: &VmFd, memory: &GuestMemoryMmap) -> Result<(), Unusable> {
    let host = memory
        .get_host_address(GuestAddress(0))
        .map_err(|error| Unusable::Memory(error.to_string()))?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: MEMORY as u64,
        userspace_addr: host as u64,
    };
    // SAFETY: the mapping is MEMORY bytes long, nothing else uses it, and `run` keeps it until
    // after the VM is gone.
    unsafe { vm.set_user_memory_region(region) }.map_err(|error| Unusable::Make("memory", error))
}

fn enter_long_mode(vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    let mut sregs = vcpu.get_sregs()?;
    set_segments(&mut sregs);
    sregs.cr3 = PML4;
    sregs.cr4 = 0x620; // PAE, OSFXSR, OSXMMEXCPT
    sregs.cr0 = 0x8000_0033; // PG, NE, ET, MP, PE
    sregs.efer = 0x500; // LMA, LME
    vcpu.set_sregs(&sregs)?;
    vcpu.set_regs(&kvm_regs { rip: CODE, rflags: 2, ..Default::default() })
}

/// What the probe guest's first exit says about this KVM.
fn judge(exit: Result<VcpuExit<'_>, kvm_ioctls::Error>) -> Result<(), Unusable> {
    match exit {
        Ok(VcpuExit::IoOut(PORT, data)) => {
            let result = <[u8; 4]>::try_from(data).map(u32::from_le_bytes).unwrap_or_default();
            if result == RESULT { Ok(()) } else { Err(Unusable::Result(result)) }
        }
        Ok(VcpuExit::InternalError) => {
            Err(Unusable::Ended("an instruction could not be emulated".to_owned()))
        }
        Ok(VcpuExit::Shutdown) => Err(Unusable::Ended("an instruction faulted".to_owned())),
        Ok(VcpuExit::FailEntry(reason, _)) => {
            Err(Unusable::Ended(format!("the CPU cannot enter the guest, reason {reason:#x}")))
        }
        Ok(VcpuExit::Hlt) => Err(Unusable::Ended("an instruction went wrong".to_owned())),
        Ok(other) => Err(Unusable::Ended(format!("the probe guest ended with {other:?}"))),
        Err(error) if error.errno() == nix::libc::EINTR => Err(Unusable::Hang),
        Err(error) => Err(Unusable::Ended(io::Error::from(error).to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_result_makes_kvm_usable() {
        assert!(judge(Ok(VcpuExit::IoOut(PORT, &RESULT.to_le_bytes()))).is_ok());
        let wrong = judge(Ok(VcpuExit::IoOut(PORT, &1u32.to_le_bytes())));
        assert!(matches!(wrong, Err(Unusable::Result(1))));
        let short = judge(Ok(VcpuExit::IoOut(PORT, &[0xef])));
        assert!(matches!(short, Err(Unusable::Result(0))));
    }

    #[test]
    fn every_other_end_has_its_own_words() {
        let cases = [
            (Ok(VcpuExit::InternalError), "an instruction could not be emulated"),
            (Ok(VcpuExit::Shutdown), "an instruction faulted"),
            (Ok(VcpuExit::Hlt), "an instruction went wrong"),
            (Ok(VcpuExit::FailEntry(7, 0)), "the CPU cannot enter the guest, reason 0x7"),
            (Ok(VcpuExit::IoOut(0x80, &[0; 4])), "the probe guest ended with"),
            (Err(kvm_ioctls::Error::new(nix::libc::EINTR)), "KVM's probe guest does not end"),
            (Err(kvm_ioctls::Error::new(nix::libc::EFAULT)), "Bad address"),
        ];
        for (exit, words) in cases {
            let line = judge(exit).expect_err(words).to_string();
            assert!(line.contains(words), "{line}");
        }
    }

    #[test]
    fn what_stands_in_the_way_of_dev_kvm_is_said() {
        let line = |errno| Unusable::Open(kvm_ioctls::Error::new(errno)).to_string();
        assert_eq!(line(nix::libc::ENOENT), "/dev/kvm: not there");
        assert!(line(nix::libc::EACCES).contains("group kvm"));
    }
}
