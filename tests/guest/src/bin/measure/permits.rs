// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What mm can still do with memory that the device is using, and what the
//! device makes of it. Each row is done for each way of sharing, and says what
//! was found, nothing that is known beforehand.

use crate::buffer::{Backing, Buffer, Mode, Rig};
use crate::compaction::{self, LowMemory};
use crate::table::Table;
use farfault_client::raw::descriptor as abi;
use farfault_guest_programs::children::{Child, Signpost};
use farfault_guest_programs::ktap::{Outcome, Trial, expect};
use farfault_guest_programs::memory::{Access, MADV_DONTNEED, PAGE, Region, Sharing, memory_file};
use farfault_guest_programs::page_flags::{Frames, KPF_ANON};
use farfault_guest_programs::pagemap::{Entry, Pagemap};
use farfault_guest_programs::{Failure, commands, pins};
use nix::errno::Errno;
use nix::libc;
use std::{fmt, fs};

#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// So many pages of all, and what became of them.
    Share {
        some: usize,
        all: usize,
        what: &'static str,
    },
    Count(u64),
    Words(String),
}

enum Wanted {
    NoPage,
    NearlyAllPages,
    Nothing,
    EveryPage,
    Words(&'static str),
}

/// Something that is done to memory in use.
struct Row {
    name: &'static str,
    run: fn(&mut Scene) -> Result<Found, Failure>,
    /// With which backing it tells the mirror from pinned memory.
    tells: &'static [Backing],
    mirror: Wanted,
    pinned: Wanted,
}

const BOTH: &[Backing] = &Backing::ALL;
/// Compaction leaves huge pages where they are: they are what it makes room for. Nor is
/// there anything to collapse, and a file in memory has small pages.
const SMALL: &[Backing] = &[Backing::Small];

#[rustfmt::skip]
const ROWS: [Row; 9] = [
    Row { name: "pages pinned", run: pages_pinned, tells: BOTH,
        mirror: Wanted::Nothing, pinned: Wanted::EveryPage },
    Row { name: "reclaim (MADV_PAGEOUT)", run: reclaim, tells: BOTH,
        mirror: Wanted::NearlyAllPages, pinned: Wanted::NoPage },
    Row { name: "migration (soft offline of a page)", run: migrate, tells: BOTH,
        mirror: Wanted::Words("moved"), pinned: Wanted::Words("refused (EBUSY)") },
    Row { name: "compaction (compact_memory)", run: compact, tells: SMALL,
        mirror: Wanted::NearlyAllPages, pinned: Wanted::NoPage },
    Row { name: "collapse (MADV_COLLAPSE)", run: collapse, tells: SMALL,
        mirror: Wanted::Words("collapsed"), pinned: Wanted::Words("refused (EAGAIN)") },
    Row { name: "munmap", run: unmap, tells: BOTH,
        mirror: Wanted::Words("memory comes back, the device is refused"),
        pinned: Wanted::Words("memory stays taken, the device still has it") },
    Row { name: "fork, both alive", run: fork, tells: BOTH,
        mirror: Wanted::Words("all shared until written, the device follows the parent"),
        pinned: Wanted::Words("all copied at once, the device follows the parent") },
    Row { name: "discard (MADV_DONTNEED), written anew", run: discard, tells: BOTH,
        mirror: Wanted::Words("the device sees it"),
        pinned: Wanted::Words("the device sees what is gone") },
    Row { name: "file truncated", run: truncate, tells: SMALL,
        mirror: Wanted::Words("the device is refused; grown again, the device sees it"),
        pinned: Wanted::Words("the device still has what was cut off; grown again, the device sees what is gone") },
];

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share { some: 0, what, .. } => write!(f, "none {what}"),
            Self::Share { some, all, what } if some == all => write!(f, "all {what}"),
            Self::Share { some, all, what } => {
                write!(f, "{} % {what}", (some * 100 / all).clamp(1, 99))
            }
            Self::Count(count) => write!(f, "{count}"),
            Self::Words(words) => f.write_str(words),
        }
    }
}

impl Wanted {
    /// Whether `found` is that, with a buffer of so many pages.
    fn is(&self, found: &Found, pages: usize) -> bool {
        match (self, found) {
            (Self::NoPage, Found::Share { some, .. }) => *some == 0,
            // All but a few of 100.
            (Self::NearlyAllPages, Found::Share { some, all, .. }) => some * 100 >= all * 95,
            (Self::Nothing, Found::Count(count)) => *count == 0,
            (Self::EveryPage, Found::Count(count)) => *count == pages as u64,
            (Self::Words(words), Found::Words(found)) => found == words,
            _ => false,
        }
    }
}

impl Row {
    fn find(&self, backing: Backing, mode: Mode, bytes: usize) -> Result<Found, Failure> {
        (self.run)(&mut Scene::new(backing, mode, backing.fresh(bytes)?)?)
    }

    fn judge(&self, backing: Backing, mode: Mode, bytes: usize) -> Outcome {
        let found = self.find(backing, mode, bytes)?;
        let wanted = if mode == Mode::Pinned { &self.pinned } else { &self.mirror };
        expect(&format!("it is right that: {found}"), wanted.is(&found, bytes / PAGE))
    }
}

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
    for row in &ROWS {
        for backing in Backing::ALL {
            let mut cells = vec![row.name.to_owned(), backing.name().to_owned()];
            for mode in Mode::ALL {
                let told = |why| format!("{}, {backing:?}, {mode:?}: {why}", row.name);
                cells.push(row.find(backing, mode, bytes).map_err(told)?.to_string());
            }
            table.row(cells);
        }
    }
    Ok(table)
}

/// A test for each cell of the table that tells the mirror from pinned memory.
pub fn tests(bytes: usize) -> Vec<Trial<'static>> {
    let mut trials = Vec::new();
    for row in &ROWS {
        for &backing in row.tells {
            for (mode, way) in Mode::ALL.into_iter().zip(Mode::NAMES) {
                let name = format!("{}, {}, {way}", row.name, backing.name());
                trials.push(Trial::new(name, move || row.judge(backing, mode, bytes)));
            }
        }
    }
    trials
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
        Ok(self.entries()?.into_iter().map(Entry::frame).collect())
    }

    /// The first byte, as the device sees it; none if it is refused.
    fn seen_by_device(&mut self) -> Result<Option<u8>, Failure> {
        Ok(self.copied_by_device(1)?.map(|copy| copy[0]))
    }

    /// The first `length` bytes, likewise.
    fn copied_by_device(&mut self, length: usize) -> Result<Option<Region>, Failure> {
        let target = Region::anonymous(length.next_multiple_of(PAGE))?;
        let command = commands::copy(self.buffer.address, target.address(), length as u64);
        let completion = self.rig.run(command)?;
        Ok((completion.status == abi::STATUS_OK).then_some(target))
    }

    /// Contents are as they were, for CPU and device.
    fn is_unharmed(&mut self) -> Result<(), Failure> {
        let length = self.region()?.len();
        let device = self.copied_by_device(length)?;
        let device = device.is_some_and(|all| all.iter().all(|&byte| byte == WRITTEN));
        let cpu = self.region()?.iter().all(|&byte| byte == WRITTEN);
        expect(&format!("contents are whole: CPU {cpu}, device {device}"), cpu && device)
    }
}

fn words(words: impl Into<String>) -> Result<Found, Failure> {
    Ok(Found::Words(words.into()))
}

fn pages_pinned(scene: &mut Scene) -> Result<Found, Failure> {
    let pinned = pins::in_system()? - scene.pinned_before;
    let charged = pins::of_process()?;
    expect(&format!("{pinned} pages pinned are {charged} charged"), pinned == charged)?;
    Ok(Found::Count(pinned))
}

fn reclaim(scene: &mut Scene) -> Result<Found, Failure> {
    // Pages that were just made are put where reclaim finds them.
    fs::write("/proc/sys/vm/drop_caches", "1")?;
    scene.region()?.advise(libc::MADV_PAGEOUT)?;
    let frames = scene.frames()?;
    let gone = frames.iter().filter(|&&frame| frame == 0).count();
    scene.is_unharmed()?;
    Ok(Found::Share { some: gone, all: frames.len(), what: "reclaimed" })
}

/// Has the kernel move a page elsewhere and retire its frame.
fn migrate(scene: &mut Scene) -> Result<Found, Failure> {
    let before = scene.frames()?;
    let result = scene.region()?.advise_range(0, PAGE, libc::MADV_SOFT_OFFLINE);
    let moved = scene.frames()?[0] != before[0];
    scene.is_unharmed()?;
    match (result, moved) {
        (Ok(()), true) => words("moved"),
        (Err(error), false) => words(format!("refused ({error:?})")),
        (result, moved) => Err(format!("{result:?}, moved: {moved}").into()),
    }
}

/// How often memory is compacted, at most: a page that somebody has in hand stays that time.
const COMPACTIONS: usize = 8;
/// How often memory is laid out anew, at most.
const LAYOUTS: usize = 6;

/// Compaction fills what is free at the end of memory with what lies at its start. So it is
/// done to a buffer at the start, with room at the end. Where other memory fills the room
/// first, a second buffer, which no device uses, stays too: then nothing was shown.
fn compact(scene: &mut Scene) -> Result<Found, Failure> {
    let length = scene.region()?.len();
    for _ in 0..LAYOUTS {
        let low = LowMemory::left_for(length)?;
        let (buffer, unused) = low.twins(|| scene.backing.fresh(length))?;
        let mut scene = Scene::new(scene.backing, scene.mode, buffer)?;
        let _room = low.make_room()?;
        let (moved, unused_moved) = moved_by_compaction(&mut scene, &unused)?;
        scene.is_unharmed()?;
        let all = length / PAGE;
        println!("# moved: {moved} of {all} pages, {unused_moved} of those that no device uses");
        if unused_moved == all {
            return Ok(Found::Share { some: moved, all, what: "moved" });
        }
    }
    Err("compaction moves no memory, whether a device uses it or not".into())
}

/// Pages of the buffer that have moved, and of one that no device uses.
fn moved_by_compaction(scene: &mut Scene, unused: &Region) -> Result<(usize, usize), Failure> {
    let others = |scene: &Scene| -> Result<Vec<u64>, Failure> {
        let entries = scene.pagemap.entries(unused.address(), unused.len() / PAGE)?;
        Ok(entries.into_iter().map(Entry::frame).collect())
    };
    let before = (scene.frames()?, others(scene)?);
    let mut moved = (0, 0);
    for _ in 0..COMPACTIONS {
        compaction::run()?;
        moved = (differing(&before.0, &scene.frames()?), differing(&before.1, &others(scene)?));
        if moved == (before.0.len(), before.1.len()) {
            break;
        }
    }
    Ok(moved)
}

fn differing(before: &[u64], after: &[u64]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count()
}

/// How often a collapse is asked for, at most.
const COLLAPSES: usize = 100;

fn collapse(scene: &mut Scene) -> Result<Found, Failure> {
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
        (Ok(()), true) => words("collapsed"),
        (Ok(()), false) => words("nothing to do"),
        (Err(error), _) => words(format!("refused ({error:?})")),
    }
}

fn unmap(scene: &mut Scene) -> Result<Found, Failure> {
    let frames = scene.frames()?;
    scene.region = None;
    let held = held(&frames)?;
    let device = match scene.seen_by_device()? {
        Some(_) => "the device still has it",
        None => "the device is refused",
    };
    // Somebody else may have got a few frames that came back.
    let memory = match held * 100 / frames.len() {
        0..=5 => "memory comes back",
        95.. => "memory stays taken",
        _ => "some of the memory comes back",
    };
    words(format!("{memory}, {device}"))
}

/// How many of these frames hold memory of a process.
fn held(frames: &[u64]) -> Result<usize, Failure> {
    let all = Frames::open()?;
    let flags = frames.iter().map(|frame| all.flags(*frame)).collect::<Result<Vec<_>, _>>()?;
    Ok(flags.iter().filter(|flags| flags.has(KPF_ANON)).count())
}

fn fork(scene: &mut Scene) -> Result<Found, Failure> {
    let (looked, forked) = (Signpost::new()?, Signpost::new()?);
    let region = scene.region.take().ok_or("the region is gone")?;
    let child = Child::start(|| {
        forked.reach()?;
        looked.wait()?;
        let kept = region.iter().all(|&byte| byte == WRITTEN);
        expect("the child sees what was there at the fork", kept)
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
        let (all, what) = (entries.len(), "shared until written");
        Found::Share { some: shared, all, what }.to_string()
    };
    let device = if agreed { "follows the parent" } else { "lost the parent" };
    words(format!("{copied}, the device {device}"))
}

fn discard(scene: &mut Scene) -> Result<Found, Failure> {
    scene.region()?.advise(MADV_DONTNEED)?;
    scene.region()?.fill(WRITTEN + 1);
    words(told_apart(scene)?)
}

fn told_apart(scene: &mut Scene) -> Result<&'static str, Failure> {
    Ok(match scene.seen_by_device()? {
        Some(byte) if byte == WRITTEN + 1 => "the device sees it",
        Some(WRITTEN) => "the device sees what is gone",
        Some(_) => "the device sees neither",
        None => "the device is refused",
    })
}

/// With a file in memory in place of the region, small pages whatever the backing.
fn truncate(scene: &mut Scene) -> Result<Found, Failure> {
    let length = scene.region()?.len();
    let file = memory_file(length as u64)?;
    let region = Region::of_file(&file, length, Sharing::Shared, Access::Write)?;
    let mut scene = Scene::new(scene.backing, scene.mode, region)?;
    file.set_len(0)?;
    let device = match scene.seen_by_device()? {
        Some(_) => "the device still has what was cut off",
        None => "the device is refused",
    };
    file.set_len(length as u64)?;
    scene.region()?[0] = WRITTEN + 1;
    words(format!("{device}; grown again, {}", told_apart(&mut scene)?))
}
