// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operations carried out on the file and on its model, and compared.

use crate::model::Model;
use crate::operation::{Abilities, Attempt, Operation, Sizes, Who};
use crate::subject;
use crate::zeroing::no_zeroing;
use farfault_guest_programs::Failure;
use farfault_guest_programs::file_mapping::{Advice, Answer, FileMapping};
use farfault_guest_programs::kernel_files::Setting;
use farfault_guest_programs::memory::{HUGE_PAGE, PAGE, file_in};
use farfault_guest_programs::random::Random;
use farfault_guest_programs::raw_queue::{self, RawQueue};
use nix::fcntl::FallocateFlags;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What was done, by whom.
#[derive(Default)]
pub struct Tally {
    /// Accesses of the CPU to the mapping.
    pub cpu: u64,
    /// Accesses of the device to it.
    pub device: u64,
    /// Accesses that the device was refused, as it should be.
    pub refused: u64,
    /// Huge pages that CPU and device had the file mapped by, each time that the device
    /// had compared it.
    pub large: usize,
}

#[derive(Clone, Copy)]
pub struct Manner {
    /// The most bytes that the file may have.
    pub most: usize,
    /// The CPU does the device's part as well.
    pub cpu_only: bool,
    /// The mapping stays in the page tables while blocks are copied.
    pub keep_mapped: bool,
    /// ext4 may zero blocks ahead, also with DAX.
    pub zero_ahead: bool,
}

impl Manner {
    pub fn switches(self) -> String {
        let switches = [
            (" --cpu-only", self.cpu_only),
            (" --keep-mapped", self.keep_mapped),
            (" --zero-ahead", self.zero_ahead),
        ];
        switches.iter().filter(|(_, set)| *set).map(|(switch, _)| *switch).collect()
    }
}

/// The file, its model, and those who work on it.
pub struct Exercise {
    file: File,
    model: Model,
    saved: File,
    saved_model: Model,
    mapping: FileMapping,
    queue: Option<RawQueue>,
    /// Linux 7.2 warns (fs/dax.c:452) when a system call moves or copies blocks of a file
    /// that xfs has mapped with DAX, whoever has touched the mapping: it takes the page from
    /// the file before it takes it from page tables. That is so where blocks are shared with
    /// another file, or mapped by huge pages.
    may_warn: bool,
    shares: bool,
    _no_zeroing: Option<Setting>,
    manner: Manner,
    pub abilities: Abilities,
    pub tally: Tally,
}

impl Exercise {
    /// An empty file in `folder`, and nothing that `without` names.
    pub fn new(folder: &Path, manner: Manner, without: &str) -> Result<Exercise, Failure> {
        let queue =
            if manner.cpu_only { None } else { Some(RawQueue::new(&raw_queue::open()?, 16)?) };
        let file = file_in(folder, 0)?;
        let mapping = FileMapping::new(&file, manner.most)?;
        let zeroes_wrongly = mapping.synchronous && !manner.zero_ahead;
        let offered = subject::abilities(folder)?;
        Ok(Exercise {
            may_warn: mapping.synchronous && offered.reflink && !manner.keep_mapped,
            shares: false,
            _no_zeroing: if zeroes_wrongly { no_zeroing(folder)? } else { None },
            mapping,
            file,
            model: Model::default(),
            saved: file_in(folder, 0)?,
            saved_model: Model::default(),
            queue,
            manner,
            abilities: offered.without(without)?,
            tally: Tally::default(),
        })
    }

    /// Whether the mapping is one with MAP_SYNC.
    pub fn is_synchronous(&self) -> bool {
        self.mapping.synchronous
    }

    pub fn choose(&self, random: &mut Random) -> Operation {
        let (file, saved) = (self.model.len(), self.saved_model.len());
        let sizes = Sizes { file, saved, most: self.manner.most };
        Operation::choose(random, sizes, self.abilities)
    }

    /// Carries it out. Every other time that system calls change what is in the file,
    /// the device looks at the edges of the change before and after it: what is
    /// mapped before and should not be mapped after is most easily forgotten there.
    pub fn carry_out(&mut self, operation: &Operation, random: &mut Random) -> Result<(), Failure> {
        let operation = operation.clone();
        let operation = if self.manner.cpu_only { operation.by_cpu() } else { Some(operation) };
        let Some(operation) = operation else { return Ok(()) };
        let changed = operation.changed(self.model.len());
        let watched = changed.filter(|range| !range.is_empty() && random.bits() & 1 == 0);
        if let Some(range) = &watched {
            self.look_at(range)?;
        }
        let huge = self.manner.most >= HUGE_PAGE;
        if self.may_warn && operation.copies_blocks() && (self.shares || huge) {
            self.mapping.advise(0..self.manner.most, Advice::Unmap)?;
        }
        self.shares |= operation.shares_blocks();
        self.act(operation, random)?;
        if let Some(range) = &watched {
            self.look_at(range).map_err(|why| format!("right behind it, {why}"))?;
        }
        Ok(())
    }

    /// Has the device read the first and the last page of `range`.
    fn look_at(&mut self, range: &Range<usize>) -> Result<(), Failure> {
        let who = if self.queue.is_some() { Who::Device } else { Who::Cpu };
        for place in [range.start, range.end - 1] {
            let page = place / PAGE * PAGE;
            if page < self.model.len() {
                self.see(who, page..page + PAGE)?;
            }
        }
        Ok(())
    }

    /// Bytes to write come from `random`.
    fn act(&mut self, operation: Operation, random: &mut Random) -> Result<(), Failure> {
        let mut data = |length| {
            let mut bytes = vec![0; length];
            random.fill(&mut bytes);
            bytes
        };
        match operation {
            Operation::Write(range) => {
                let bytes = data(range.len());
                self.file.write_all_at(&bytes, range.start as u64)?;
                self.model.write(range.start, &bytes);
            }
            Operation::Read(range) => {
                let found = subject::read(&self.file, range.clone())?;
                same(range.start, &self.model.expect(range), &found)?;
            }
            Operation::Truncate(length) => {
                self.file.set_len(length as u64)?;
                self.model.truncate(length);
            }
            Operation::See(who, range) => self.see(who, range)?,
            Operation::Compare(range) => self.compare(range)?,
            Operation::Store(who, range) => self.store(who, range.start, &data(range.len()))?,
            Operation::Fill(range, byte) => {
                let queue = device(&mut self.queue, &mut self.tally)?;
                done(self.mapping.device_fill(queue, range.clone(), byte)?)?;
                self.model.write(range.start, &vec![byte; range.len()]);
            }
            Operation::Add(offset) => {
                let value = u64::from_le_bytes(data(8).as_slice().try_into()?);
                self.add(offset, value)?;
            }
            Operation::Beyond(attempt, offset) => self.beyond(attempt, offset)?,
            Operation::Sync(range) => self.mapping.sync(range)?,
            Operation::Forget => subject::forget(&self.file)?,
            Operation::Advise(range, advice) => self.mapping.advise(range, advice)?,
            Operation::Remap => {
                self.mapping = FileMapping::new(&self.file, self.manner.most)?;
            }
            allocation => self.allocate(&allocation)?,
        }
        Ok(())
    }

    /// The operations that move a file's blocks about.
    fn allocate(&mut self, operation: &Operation) -> Result<(), Failure> {
        use FallocateFlags as Mode;
        let call = |mode, range| subject::allocate(&self.file, mode, range);
        match operation {
            Operation::Allocate(range) => {
                call(Mode::empty(), range)?;
                self.model.grow(range.end);
            }
            Operation::Punch(range) => {
                call(Mode::FALLOC_FL_PUNCH_HOLE | Mode::FALLOC_FL_KEEP_SIZE, range)?;
                self.model.zero(range.clone());
            }
            Operation::Zero(range) => {
                call(Mode::FALLOC_FL_ZERO_RANGE, range)?;
                self.model.grow(range.end);
                self.model.zero(range.clone());
            }
            Operation::Collapse(range) => {
                call(Mode::FALLOC_FL_COLLAPSE_RANGE, range)?;
                self.model.collapse(range.clone());
            }
            Operation::Insert(range) => {
                call(Mode::FALLOC_FL_INSERT_RANGE, range)?;
                self.model.insert(range.start, range.len());
            }
            Operation::Clone(range, to) => {
                subject::reflink(&self.file, range, &self.file, *to)?;
                self.model.write(*to, &self.model.expect(range.clone()));
            }
            Operation::Save(range) => {
                subject::reflink(&self.file, range, &self.saved, range.start)?;
                self.saved_model.write(range.start, &self.model.expect(range.clone()));
            }
            Operation::Restore(range) => {
                subject::reflink(&self.saved, range, &self.file, range.start)?;
                self.model.write(range.start, &self.saved_model.expect(range.clone()));
            }
            other => return Err(format!("nothing moves blocks in: {other}").into()),
        }
        Ok(())
    }

    /// Compares all of both files by every way there is.
    pub fn check_all(&mut self) -> Result<(), Failure> {
        let all = 0..self.model.len();
        let length = self.file.metadata()?.len();
        if length != all.end as u64 {
            return Err(format!("the file has {length:#x} bytes instead of {:#x}", all.end).into());
        }
        same(0, &self.model.expect(all.clone()), &subject::read(&self.file, all.clone())?)?;
        if self.queue.is_some() {
            self.compare(0..all.end.next_multiple_of(PAGE))?;
        }
        self.see(Who::Cpu, all)?;
        let saved = 0..self.saved_model.len();
        same(0, &self.saved_model.expect(saved.clone()), &subject::read(&self.saved, saved)?)
            .map_err(|why| format!("in the other file, {why}").into())
    }

    fn see(&mut self, who: Who, range: Range<usize>) -> Result<(), Failure> {
        // Neither what was there before nor zeros may pass for what was read.
        let expected = self.model.expect(range.clone());
        let mut found: Vec<u8> = expected.iter().map(|byte| !byte).collect();
        match who {
            Who::Cpu => {
                self.tally.cpu += 1;
                self.mapping.read(range.start, &mut found)?;
            }
            Who::Device => {
                let queue = device(&mut self.queue, &mut self.tally)?;
                done(self.mapping.device_read(queue, range.start, &mut found)?)?;
            }
        }
        same(range.start, &expected, &found)
    }

    fn compare(&mut self, range: Range<usize>) -> Result<(), Failure> {
        let expected = self.model.expect(range.clone());
        let queue = device(&mut self.queue, &mut self.tally)?;
        let answer = self.mapping.device_compare(queue, range.start, &expected)?;
        self.tally.large += self.mapping.large_entries(queue)?;
        let first = usize::try_from(done(answer)?)?;
        let Some(byte) = expected.get(first) else { return Ok(()) };
        let mut found = [0];
        self.mapping.read(range.start + first, &mut found)?;
        let [now] = found;
        let offset = range.start + first;
        Err(format!(
            "at {offset:#x} expected {byte:#04x}, the device found something else; the CPU finds \
             {now:#04x}"
        )
        .into())
    }

    fn store(&mut self, who: Who, offset: usize, bytes: &[u8]) -> Result<(), Failure> {
        match who {
            Who::Cpu => {
                self.tally.cpu += 1;
                self.mapping.write(offset, bytes)?;
            }
            Who::Device => {
                let queue = device(&mut self.queue, &mut self.tally)?;
                done(self.mapping.device_write(queue, offset, bytes)?)?;
            }
        }
        self.model.write(offset, bytes);
        Ok(())
    }

    fn add(&mut self, offset: usize, value: u64) -> Result<(), Failure> {
        let expected = self.model.expect(offset..offset + 8);
        let expected = u64::from_le_bytes(expected.as_slice().try_into()?);
        let queue = device(&mut self.queue, &mut self.tally)?;
        let found = done(self.mapping.device_add(queue, offset, value)?)?;
        same(offset, &expected.to_le_bytes(), &found.to_le_bytes())?;
        self.model.write(offset, &expected.wrapping_add(value).to_le_bytes());
        Ok(())
    }

    fn beyond(&mut self, attempt: Attempt, offset: usize) -> Result<(), Failure> {
        let end = self.model.len().next_multiple_of(PAGE);
        let wanted = Answer::Refused {
            offset: offset.max(end) as u64,
            done: end.saturating_sub(offset) as u64,
        };
        let mapping = &self.mapping;
        let queue = device(&mut self.queue, &mut self.tally)?;
        let answer = match attempt {
            Attempt::Read => mapping.device_read(queue, offset, &mut [0; 8])?,
            Attempt::Write => mapping.device_write(queue, offset, &[1; 8])?,
            Attempt::Add => mapping.device_add(queue, offset, 1)?,
            Attempt::Across => {
                let mut found = vec![0; end - offset + 8];
                let answer = mapping.device_read(queue, offset, &mut found)?;
                same(offset, &self.model.expect(offset..end), &found[..end - offset])?;
                answer
            }
        };
        if answer != wanted {
            return Err(format!("expected {wanted:x?}, the device answered {answer:x?}").into());
        }
        self.tally.refused += 1;
        Ok(())
    }
}

/// The device, for one access.
fn device<'q>(
    queue: &'q mut Option<RawQueue>,
    tally: &mut Tally,
) -> Result<&'q mut RawQueue, Failure> {
    tally.device += 1;
    queue.as_mut().ok_or_else(|| "this run has no device".into())
}

/// The result of a command that should have been done.
fn done(answer: Answer) -> Result<u64, Failure> {
    match answer {
        Answer::Done(result) => Ok(result),
        Answer::Refused { offset, done } => {
            Err(format!("the device was refused at {offset:#x}, after {done:#x} bytes").into())
        }
    }
}

/// Says where `found` first differs from `expected`.
fn same(start: usize, expected: &[u8], found: &[u8]) -> Result<(), Failure> {
    match expected.iter().zip(found).position(|(left, right)| left != right) {
        None => Ok(()),
        Some(first) => {
            let (offset, wanted, got) = (start + first, expected[first], found[first]);
            let wrong = expected.iter().zip(found).filter(|(left, right)| left != right).count();
            Err(format!(
                "at {offset:#x} expected {wanted:#04x}, found {got:#04x} ({wrong} bytes differ)"
            )
            .into())
        }
    }
}
