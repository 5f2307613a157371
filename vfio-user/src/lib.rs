// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The server's side of vfio-user, the protocol by which a VMM uses a PCI device that
//! another process has. It knows no device: [`Served`] is what one must do.
//!
//! The protocol is described in QEMU's `docs/interop/vfio-user.rst`; section names here are
//! of that page. Messages are read by pure functions ([`Request::parse`]) that are total: a
//! client can send what it likes, and gets an errno. What ends a connection is [`Ended`].

#![forbid(unsafe_code)]

mod bell;
mod connection;
mod header;
mod reply;
mod request;
mod served;
mod server;
mod version;

pub use bell::Bell;
pub use connection::{Connection, Ended, MAX_FDS, Message};
pub use header::{HEADER_SIZE, Header};
pub use request::{
    DmaMap, IrqAction, IrqData, MAX_TRANSFER, PAGE, RegionWrite, Request, SetIrqs, Span,
};
pub use rustix::io::Errno;
pub use served::{IrqInfo, RegionInfo, Served};
pub use server::serve;
