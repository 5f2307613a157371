// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A virtio console with named ports on virtio-pci: how bytes get into and
//! out of the guest without the cost of a serial line.

pub mod console;
mod control;
mod port;
mod queues;
mod saved;
pub mod transport;

#[cfg(test)]
mod test_driver;
