// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device in this process, for one client that this process has started.

use super::client::Client;
use super::cut_off;
use super::door::Door;
use super::socket::accept;
use super::traffic::{Counts, Traffic};
use farfault_device_model::{Counters, Device, DeviceConfig};
use farfault_vfio_user::{Bell, Ended};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// A device that is served until its client leaves, or this is dropped.
pub struct Inside {
    device: Arc<Device>,
    traffic: Arc<Traffic>,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Inside {
    /// Waits for the client, and serves it. If that ends before the client leaves, `fail` is told why.
    pub fn serve(
        door: Door,
        choices: &DeviceConfig,
        fail: impl FnOnce(String) + Send + 'static,
    ) -> io::Result<Inside> {
        cut_off::install()?;
        let client = Client::new(choices)?;
        let (device, traffic) = (Arc::clone(&client.device), Arc::clone(&client.traffic));
        let bell = Arc::new(Bell::new()?);
        let ringer = Arc::clone(&bell);
        let body = move || {
            let attend = || match accept(&door.listener, &ringer)? {
                Some(socket) => client.attend(socket, &ringer),
                None => Ok(Ended::Bell),
            };
            match catch_unwind(AssertUnwindSafe(attend)) {
                Ok(Ok(Ended::Left | Ended::Bell)) => {}
                Ok(Ok(ended)) => fail(format!("the accelerator is no longer served: {ended}")),
                Ok(Err(error)) => fail(format!("the accelerator cannot be served: {error}")),
                Err(_) => fail("internal error: a thread of the accelerator died".to_owned()),
            }
        };
        let thread = Some(Builder::new().name("accelerator".to_owned()).spawn(body)?);
        Ok(Inside { device, traffic, bell, thread })
    }

    /// What the device has counted.
    pub fn device_counters(&self) -> Counters {
        self.device.counters()
    }

    /// What has passed between it and the client.
    pub fn traffic(&self) -> Counts {
        self.traffic.counts()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.bell.ring();
        // It cannot have panicked.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;

    /// What is told of a client that does this.
    fn told(client: impl FnOnce(UnixStream)) -> Result<String, mpsc::RecvError> {
        let door = Door::new().expect("a socket");
        let path = format!("/proc/self/fd/{}", door.place().as_raw_fd());
        let socket = UnixStream::connect(path).expect("connected");
        let (sender, receiver) = mpsc::channel();
        let fail = move |why| sender.send(why).expect("heard");
        let _inside = Inside::serve(door, &DeviceConfig::default(), fail).expect("a device");
        client(socket);
        receiver.recv()
    }

    #[test]
    fn a_client_that_leaves_is_no_failure() {
        assert!(told(drop).is_err());
    }

    #[test]
    fn an_end_before_that_is_told() {
        // A message of no bytes.
        let why = told(|mut socket| socket.write_all(&[0; 16]).expect("sent")).expect("a reason");
        assert!(why.starts_with("the accelerator is no longer served: the client sent"), "{why}");
    }

    #[test]
    fn a_device_without_a_client_ends() {
        let door = Door::new().expect("a socket");
        let inside = Inside::serve(door, &DeviceConfig::default(), |why| panic!("{why}"));
        let inside = inside.expect("a device");
        assert_eq!(inside.traffic(), Counts::default());
        drop(inside);
    }
}
