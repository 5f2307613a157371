// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How many queues and contexts one opener can have.

use farfault_client::Device;
use farfault_client::raw::{DeviceFile, Kernel};
use farfault_guest_programs::children::Child;
use farfault_guest_programs::ktap::{Outcome, expect_equal};
use farfault_guest_programs::raw_queue::RawQueue;
use farfault_guest_programs::sysfs::set_parameter;
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{Mode, fchmod, stat};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

const NOBODY: libc::uid_t = 65534;

fn open() -> nix::Result<Arc<DeviceFile>> {
    let file = DeviceFile::open(Path::new(Device::PATH))
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    file.info()?;
    Ok(Arc::new(file))
}

/// How often `make` goes well, and why it does not any more.
fn count<T>(mut make: impl FnMut() -> nix::Result<T>) -> (usize, Errno) {
    let mut made = Vec::new();
    loop {
        match make() {
            Ok(one) => made.push(one),
            Err(error) => return (made.len(), error),
        }
    }
}

/// Does `work` as a user without privileges, whom the device is open to.
fn as_nobody(work: impl FnOnce() -> Outcome) -> Outcome {
    let path = Path::new(Device::PATH);
    let mode = Mode::from_bits_truncate(stat(path)?.st_mode);
    let node = File::open(path)?;
    // For the group as well, which the child keeps.
    fchmod(&node, Mode::from_bits_truncate(0o666))?;
    let child = Child::start(|| {
        // SAFETY: changes what this process may do, and no memory.
        Errno::result(unsafe { libc::setuid(NOBODY) })?;
        work()
    })?;
    let ended = child.succeed();
    fchmod(&node, mode)?;
    ended
}

pub fn queues_of_a_context() -> Outcome {
    let _limit = set_parameter("context_queues", 3)?;
    let device = open()?;
    expect_equal("queues", &count(|| RawQueue::new(&device, 2)), &(3, Errno::EMFILE))?;
    let other = open()?;
    RawQueue::new(&other, 2).map(drop).map_err(Into::into)
}

pub fn queues_of_a_user() -> Outcome {
    let _limit = set_parameter("user_queues", 3)?;
    as_nobody(|| {
        let devices = [open()?, open()?];
        let mut turn = devices.iter().cycle();
        let (made, error) =
            count(|| turn.next().map_or(Err(Errno::EINVAL), |device| RawQueue::new(device, 2)));
        expect_equal("queues in two contexts", &(made, error), &(3, Errno::EDQUOT))
    })?;
    // It is no limit for who may lift limits.
    let device = open()?;
    let _queues =
        [0; 4].map(|_| RawQueue::new(&device, 2)).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

pub fn contexts_of_a_user() -> Outcome {
    // The node is open once more, to change its mode; that is another user's.
    let _limit = set_parameter("user_contexts", 3)?;
    as_nobody(|| expect_equal("contexts", &count(open), &(3, Errno::EDQUOT)))?;
    let _contexts = [0; 4].map(|_| open()).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}
