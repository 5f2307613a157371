// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `farfault serve`.

use super::options::ServeArgs;
use super::values;
use crate::exit::Failure;
use crate::output::print;
use crate::serve::{Server, Socket, qemu_options};
use crate::session::Signals;
use farfault_device_model::DeviceConfig;
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// Serves until a signal comes; the exit code says which.
pub fn serve(args: &ServeArgs) -> Result<u8, Failure> {
    let choices = values::device(&args.device)?;
    let ready = args.ready_fd.map(open_ready).transpose()?;
    let (signals, _blocked) = Signals::block().map_err(Failure::vmm)?;
    let sockets: Vec<_> = args.sockets.iter().map(|path| bind(path)).collect::<Result<_, _>>()?;
    let told = qemu_options(sockets.iter().map(Socket::path));
    run(signals, sockets, &choices, || {
        print(&told)?;
        let Some(mut ready) = ready else { return Ok(()) };
        ready.write_all(b"\n").map_err(|error| Failure::host_lacks(format!("--ready-fd: {error}")))
    })
}

fn run(
    signals: Signals,
    sockets: Vec<Socket>,
    choices: &DeviceConfig,
    announce: impl FnOnce() -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let ended_by = Arc::new(AtomicI32::new(0));
    let server = Server::start(sockets, choices).map_err(Failure::vmm)?;
    let (bell, number) = (server.bell(), Arc::clone(&ended_by));
    signals.watch(move |signal| {
        if signal != Signal::SIGWINCH {
            number.store(signal as i32, Ordering::Relaxed);
            bell.ring();
        }
        true
    });
    let announced = announce();
    if announced.is_err() {
        server.bell().ring();
    }
    server.join().map_err(Failure::vmm)?;
    announced?;
    Ok(128 + ended_by.load(Ordering::Relaxed) as u8)
}

fn bind(path: &Path) -> Result<Socket, Failure> {
    let failed = |error| Failure::usage(format!("--socket {}: {error}", path.display()));
    Socket::bind(path).map_err(failed)
}

/// Before it serves, as it opens nothing afterwards.
fn open_ready(number: u32) -> Result<File, Failure> {
    let failed = |error| Failure::usage(format!("--ready-fd {number}: {error}"));
    File::options().write(true).open(format!("/dev/fd/{number}")).map_err(failed)
}
