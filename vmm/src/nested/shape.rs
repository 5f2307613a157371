// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape of a first guest and of the guest in it.

use super::FirstGuest;
use super::words::Inherited;
use crate::states::Shape;
use std::io;

impl FirstGuest {
    /// The name of its state.
    pub fn shape(&self) -> io::Result<String> {
        let mut shape = Shape::new(&[&self.image, &self.qemu.path])?;
        let inherited = Inherited { disk: Some("disk".into()), ..Inherited::default() };
        for word in self.qemu.words().into_iter().chain(self.arguments(&inherited)) {
            shape.part(word.as_encoded_bytes());
        }
        shape.part(self.machine.as_bytes());
        shape.part(self.orders.prepare.as_deref().unwrap_or_default());
        for file in [&self.qemu.path, &self.kernel, &self.initrd, &self.inner.kernel] {
            shape.file(file)?;
        }
        shape.initrd(&self.inner.initrd)?;
        Ok(shape.name())
    }
}
