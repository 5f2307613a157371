// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The interrupt controllers that KVM keeps for all vCPUs of a machine, as a value. (There is
//! no PIT.)

use crate::machine::error::MachineError;
use kvm_bindings::{
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_irqchip,
};
use kvm_ioctls::VmFd;
use serde::{Deserialize, Serialize};

const CONTROLLERS: [u32; 3] = [KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC];

#[derive(Debug, Serialize, Deserialize)]
pub struct SavedChips(Vec<kvm_irqchip>);

impl SavedChips {
    /// Those of a machine whose vCPUs do not run.
    pub fn of(vm: &VmFd) -> Result<SavedChips, MachineError> {
        let controller = |chip_id| {
            let mut chip = kvm_irqchip { chip_id, ..Default::default() };
            let told = vm.get_irqchip(&mut chip);
            told.map(|()| chip).map_err(MachineError::kvm("tell the interrupt controllers' state"))
        };
        CONTROLLERS.map(controller).into_iter().collect::<Result<_, _>>().map(SavedChips)
    }

    /// Makes those of a machine, whose vCPUs are what they were, what these were. What is
    /// pending in the I/O APIC goes to the vCPUs anew.
    pub fn put_into(&self, vm: &VmFd) -> Result<(), MachineError> {
        self.0.iter().try_for_each(|chip| {
            vm.set_irqchip(chip).map_err(MachineError::restore("an interrupt controller"))
        })
    }
}
