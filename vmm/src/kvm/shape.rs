// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape of a machine on this host's KVM.

use super::{KvmError, KvmGuest};
use crate::machine::likeness;
use crate::states::Shape;
use nix::sys::utsname::uname;

impl KvmGuest {
    /// The name of its state: of what the machine is made of, and of what runs it.
    pub fn shape(&self) -> Result<String, KvmError> {
        let spec = &self.spec;
        let mut shape = Shape::new(self.image.as_deref().as_slice())?;
        shape.part(b"kvm");
        let host = uname().map_err(std::io::Error::from)?;
        shape.part(host.release().as_encoded_bytes());
        shape.part(host.version().as_encoded_bytes());
        shape.part(&likeness(spec.vcpus)?);
        shape.file(&spec.kernel)?;
        shape.initrd(&spec.initrd)?;
        shape.part(spec.cmdline.as_bytes());
        for number in [spec.memory, spec.vcpus.into(), spec.iommu.into()] {
            shape.part(&number.to_le_bytes());
        }
        let pmem = spec.pmem.iter().flat_map(|pmem| pmem.size().to_le_bytes());
        shape.part(&pmem.collect::<Vec<_>>());
        let device = serde_json::to_vec(&spec.device).map_err(std::io::Error::from)?;
        shape.part(&device);
        shape.part(self.orders.prepare.as_deref().unwrap_or_default());
        Ok(shape.name())
    }
}
