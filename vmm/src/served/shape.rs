// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape of a machine on QEMU.

use super::words::Inherited;
use super::{Emulator, Served, ServedError};
use crate::machine::likeness;
use crate::states::Shape;
use nix::sys::utsname::uname;
use std::io;

impl Served {
    /// The name of its state: of what the machine is made of, and of what runs it.
    pub fn shape(&self) -> Result<String, ServedError> {
        let whole: Vec<_> =
            self.image.as_deref().into_iter().chain([self.qemu.path.as_path()]).collect();
        let mut shape = Shape::new(&whole)?;
        shape.part(b"qemu");
        for word in self.qemu.words().into_iter().chain(self.arguments(&Inherited::default())) {
            shape.part(word.as_encoded_bytes());
        }
        if self.emulator == Emulator::Kvm {
            let host = uname().map_err(io::Error::from)?;
            shape.part(host.release().as_encoded_bytes());
            shape.part(&likeness(self.spec.vcpus)?);
        }
        shape.part(self.orders.prepare.as_deref().unwrap_or_default());
        for file in [&self.qemu.path, &self.spec.kernel] {
            shape.file(file)?;
        }
        shape.initrd(&self.spec.initrd)?;
        Ok(shape.name())
    }
}
