// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accelerator for VMMs that speak vfio-user: QEMU from 10.1 on. In a process of its own, each
//! socket is a device, and has one client after the other; [`Inside`] is one for a child of ours.

mod below;
mod client;
mod cut_off;
mod door;
mod endpoint;
mod files;
mod inside;
mod maps;
mod options;
mod seccomp;
mod socket;
mod traffic;
mod vectors;
#[cfg(any(test, fuzzing))]
mod wild;

use crate::output::tell;
use client::{Alarm, Client};
pub use door::Door;
use farfault_device_model::DeviceConfig;
use farfault_vfio_user::{Bell, Ended};
pub use inside::Inside;
pub use options::qemu_options;
pub use socket::Socket;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
#[cfg(fuzzing)]
pub use wild::World;

/// Sockets that are served.
pub struct Server {
    bell: Arc<Bell>,
    ports: Vec<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Begins to serve, and gives up whatever that does not take.
    pub fn start(sockets: Vec<Socket>, choices: &DeviceConfig) -> io::Result<Self> {
        cut_off::install()?;
        let mut server = Self { bell: Arc::new(Bell::new()?), ports: Vec::new() };
        for (number, socket) in sockets.into_iter().enumerate() {
            let (bell, choices) = (Arc::clone(&server.bell), choices.clone());
            let body = move || {
                let _alarm = Alarm(&bell);
                // Nobody is told of one that ends early but by the bell.
                serve_all(&socket, &bell, &choices).inspect_err(|_| bell.ring())
            };
            let name = format!("port{number}");
            let started = Builder::new().name(name).spawn(body);
            server.ports.push(started.inspect_err(|_| server.bell.ring())?);
        }
        seccomp::shut_in().map_err(io::Error::other).inspect_err(|_| server.bell.ring())?;
        Ok(server)
    }

    /// What ends it when it is rung.
    pub fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Waits for its end.
    pub fn join(self) -> io::Result<()> {
        let ports = self.ports.into_iter();
        let ends: Vec<_> =
            ports.map(|port| port.join().unwrap_or_else(|why| resume_unwind(why))).collect();
        ends.into_iter().collect()
    }
}

/// Serves one client after the other until the bell rings.
fn serve_all(socket: &Socket, bell: &Bell, choices: &DeviceConfig) -> io::Result<()> {
    while let Some(client) = socket.accept(bell)? {
        match Client::new(choices)?.attend(client, bell)? {
            Ended::Bell => return Ok(()),
            Ended::Left | Ended::Device => {}
            ended => tell(&format!("farfault: {}: {ended}", socket.path().display())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod serve_test;
