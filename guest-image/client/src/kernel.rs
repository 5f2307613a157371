// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the library needs from the kernel, as a trait, so that all that is
//! built on it can be tested with a device made of a thread.
#![allow(unsafe_code, reason = "declares what the caller of QUEUE_CREATE must promise")]

use farfault_abi::uapi::{
    Advise, Info, Migrate, Prefetch, QueueCreate, Register, Unregister, Wait,
};
use nix::Result;

/// An open `/dev/farfault0`: the calls of `farfault_abi::uapi`, one to one, which
/// fail as the driver answers.
pub trait Kernel: Send + Sync {
    /// `IOC_INFO`.
    fn info(&self) -> Result<Info>;

    /// `IOC_QUEUE_CREATE`.
    ///
    /// # Safety
    /// The ring's memory stays mapped, and is used as a ring and nothing else,
    /// until [`queue_destroy`](Self::queue_destroy) has returned success; and every
    /// descriptor that is put into it keeps the promise of
    /// [`submit_raw`](crate::Scope::submit_raw), its completion record included.
    unsafe fn queue_create(&self, request: &mut QueueCreate) -> Result<()>;

    /// `IOC_QUEUE_DESTROY`; success means that the device has let go.
    fn queue_destroy(&self, queue: u32) -> Result<()>;

    /// `IOC_WAIT`; a signal ends it with EINTR.
    fn wait(&self, request: &Wait) -> Result<()>;

    /// `IOC_PREFETCH`.
    fn prefetch(&self, request: &Prefetch) -> Result<()>;

    /// `IOC_SNAPSHOT` of as many pages from `address` as `pages` has room for.
    fn snapshot(&self, address: u64, pages: &mut [u8]) -> Result<()>;

    /// `IOC_ADVISE`.
    fn advise(&self, request: &Advise) -> Result<()>;

    /// `IOC_MIGRATE`.
    fn migrate(&self, request: &mut Migrate) -> Result<()>;

    /// `IOC_REGISTER`.
    fn register(&self, request: &mut Register) -> Result<()>;

    /// `IOC_UNREGISTER`; success means that the device has let go.
    fn unregister(&self, request: &Unregister) -> Result<()>;

    /// Maps the doorbell page that creating a queue named.
    fn doorbell(&self, offset: u64) -> Result<Box<dyn Doorbell>>;
}

/// A doorbell page.
pub trait Doorbell: Send {
    /// Tells the device to look at the ring's tail, which has been stored before.
    fn ring(&self);
}
