// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `process [TEST…]`: what the device means for the process that opens it, and for those
//! beside it: it can be stopped and frozen, is charged for what it takes, and is waited for
//! by nobody. Prints KTAP.
#![allow(unsafe_code, reason = "system calls that no crate has, descriptors on raw addresses")]

use farfault_client::Device;
use farfault_client::raw::{DeviceFile, Kernel, descriptor as abi};
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::counters::{await_gauges, gauges};
use farfault_guest_programs::ktap::{Outcome, expect, expect_equal};
use farfault_guest_programs::memory::{Access, PAGE, Region, Sharing};
use farfault_guest_programs::raw_queue::{self, RawQueue, open};
use farfault_guest_programs::signals::stop;
use farfault_guest_programs::silent_file::SilentFile;
use farfault_guest_programs::userfault::{Userfault, served};
use farfault_guest_programs::{Failure, commands, test_program};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::fd::FromRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

test_program![
    a_device_fault_is_stopped,
    a_device_fault_is_frozen,
    a_prefetch_is_stopped,
    a_file_system_never_answers,
    closing_waits_for_no_process,
    opening_binds_nothing,
    memory_is_charged,
    secret_memory_is_refused,
    a_wait_needs_no_interrupt,
];

/// A control group of our own; removed when dropped.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Self, Failure> {
        let root = Path::new("/sys/fs/cgroup");
        if !root.join("cgroup.procs").exists() {
            Command::new("mount").args(["-t", "cgroup2", "none"]).arg(root).status()?;
        }
        fs::write(root.join("cgroup.subtree_control"), "+memory")?;
        let folder = root.join(format!("farfault-{}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }

    fn set(&self, file: &str, value: &str) -> Outcome {
        Ok(fs::write(self.0.join(file), value)?)
    }

    fn get(&self, file: &str) -> Result<String, Failure> {
        Ok(fs::read_to_string(self.0.join(file))?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A child whose `work` needs a page that comes once `bring` is reached.
fn child_that_waits(
    asked: &Signpost,
    bring: &Signpost,
    work: impl FnOnce(&Device, &Region) -> Outcome,
) -> Result<Child, Failure> {
    Child::start(|| {
        let (region, userfault) = Userfault::missing(PAGE)?;
        let device = Device::open()?;
        let serve = || {
            let page = userfault.next()?;
            asked.reach()?;
            bring.wait()?;
            Ok(userfault.bring(page, &[7; PAGE])?)
        };
        served(serve, || work(&device, &region))
    })
}

fn copy_it(device: &Device, region: &Region) -> Outcome {
    let mut destination = vec![0; PAGE];
    device.queue(16)?.copy(&region[..], &mut destination)?;
    expect("the device read what came", destination.iter().all(|&byte| byte == 7))
}

fn is_stopped(work: impl FnOnce(&Device, &Region) -> Outcome) -> Outcome {
    let (asked, bring) = (Signpost::new()?, Signpost::new()?);
    let child = child_that_waits(&asked, &bring, work)?;
    asked.wait()?;
    let id = Pid::from_raw(child.id());
    stop(id)?;
    kill(id, Signal::SIGCONT)?;
    bring.reach()?;
    child.succeed()
}

fn a_device_fault_is_stopped() -> Outcome {
    is_stopped(copy_it)
}

fn a_prefetch_is_stopped() -> Outcome {
    is_stopped(|device, region| Ok(device.prefetch(&region[..])?))
}

fn a_device_fault_is_frozen() -> Outcome {
    let group = Group::new()?;
    let (asked, bring) = (Signpost::new()?, Signpost::new()?);
    let child = child_that_waits(&asked, &bring, copy_it)?;
    asked.wait()?;
    group.set("cgroup.procs", &child.id().to_string())?;
    group.set("cgroup.freeze", "1")?;
    while !group.get("cgroup.events")?.contains("frozen 1") {
        thread::yield_now();
    }
    group.set("cgroup.freeze", "0")?;
    bring.reach()?;
    child.succeed()
}

/// While a page of a process never comes, others open the device, and so does the process
/// itself; and it can be killed.
fn a_file_system_never_answers() -> Outcome {
    let (asked, opened) = (Signpost::new()?, Signpost::new()?);
    let before = gauges()?;
    let silent = SilentFile::new(&asked)?;
    let child = Child::start(|| {
        let page = Region::of_file(&silent.open()?, PAGE, Sharing::Shared, Access::Read)?;
        let device = Device::open()?;
        thread::scope(|scope| {
            scope.spawn(|| -> Outcome {
                asked.wait()?;
                Device::open()?.queue(16)?.nop()?;
                opened.reach()
            });
            copy_it(&device, &page)
        })
    })?;
    opened.wait()?;
    Device::open()?.queue(16)?.nop()?;
    child.kill()?;
    await_gauges(before)
}

/// The last descriptor is closed by a process whose parent, which opened it, is stopped.
fn closing_waits_for_no_process() -> Outcome {
    let before = gauges()?;
    let (ready, close, closed) = (Signpost::new()?, Signpost::new()?, Signpost::new()?);
    let child = Child::start(|| {
        let mut device = Some(open()?);
        device.as_deref().map(DeviceFile::info).transpose()?;
        let heir = Child::start(|| {
            close.wait()?;
            drop(device.take());
            closed.reach()
        })?;
        drop(device.take());
        ready.reach()?;
        heir.succeed()
    })?;
    ready.wait()?;
    let id = Pid::from_raw(child.id());
    stop(id)?;
    close.reach()?;
    closed.wait()?;
    kill(id, Signal::SIGCONT)?;
    child.succeed()?;
    await_gauges(before)
}

fn unshare() -> nix::Result<()> {
    // SAFETY: changes nothing but the namespace.
    Errno::result(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).map(drop)
}

/// No thread, no context; both come with the first ioctl.
fn opening_binds_nothing() -> Outcome {
    let before = gauges()?;
    Child::start(|| {
        let device = open()?;
        // Of a process before, something may still be there, and go now.
        await_gauges(before)?;
        expect_equal("a namespace after open", &unshare(), &Ok(()))?;
        drop(device);
        Ok(())
    })?
    .succeed()?;
    Child::start(|| {
        let device = open()?;
        device.info()?;
        expect_equal("a namespace after an ioctl", &unshare(), &Err(Errno::EINVAL))?;
        drop(device);
        Ok(())
    })?
    .succeed()
}

/// What contexts take: request lists, tables, a thread each.
fn memory_is_charged() -> Outcome {
    const CONTEXTS: usize = 48;
    const EACH: usize = 48 * 1024;
    let group = Group::new()?;
    let charged = || -> Result<usize, Failure> { Ok(group.get("memory.current")?.trim().parse()?) };
    Child::start(|| {
        group.set("cgroup.procs", "0")?;
        let before = charged()?;
        let devices = (0..CONTEXTS).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
        for device in &devices {
            device.info()?;
        }
        let grown = charged()? - before;
        eprintln!("# {} bytes for each context", grown / CONTEXTS);
        expect("contexts are charged", grown >= CONTEXTS * EACH)
    })?
    .succeed()
}

fn secret_memory_is_refused() -> Outcome {
    // SAFETY: makes a file descriptor.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) })?;
    // SAFETY: a new descriptor that nobody else has.
    let file = unsafe { File::from_raw_fd(i32::try_from(fd)?) };
    file.set_len(PAGE as u64)?;
    let mut secret = Region::of_file(&file, PAGE, Sharing::Shared, Access::Write)?;
    secret.fill(0x5a);
    let target = Region::small_pages(PAGE)?;
    let device = open()?;
    let mut queue = RawQueue::new(&device, 2)?;
    for (what, from, to) in [("read", &secret, &target), ("written", &target, &secret)] {
        let copy = commands::copy(from.address(), to.address(), PAGE as u64);
        // SAFETY: the memory outlives the command, which is waited for.
        let ended = unsafe { queue.run(copy) }?;
        expect_equal(what, &ended.status, &abi::STATUS_FAULT)?;
        expect_equal(what, &ended.fault_address, &secret.address())?;
    }
    expect("nothing of it was copied", target.iter().all(|&byte| byte == 0))?;
    expect("it is as it was", secret.iter().all(|&byte| byte == 0x5a))
}

/// Of a command that raises none; the deadline is long past then.
fn a_wait_needs_no_interrupt() -> Outcome {
    const PATIENCE: u64 = 20_000_000_000;
    let device = open()?;
    let mut queue = RawQueue::new(&device, 2)?;
    // SAFETY: touches no memory but the ring's.
    let index = unsafe { queue.post(commands::nop()) };
    queue.ring();
    let deadline = raw_queue::now()? + PATIENCE;
    let record = queue.ring.record_address(index);
    expect_equal("the wait", &queue.wait(record, u64::from(index) + 1, deadline), &Ok(()))
}
