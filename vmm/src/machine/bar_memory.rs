// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory of devices of the host, at the addresses where the guest puts their BARs.
#![allow(unsafe_code)] // KVM is told addresses of this process; it cannot check them.

use super::memory::FIRST_FREE_SLOT;
use crate::mapping::Mapping;
use crate::pci::MemoryRegistry;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;

/// KVM's slots behind those of the guest's own memory.
pub struct BarMemory {
    vm: Arc<VmFd>,
    slots: Mutex<Vec<Option<Shown>>>,
}

struct Shown {
    memory: Arc<Mapping>,
    address: u64,
}

impl BarMemory {
    /// Nothing is shown yet.
    pub fn new(vm: Arc<VmFd>) -> Arc<BarMemory> {
        Arc::new(BarMemory { vm, slots: Mutex::default() })
    }

    fn set(&self, index: usize, address: u64, start: u64, size: u64) -> io::Result<()> {
        let region = kvm_userspace_memory_region {
            slot: FIRST_FREE_SLOT + index as u32,
            flags: 0,
            guest_phys_addr: address,
            memory_size: size,
            userspace_addr: start,
        };
        // SAFETY: the range is empty, which takes the slot away, or a whole mapping that is kept
        // here as long as the slot is in use, and that this process does not touch.
        unsafe { self.vm.set_user_memory_region(region) }.map_err(io::Error::from)
    }
}

impl MemoryRegistry for BarMemory {
    fn show(&self, memory: &Arc<Mapping>, address: u64) -> io::Result<()> {
        let mut slots = self.slots.lock();
        let free = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        self.set(free, address, memory.address(), memory.size())?;
        let shown = Some(Shown { memory: Arc::clone(memory), address });
        match slots.get_mut(free) {
            Some(slot) => *slot = shown,
            None => slots.push(shown),
        }
        Ok(())
    }

    fn hide(&self, memory: &Arc<Mapping>, address: u64) -> io::Result<()> {
        let mut slots = self.slots.lock();
        let is_it = |shown: &Shown| shown.address == address && Arc::ptr_eq(&shown.memory, memory);
        let Some(index) = slots.iter().position(|slot| slot.as_ref().is_some_and(is_it)) else {
            return Ok(());
        };
        self.set(index, 0, 0, 0)?;
        slots[index] = None;
        Ok(())
    }
}

impl Drop for BarMemory {
    fn drop(&mut self) {
        let slots = std::mem::take(&mut *self.slots.lock());
        for (index, shown) in slots.into_iter().enumerate() {
            let Some(shown) = shown else { continue };
            if self.set(index, 0, 0, 0).is_err() {
                // Then the guest sees this memory for ever.
                std::mem::forget(shown);
            }
        }
    }
}
