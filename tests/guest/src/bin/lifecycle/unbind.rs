// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Unbinding the driver waits for nobody's process.

use farfault_client::Device;
use farfault_client::raw::DeviceFile;
use farfault_guest_programs::Failure;
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::counters::{await_gauges, gauges};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{PAGE, Region};
use farfault_guest_programs::raw_queue::{self, RawQueue};
use farfault_guest_programs::signals::stop;
use farfault_guest_programs::sysfs::{bind, device};
use farfault_guest_programs::userfault::Userfault;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long unbinding may take before the process that it waits for is killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Unbinds and binds while `child` is as it is, which is killed if unbinding waits for it.
fn rebind(child: Child) -> Outcome {
    let device = device()?;
    let (done, unbound) = channel();
    let victim = Pid::from_raw(child.id());
    let watch = thread::spawn(move || {
        let late = unbound.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        if late {
            let _ = kill(victim, Signal::SIGKILL);
        }
        late
    });
    let result = bind("unbind", &device);
    let _ = done.send(());
    let late = watch.join().map_err(|_| "the watch panicked")?;
    result.and_then(|()| bind("bind", &device))?;
    expect("unbinding did not wait for the process", !late)?;
    child.kill()?;
    let mut memory = Region::small_pages(PAGE)?;
    Device::open()?.queue(16)?.fill(&mut memory[..], 5_u8)?;
    expect("the device works again", memory.iter().all(|&byte| byte == 5))
}

/// Of whom the kernel wants a page that nobody brings, in each way there is.
pub fn unbound_while_a_page_never_comes() -> Outcome {
    for stuck in [wait as fn(&DeviceFile, &mut RawQueue, u64) -> nix::Result<()>, prefetch] {
        let before = gauges()?;
        let ready = Signpost::new()?;
        let child = Child::start(|| be_stuck(&ready, stuck))?;
        ready.wait()?;
        rebind(child)?;
        await_gauges(before)?;
    }
    Ok(())
}

/// WAIT for a fence in the page.
fn wait(_: &DeviceFile, queue: &mut RawQueue, page: u64) -> nix::Result<()> {
    queue.wait(page, 1, 0)
}

/// PREFETCH of the page.
fn prefetch(device: &DeviceFile, _: &mut RawQueue, page: u64) -> nix::Result<()> {
    use farfault_client::raw::Kernel;
    use farfault_client::raw::uapi::Prefetch;
    let prefetch = Prefetch { address: page, length: PAGE as u64, flags: 0, reserved: 0 };
    device.prefetch(&prefetch)
}

/// The process: asks for a page that its own handler is told of, and does not bring.
fn be_stuck(
    ready: &Signpost,
    stuck: fn(&DeviceFile, &mut RawQueue, u64) -> nix::Result<()>,
) -> Outcome {
    let device = raw_queue::open()?;
    let mut queue = RawQueue::new(&device, 2)?;
    let (page, handler) = Userfault::missing(PAGE)?;
    thread::scope(|scope| {
        scope.spawn(|| -> Result<(), Failure> {
            handler.next()?;
            ready.reach()
        });
        let ended = stuck(&device, &mut queue, page.address());
        expect_equal("it ends only when it is killed", &ended, &Err(Errno::EINTR))
    })
}

pub fn unbound_while_a_process_is_stopped() -> Outcome {
    let before = gauges()?;
    let ready = Signpost::new()?;
    let child = Child::start(|| {
        let mut memory = Region::small_pages(PAGE)?;
        let device = Device::open()?;
        device.queue(16)?.fill(&mut memory[..], 3_u8)?;
        ready.reach()?;
        loop {
            nix::unistd::pause();
        }
    })?;
    ready.wait()?;
    stop(Pid::from_raw(child.id()))?;
    rebind(child)?;
    await_gauges(before)
}
