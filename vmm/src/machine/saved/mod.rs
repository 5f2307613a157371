// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine as a value: all of it but its memory, at a moment when it stands still and no
//! device is at work. How its parts are saved is beside each of them; here is the order.

mod chips;
mod clock;
pub mod msrs;
mod vcpu;

use super::bus::Bus;
use super::error::MachineError;
use super::exits::Exits;
use super::interrupts::Interrupts;
use crate::accelerator::{Accelerator, SavedAccelerator};
use crate::devices::panic::PanicPort;
use crate::devices::serial::{SavedSerial, SerialLine};
use crate::devices::virtio::console::{Console, SavedConsole};
use crate::iommu::SavedIommu;
use crate::pci::SavedFunction;
use chips::SavedChips;
use clock::SavedClock;
use kvm_ioctls::{VcpuFd, VmFd};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vcpu::SavedVcpu;

/// The machine. What it has counted is part of it: who goes on counts on.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedMachine {
    vcpus: Vec<SavedVcpu>,
    tsc_khz: u32,
    clock: SavedClock,
    chips: SavedChips,
    functions: Vec<SavedFunction>,
    accelerator: Option<SavedAccelerator>,
    iommu: Option<SavedIommu>,
    console: SavedConsole,
    serial: SavedSerial,
    has_panic_driver: bool,
    exits: [u64; 4],
}

/// Why there is no such value.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("the {0} is at work")]
    Busy(&'static str),
    #[error("the machine has ended")]
    Ended,
    #[error(transparent)]
    Machine(Box<MachineError>),
}

/// What of a machine has a state, but for its vCPUs and what is on the event loop.
pub struct Hardware {
    pub vm: Arc<VmFd>,
    /// The MSRs that this KVM saves.
    pub msrs: Vec<u32>,
    pub interrupts: Arc<Interrupts>,
    pub bus: Arc<Bus>,
    pub accelerator: Option<Arc<Accelerator>>,
    pub panic_port: Arc<PanicPort>,
    pub exits: Arc<Exits>,
}

impl Hardware {
    /// The machine, of which nothing runs but the accelerator's threads.
    pub fn save(
        &self,
        vcpus: &[&VcpuFd],
        serial: &SerialLine,
        console: &Console,
    ) -> Result<SavedMachine, SaveError> {
        // Devices first: what they still do ends in interrupts, and these in vCPUs.
        let saved = self.accelerator.as_ref().map(|accelerator| accelerator.save());
        let accelerator = match saved {
            Some(None) => return Err(SaveError::Busy("accelerator")),
            saved => saved.flatten(),
        };
        let functions = self.bus.pci.save().ok_or(SaveError::Busy("passed-through function"))?;
        let console = console.save().ok_or(SaveError::Busy("console"))?;
        let serial = serial.save().ok_or(SaveError::Busy("serial line"))?;
        self.interrupts.settle()?;
        let vcpu = |vcpu: &&VcpuFd| SavedVcpu::of(vcpu, &self.msrs);
        Ok(SavedMachine {
            vcpus: vcpus.iter().map(vcpu).collect::<Result<_, _>>()?,
            tsc_khz: tsc_khz(vcpus.first().copied())?,
            clock: SavedClock::of(&self.vm, vcpus)?,
            chips: SavedChips::of(&self.vm)?,
            functions,
            accelerator,
            iommu: self.bus.iommu.as_ref().map(|iommu| iommu.save()),
            console,
            serial,
            has_panic_driver: self.panic_port.was_found(),
            exits: self.exits.read(),
        })
    }

    /// Makes a machine that is new, but for its memory, what `saved` was.
    pub fn restore(
        &self,
        saved: &SavedMachine,
        vcpus: &[VcpuFd],
        serial: &SerialLine,
        console: &mut Console,
    ) -> Result<(), MachineError> {
        let fits = |fits, what| if fits { Ok(()) } else { Err(MachineError::NotRestored(what)) };
        fits(saved.vcpus.len() == vcpus.len(), "the number of vCPUs")?;
        fits(saved.tsc_khz == tsc_khz(vcpus.first())?, "the speed of the TSC")?;
        let tscs_set = saved.clock.put_into(vcpus)?;
        // Devices last: what is pending in them is raised anew, and must find its way.
        for (vcpu, saved) in vcpus.iter().zip(&saved.vcpus) {
            saved.put_into(vcpu)?;
        }
        saved.chips.put_into(&self.vm)?;
        match (&self.bus.iommu, &saved.iommu) {
            (Some(iommu), Some(saved)) => iommu.restore(saved),
            (None, None) => {}
            _ => fits(false, "the IOMMU")?,
        }
        let restored = self.bus.pci.restore(&saved.functions, &mut self.bus.map.lock());
        fits(restored, "the PCI bus")?;
        let restored = match (&self.accelerator, &saved.accelerator) {
            (Some(accelerator), Some(saved)) => accelerator.restore(saved).is_ok(),
            (None, None) => true,
            _ => false,
        };
        fits(restored, "the accelerator")?;
        fits(console.restore(&saved.console), "the console")?;
        fits(serial.restore(&saved.serial).is_ok(), "the serial line")?;
        self.panic_port.restore(saved.has_panic_driver);
        self.exits.restore(saved.exits);
        saved.clock.start(&self.vm, tscs_set)
    }
}

fn tsc_khz(vcpu: Option<&VcpuFd>) -> Result<u32, MachineError> {
    let khz = vcpu.map(|vcpu| vcpu.get_tsc_khz().map_err(MachineError::kvm("tell a TSC's speed")));
    khz.unwrap_or(Ok(0))
}
