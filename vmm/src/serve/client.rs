// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A client from its coming to its going: it gets a device as new, with threads of its own,
//! and nothing is left of that afterwards.

use super::below::Below;
use super::endpoint::Endpoint;
use super::traffic::Traffic;
use crate::accelerator::loops;
use farfault_device_model::{Device, DeviceConfig};
use farfault_vfio_user::{Bell, Ended, serve};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, Builder};

/// A device that waits for its client.
pub struct Client {
    pub device: Arc<Device>,
    pub traffic: Arc<Traffic>,
    endpoint: Endpoint,
    engines: u32,
}

impl Client {
    pub fn new(choices: &DeviceConfig) -> io::Result<Client> {
        let below = Arc::new(Below::new());
        let device =
            Device::new(choices.clone(), Arc::clone(&below) as _).map_err(io::Error::other)?;
        let traffic = Arc::clone(&below.traffic);
        let endpoint = Endpoint::new(Arc::clone(&device), below).map_err(io::Error::other)?;
        Ok(Client { device, traffic, endpoint, engines: choices.engines })
    }

    /// Serves it; how that ended.
    pub fn attend(mut self, socket: UnixStream, bell: &Bell) -> io::Result<Ended> {
        thread::scope(|scope| {
            // Threads end with it, on every way out.
            let _stop = Stop(&self.device);
            for (name, body) in loops(&self.device, self.engines) {
                let guarded = move || {
                    let _alarm = Alarm(bell);
                    body();
                };
                Builder::new().name(name).spawn_scoped(scope, guarded)?;
            }
            Ok(serve(socket, bell, &mut self.endpoint))
        })
    }
}

struct Stop<'d>(&'d Device);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A thread that dies ends the run; it has said why itself.
pub struct Alarm<'b>(pub &'b Bell);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.ring();
        }
    }
}
