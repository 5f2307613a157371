// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device, opened.

use crate::error::Error;
use crate::kernel::Kernel;
use crate::loan::address_of;
use crate::page::{Advice, Memory, Page};
use crate::plain::Plain;
use crate::queue::Queue;
use crate::registered::{Registered, RegisteredMut};
use crate::sys::{DeviceFile, PAGE};
use farfault_abi::uapi::{Advise, Info, Migrate, PREFETCH_WRITE, Prefetch, UAPI_VERSION};
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
    pub fn open() -> Result<Self, Error> {
        Self::open_path(Path::new(Self::PATH))
    }

    /// Opens the device at `path`.
    pub fn open_path(path: &Path) -> Result<Self, Error> {
        let file = DeviceFile::open(path)
            .map_err(|source| Error::Open { path: PathBuf::from(path), source })?;
        Self::with(Arc::new(file))
    }

    pub(crate) fn with(kernel: Arc<dyn Kernel>) -> Result<Self, Error> {
        let info = kernel.info().map_err(Error::system("ioctl INFO"))?;
        if info.version != UAPI_VERSION {
            return Err(Error::Version { found: info.version });
        }
        Ok(Self { kernel, info })
    }

    /// What the driver says about device and context.
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
    pub fn prefetch<T: Plain>(&self, buffer: &[T]) -> Result<(), Error> {
        self.make_present(address_of(buffer), size_of_val(buffer), 0)
    }

    /// Makes a buffer present for the device to write, so that it need not fault.
    pub fn prefetch_mut<T: Plain>(&self, buffer: &mut [T]) -> Result<(), Error> {
        self.make_present(address_of(buffer), size_of_val(buffer), PREFETCH_WRITE)
    }

    /// How the CPU maps the pages that a buffer lies in, each in turn. Faults nothing in.
    pub fn snapshot<T: Plain>(&self, buffer: &[T]) -> Result<Vec<Page>, Error> {
        let (start, length) = whole_pages(buffer);
        let mut bytes = vec![0; (length / PAGE) as usize];
        self.kernel.snapshot(start, &mut bytes).map_err(Error::system("ioctl SNAPSHOT"))?;
        Ok(bytes.into_iter().map(Page).collect())
    }

    /// Says what the device will do with the pages that a buffer lies in. What
    /// cannot be had is no error; contents stay as they are.
    pub fn advise<T: Plain>(&self, buffer: &[T], advice: Advice) -> Result<(), Error> {
        let (address, length) = whole_pages(buffer);
        let request = Advise { address, length, advice: advice as u32, reserved: 0 };
        self.kernel.advise(&request).map_err(Error::system("ioctl ADVISE"))
    }

    /// Pins a buffer for the device to read, as long as what this gives lives.
    ///
    /// # Errors
    /// [`Error::System`]: there is nothing in it, its pages cannot be had or
    /// pinned, or they are more than `RLIMIT_MEMLOCK` allows.
    pub fn register<'a, T: Plain>(&self, buffer: &'a [T]) -> Result<Registered<'a, T>, Error> {
        Registered::new(Arc::clone(&self.kernel), buffer)
    }

    /// Pins a buffer for the device to read and write.
    pub fn register_mut<'a, T: Plain>(
        &self,
        buffer: &'a mut [T],
    ) -> Result<RegisteredMut<'a, T>, Error> {
        RegisteredMut::new(Arc::clone(&self.kernel), buffer)
    }

    /// Moves the pages that a buffer lies in to another kind of memory, as far as they can be
    /// moved, and returns how many were. Its contents stay as they are.
    ///
    /// # Errors
    /// [`Error::System`]: the device has no memory, or does not copy; or the pages are of a
    /// kind that stays where it is.
    pub fn migrate<T: Plain>(&self, buffer: &[T], target: Memory) -> Result<u64, Error> {
        let (address, length) = whole_pages(buffer);
        let target = target as u32;
        let mut request = Migrate { address, length, target, reserved: 0, moved: 0 };
        self.kernel.migrate(&mut request).map_err(Error::system("ioctl MIGRATE"))?;
        Ok(request.moved)
    }

    fn make_present(&self, address: u64, length: usize, flags: u32) -> Result<(), Error> {
        let request = Prefetch { address, length: length as u64, flags, reserved: 0 };
        self.kernel.prefetch(&request).map_err(Error::system("ioctl PREFETCH"))
    }
}

/// Start and length of the pages that `buffer` lies in.
fn whole_pages<T: Plain>(buffer: &[T]) -> (u64, u64) {
    let (address, length) = (address_of(buffer), size_of_val(buffer) as u64);
    let start = address & !(PAGE - 1);
    // A buffer does not wrap; an empty one lies in no page.
    let end = if length == 0 { start } else { (address + length).next_multiple_of(PAGE) };
    (start, end - start)
}
