// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device, opened.

use crate::error::Error;
use crate::kernel::Kernel;
use crate::loan::address_of;
use crate::plain::Plain;
use crate::queue::Queue;
use crate::sys::DeviceFile;
use farfault_abi::uapi::{Info, PREFETCH_WRITE, Prefetch, UAPI_VERSION};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open device: one context, which mirrors this process's address space.
#[derive(Clone)]
pub struct Device {
    kernel: Arc<dyn Kernel>,
    info: Info,
}

impl Device {
    /// Where the driver puts the first device.
    pub const PATH: &str = "/dev/farfault0";

    /// Opens the first device.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Version`].
    pub fn open() -> Result<Self, Error> {
        Self::open_path(Path::new(Self::PATH))
    }

    /// Opens the device at `path`.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Version`].
    pub fn open_path(path: &Path) -> Result<Self, Error> {
        let file = DeviceFile::open(path)
            .map_err(|source| Error::Open { path: PathBuf::from(path), source })?;
        Self::with(Arc::new(file))
    }

    pub(crate) fn with(kernel: Arc<dyn Kernel>) -> Result<Self, Error> {
        let info = kernel.info().map_err(|source| Error::System { call: "ioctl INFO", source })?;
        if info.version != UAPI_VERSION {
            return Err(Error::Version { found: info.version });
        }
        Ok(Self { kernel, info })
    }

    /// What the driver says about device and context.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// A queue whose ring has `entries`, a power of two from 2 to 65536: as many
    /// commands can be under way at once.
    ///
    /// # Errors
    /// [`Error::Entries`]; [`Error::System`] when the device has no queue left.
    pub fn queue(&self, entries: u32) -> Result<Queue, Error> {
        Queue::new(Arc::clone(&self.kernel), entries, 0)
    }

    /// Makes a buffer present for the device to read, so that it need not fault.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn prefetch<T: Plain>(&self, buffer: &[T]) -> Result<(), Error> {
        self.make_present(address_of(buffer), size_of_val(buffer), 0)
    }

    /// Makes a buffer present for the device to write, so that it need not fault.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn prefetch_mut<T: Plain>(&self, buffer: &mut [T]) -> Result<(), Error> {
        self.make_present(address_of(buffer), size_of_val(buffer), PREFETCH_WRITE)
    }

    fn make_present(&self, address: u64, length: usize, flags: u32) -> Result<(), Error> {
        let request = Prefetch { address, length: length as u64, flags, reserved: 0 };
        let result = self.kernel.prefetch(&request);
        result.map_err(|source| Error::System { call: "ioctl PREFETCH", source })
    }
}
