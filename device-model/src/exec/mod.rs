// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What programs can have the device do, one file a kind.
//!
//! A command in flight keeps how far it has come, so that it goes on exactly
//! there after a fault or the end of a section. A piece is translated whole
//! before any of it is written, and progress moves with it, so nothing is ever
//! done twice: `saxpy` would show it.

mod chase;
mod compare;
mod copy;
mod count;
mod decode;
mod fill;
mod histogram;
mod operation;
mod saxpy;
mod scalar;

pub use decode::decode;
pub use operation::{Ending, Flow, Operation, Stream};
