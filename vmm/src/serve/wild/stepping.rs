// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device between two messages.

use super::act::Act;
use super::guest::Guest;
use crate::serve::endpoint::Endpoint;
use farfault_device_model::{Device, Step};
use farfault_vfio_user::{DmaMap, Errno, IrqInfo, RegionInfo, Served, SetIrqs, Span};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::vec::IntoIter;

/// Steps of the device behind a message.
const STEPS: usize = 64;

/// The device, which does some work behind each message.
pub struct Stepping<'w> {
    pub endpoint: Endpoint,
    pub device: &'w Device,
    pub guest: Guest<'w>,
    pub acts: RefCell<IntoIter<Act>>,
}

impl Stepping<'_> {
    fn step(&self) {
        let attachment = self.device.attach();
        let mut engine = self.device.engine(&attachment);
        for _ in 0..STEPS {
            let steps = [self.device.step_commands(), engine.step()];
            if !steps.contains(&Step::Worked) {
                break;
            }
        }
    }
}

impl Served for Stepping<'_> {
    fn admits(&self) -> Result<(), Errno> {
        self.endpoint.admits()
    }

    fn region(&self, index: u32) -> RegionInfo {
        self.endpoint.region(index)
    }

    fn irqs(&self, index: u32) -> IrqInfo {
        self.endpoint.irqs(index)
    }

    fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) {
        self.endpoint.read(region, offset, data);
    }

    fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        self.endpoint.write(region, offset, data);
    }

    fn map(&mut self, map: &DmaMap, file: Option<OwnedFd>) -> Result<(), Errno> {
        self.endpoint.map(map, file)
    }

    fn unmap(&mut self, span: Span) -> Result<(), Errno> {
        self.endpoint.unmap(span)
    }

    fn set_irqs(&mut self, set: &SetIrqs<'_>, events: Vec<OwnedFd>) -> Result<(), Errno> {
        self.endpoint.set_irqs(set, events)
    }

    fn reset(&mut self) {
        self.endpoint.reset();
    }

    /// The message is done: the guest goes on to its next.
    fn goes_on(&self) -> bool {
        self.step();
        let mut acts = self.acts.borrow_mut();
        while acts.as_slice().first().is_some_and(|act| self.guest.act(self.device, act)) {
            acts.next();
            self.step();
        }
        acts.next();
        self.endpoint.goes_on()
    }
}
