// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What mm can still do with memory that the device is using, and what the
//! device makes of it. Each row is done for each way of sharing, and says what
//! was found, nothing that is known beforehand.
#![allow(unsafe_code, reason = "advice that needs privileges")]

use crate::buffer::{Backing, Buffer, Mode, Rig};
use crate::compaction::{self, LowMemory};
use crate::table::Table;
use farfault_client::raw::descriptor::{self as abi, Descriptor};
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::memory::{Access, MADV_DONTNEED, PAGE, Region, Sharing, memory_file};
use farfault_guest_programs::pagemap::{Entry, Pagemap};
use farfault_guest_programs::{Failure, pins};
use nix::errno::Errno;
use nix::libc;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Does something to memory in use, and says what came of it.
type Row = fn(&mut Scene) -> Result<String, Failure>;

const ROWS: [(&str, Row); 9] = [
    ("pages pinned", pages_pinned),
    ("reclaim (MADV_PAGEOUT)", reclaim),
    ("migration (soft offline of a page)", migrate),
    ("compaction (compact_memory)", compact),
    ("collapse (MADV_COLLAPSE)", collapse),
    ("munmap", unmap),
    ("fork, both alive", fork),
    ("discard (MADV_DONTNEED), written anew", discard),
    ("file truncated", truncate),
];

/// A buffer that the device has written to.
struct Scene {
    rig: Rig,
    backing: Backing,
    mode: Mode,
    region: Option<Region>,
    buffer: Buffer,
    pagemap: Pagemap,
    pinned_before: u64,
}

const WRITTEN: u8 = 7;

pub fn measure(bytes: usize) -> Result<Table, Failure> {
    let head = ["while the device uses it", "backing"];
    let mut table = Table::new(&[&head[..], &Mode::NAMES[..]].concat());
    for (name, row) in ROWS {
        for backing in Backing::ALL {
            let mut cells = vec![name.to_owned(), backing.name().to_owned()];
            for mode in Mode::ALL {
                let told = |failure| format!("{name}, {backing:?}, {mode:?}: {failure}");
                let scene = Scene::new(backing, mode, backing.fresh(bytes)?);
                cells.push(scene.and_then(|mut scene| row(&mut scene)).map_err(told)?);
            }
            table.row(cells);
        }
    }
    Ok(table)
}

impl Scene {
    fn new(backing: Backing, mode: Mode, region: Region) -> Result<Self, Failure> {
        let mut rig = Rig::new()?;
        let pinned_before = pins::in_system()?;
        let buffer = Buffer::new(&rig, mode, &region)?;
        rig.done(buffer.fill(WRITTEN))?;
        let pagemap = Pagemap::own()?;
        Ok(Self { rig, backing, mode, region: Some(region), buffer, pagemap, pinned_before })
    }

    fn region(&mut self) -> Result<&mut Region, Failure> {
        self.region.as_mut().ok_or_else(|| "the region is gone".into())
    }

    fn entries(&mut self) -> Result<Vec<Entry>, Failure> {
        let (start, pages) = (self.region()?.address(), self.region()?.len() / PAGE);
        self.pagemap.entries(start, pages)
    }

    /// The frame of each page; 0 where none is present.
    fn frames(&mut self) -> Result<Vec<u64>, Failure> {
        let entries = self.entries()?.into_iter();
        Ok(entries.map(|entry| if entry.is_present() { entry.frame() } else { 0 }).collect())
    }

    /// The first byte, as the device sees it; none if it is refused.
    fn seen_by_device(&mut self) -> Result<Option<u8>, Failure> {
        let target = Region::anonymous(PAGE)?;
        let completion = self.rig.run(Descriptor {
            opcode: abi::OP_COPY as u8,
            source: self.buffer.address,
            destination: target.address(),
            length: 1,
            ..Descriptor::default()
        })?;
        Ok((completion.status == abi::STATUS_OK).then(|| target[0]))
    }

    /// Contents are as they were, for CPU and device.
    fn is_unharmed(&mut self) -> Result<(), Failure> {
        let device = self.seen_by_device()?;
        let cpu = self.region()?.iter().all(|&byte| byte == WRITTEN);
        if cpu && device == Some(WRITTEN) {
            return Ok(());
        }
        Err(format!("contents were lost: CPU {cpu}, device {device:?}").into())
    }
}

/// How many pages of all, in words.
fn share(some: usize, all: usize) -> String {
    match some {
        0 => "none".to_owned(),
        _ if some == all => "all".to_owned(),
        _ => format!("{} %", (some * 100 / all).clamp(1, 99)),
    }
}

fn pages_pinned(scene: &mut Scene) -> Result<String, Failure> {
    let pinned = pins::in_system()? - scene.pinned_before;
    let charged = pins::of_process()?;
    if pinned != charged {
        return Err(format!("{pinned} pages pinned, {charged} charged").into());
    }
    Ok(pinned.to_string())
}

fn reclaim(scene: &mut Scene) -> Result<String, Failure> {
    // Pages that were just made are put where reclaim finds them.
    fs::write("/proc/sys/vm/drop_caches", "1")?;
    scene.region()?.advise(libc::MADV_PAGEOUT)?;
    let frames = scene.frames()?;
    let gone = frames.iter().filter(|&&frame| frame == 0).count();
    scene.is_unharmed()?;
    Ok(format!("{} reclaimed", share(gone, frames.len())))
}

/// Has the kernel move a page elsewhere and retire its frame.
fn migrate(scene: &mut Scene) -> Result<String, Failure> {
    const MADV_SOFT_OFFLINE: i32 = 101;
    let before = scene.frames()?;
    let result = scene.region()?.advise_range(0, PAGE, MADV_SOFT_OFFLINE);
    let moved = scene.frames()?[0] != before[0];
    scene.is_unharmed()?;
    match (result, moved) {
        (Ok(()), true) => Ok("moved".to_owned()),
        (Err(error), false) => Ok(format!("refused ({error:?})")),
        (result, moved) => Err(format!("{result:?}, moved: {moved}").into()),
    }
}

/// How often memory is compacted, at most.
const COMPACTIONS: usize = 8;

/// Compaction fills what is free at the end of memory with what lies at its start.
/// So it is done to a buffer at the start, with room at the end.
fn compact(scene: &mut Scene) -> Result<String, Failure> {
    let length = scene.region()?.len();
    let low = LowMemory::left_for(length)?;
    let buffer = low.buffer(|| scene.backing.fresh(length))?;
    let mut scene = Scene::new(scene.backing, scene.mode, buffer)?;
    let _room = low.make_room()?;
    let before = scene.frames()?;
    let mut moved = 0;
    // The kernel does what it can: a page that somebody has in hand stays that time.
    for _ in 0..COMPACTIONS {
        compaction::run()?;
        let after = scene.frames()?;
        moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        if moved == before.len() {
            break;
        }
    }
    scene.is_unharmed()?;
    Ok(format!("{} moved", share(moved, before.len())))
}

/// How often a collapse is asked for, at most.
const COLLAPSES: usize = 100;

fn collapse(scene: &mut Scene) -> Result<String, Failure> {
    let before = scene.frames()?;
    // Where huge pages were declined before.
    scene.region()?.advise(libc::MADV_HUGEPAGE)?;
    // As madvise(2) wants it: somebody may have a page in hand for a moment.
    let mut result = Err(Errno::EAGAIN);
    for _ in 0..COLLAPSES {
        result = scene.region()?.advise(libc::MADV_COLLAPSE);
        if result != Err(Errno::EAGAIN) {
            break;
        }
        std::thread::yield_now();
    }
    let moved = scene.frames()? != before;
    scene.is_unharmed()?;
    match (result, moved) {
        (Ok(()), true) => Ok("collapsed".to_owned()),
        (Ok(()), false) => Ok("nothing to do".to_owned()),
        (Err(error), _) => Ok(format!("refused ({error:?})")),
    }
}

fn unmap(scene: &mut Scene) -> Result<String, Failure> {
    let frames = scene.frames()?;
    scene.region = None;
    let held = held(&frames)?;
    let device = match scene.seen_by_device()? {
        Some(_) => "the device still has it",
        None => "the device is refused",
    };
    // Somebody else may have got a frame that came back.
    let memory = if held * 2 < frames.len() { "memory comes back" } else { "memory stays taken" };
    Ok(format!("{memory}, {device}"))
}

/// How many of these frames hold memory of a process.
fn held(frames: &[u64]) -> Result<usize, Failure> {
    const KPF_ANON: u64 = 1 << 12;
    let file = File::open("/proc/kpageflags")?;
    let mut held = 0;
    for frame in frames {
        let mut flags = [0; 8];
        file.read_exact_at(&mut flags, frame * 8)?;
        held += usize::from(u64::from_le_bytes(flags) & KPF_ANON != 0);
    }
    Ok(held)
}

fn fork(scene: &mut Scene) -> Result<String, Failure> {
    let (looked, forked) = (Signpost::new()?, Signpost::new()?);
    let region = scene.region.take().ok_or("the region is gone")?;
    let child = Child::start(|| {
        forked.reach()?;
        looked.wait()?;
        if region.iter().any(|&byte| byte != WRITTEN) {
            return Err("the child does not see what was there at the fork".into());
        }
        Ok(())
    })?;
    forked.wait()?;
    scene.region = Some(region);
    let entries = scene.entries()?;
    let shared = entries.iter().filter(|entry| entry.is_present() && !entry.is_exclusive()).count();
    scene.region()?[0] = WRITTEN + 1;
    let agreed = scene.seen_by_device()? == Some(WRITTEN + 1);
    looked.reach()?;
    child.succeed()?;
    let copied = if shared == 0 {
        "all copied at once".to_owned()
    } else {
        format!("{} shared until written", share(shared, entries.len()))
    };
    let device = if agreed { "follows the parent" } else { "lost the parent" };
    Ok(format!("{copied}, the device {device}"))
}

fn discard(scene: &mut Scene) -> Result<String, Failure> {
    scene.region()?.advise(MADV_DONTNEED)?;
    scene.region()?.fill(WRITTEN + 1);
    told_apart(scene)
}

fn told_apart(scene: &mut Scene) -> Result<String, Failure> {
    Ok(match scene.seen_by_device()? {
        Some(byte) if byte == WRITTEN + 1 => "the device sees it",
        Some(WRITTEN) => "the device sees what is gone",
        Some(_) => "the device sees neither",
        None => "the device is refused",
    }
    .to_owned())
}

/// With a file in memory in place of the region, small pages whatever the backing.
fn truncate(scene: &mut Scene) -> Result<String, Failure> {
    let length = scene.region()?.len();
    let file: File = memory_file(length as u64)?;
    let region = Region::of_file(&file, length, Sharing::Shared, Access::Write)?;
    let mut scene = Scene::new(scene.backing, scene.mode, region)?;
    file.set_len(0)?;
    let device = match scene.seen_by_device()? {
        Some(_) => "the device still has what was cut off",
        None => "the device is refused",
    };
    file.set_len(length as u64)?;
    scene.region()?[0] = WRITTEN + 1;
    Ok(format!("{device}; grown again, {}", told_apart(&mut scene)?))
}
