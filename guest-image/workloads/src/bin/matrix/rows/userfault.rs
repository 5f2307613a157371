// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rows of memory whose faults a handler of the program's serves: userfaultfd.
#![allow(unsafe_code, reason = "userfaultfd has no safe interface")]

use crate::calls::{self, MAP_SHARED, READ_WRITE, Source, Span};
use crate::environment::Environment;
use crate::model::{HUGE, Kind, Mapped, PAGE, STAMP, Sample, Subject, offsets, stamp};
use crate::row::Row;
use crate::rows::anonymous::{fresh, written};
use farfault_workloads::Failure;
use farfault_workloads::ktap::expect;
use farfault_workloads::memory::memory_file;
use nix::Result as Called;
use nix::errno::Errno;
use nix::libc::{self, c_ulong};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

pub const ROWS: &[Row] = &[
    Row::new("uffd-missing", "pages that a handler fills", Kind::Anonymous, missing)
        .faulted()
        .checked(handler_was_asked),
    Row::new("uffd-minor", "page cache that a handler maps", Kind::Shmem, minor)
        .shared()
        .faulted()
        .checked(handler_was_asked),
    Row::new("uffd-wp", "write-protected until a handler allows it", Kind::Anonymous, protected)
        .read_first()
        .faulted()
        .checked(handler_was_asked),
];

// linux/userfaultfd.h
const UFFDIO_API: c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: c_ulong = 0xc020_aa00;
const UFFDIO_WAKE: c_ulong = 0x8010_aa02;
const UFFDIO_COPY: c_ulong = 0xc028_aa03;
const UFFDIO_WRITEPROTECT: c_ulong = 0xc018_aa06;
const UFFDIO_CONTINUE: c_ulong = 0xc020_aa07;
const UFFD_API: u64 = 0xaa;
const FEATURE_MINOR_SHMEM: u64 = 1 << 10;
const MODE_MISSING: u64 = 1;
const MODE_WP: u64 = 2;
const MODE_MINOR: u64 = 4;
const EVENT_PAGEFAULT: u8 = 0x12;

/// Faults that the handlers of this process have served.
static SERVED: AtomicU64 = AtomicU64::new(0);

fn handler_was_asked(_: &Subject) -> Result<(), Failure> {
    expect("the handler was asked", SERVED.load(Ordering::Relaxed) > 0)
}

/// A userfaultfd of this process.
struct Userfault {
    file: File,
}

impl Userfault {
    fn new() -> Result<Self, Failure> {
        // SAFETY: takes flags only.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        let fd = Errno::result(fd).map_err(|errno| format!("userfaultfd: {errno}"))?;
        // SAFETY: a new descriptor that nobody else has.
        let file = unsafe { File::from_raw_fd(fd as i32) };
        let new = Self { file };
        new.call(UFFDIO_API, [UFFD_API, FEATURE_MINOR_SHMEM, 0])?;
        Ok(new)
    }

    fn call<const N: usize>(&self, request: c_ulong, mut words: [u64; N]) -> Called<()> {
        // SAFETY: the words are the structure that the request takes.
        let result = unsafe { libc::ioctl(self.file.as_raw_fd(), request, words.as_mut_ptr()) };
        Errno::result(result).map(drop)
    }

    fn register(&self, span: Span, mode: u64) -> Called<()> {
        self.call(UFFDIO_REGISTER, [span.start, span.length, mode, 0])
    }

    fn protect(&self, span: Span, mode: u64) -> Called<()> {
        self.call(UFFDIO_WRITEPROTECT, [span.start, span.length, mode])
    }

    /// As long as the address space is being changed it has to be tried again; a
    /// page that is there by then is as good.
    fn serve(&self, serve: &impl Fn(&Self, u64) -> Called<()>, page: u64) -> Called<()> {
        loop {
            match serve(self, page) {
                Err(Errno::EAGAIN) => std::thread::yield_now(),
                Err(Errno::EEXIST) => return self.call(UFFDIO_WAKE, [page, PAGE]),
                other => return other,
            }
        }
    }

    /// Serves faults with `serve` until the process ends.
    fn handle(self, serve: impl Fn(&Self, u64) -> Called<()> + Send + 'static) {
        std::thread::spawn(move || {
            let mut message = [0; 32];
            while (&self.file).read_exact(&mut message).is_ok() {
                let mut address = [0; 8];
                address.copy_from_slice(&message[16..24]);
                let page = u64::from_le_bytes(address) / PAGE * PAGE;
                if message[0] != EVENT_PAGEFAULT {
                    continue;
                }
                SERVED.fetch_add(1, Ordering::Relaxed);
                // Whoever waits for a page that could not be had is ended by the
                // cell's time limit; the reason is told here.
                if let Err(why) = self.serve(&serve, page) {
                    eprintln!("userfaultfd handler at {page:#x}: {why}");
                }
            }
        });
    }
}

/// What the handler fills a page with: the word of the sample in it, if any.
fn page_at(samples: &[Sample], address: u64) -> [u64; PAGE as usize / 8] {
    let mut words = [0; PAGE as usize / 8];
    if let Some(sample) = samples.iter().find(|sample| sample.at == address) {
        words[STAMP as usize / 8] = sample.original;
    }
    words
}

fn missing(_: &Environment, row: &Row, length: u64) -> Result<Subject, Failure> {
    let subject = fresh(row, length, calls::MADV_NORMAL)?.stamped(1).originally();
    let userfault = Userfault::new()?;
    userfault.register(subject.span, MODE_MISSING)?;
    let samples = subject.samples.clone();
    userfault.handle(move |userfault, address| {
        let page = page_at(&samples, address);
        let source = page.as_ptr().expose_provenance() as u64;
        userfault.call(UFFDIO_COPY, [address, source, PAGE, 0, 0])
    });
    Ok(subject)
}

fn minor(_: &Environment, row: &Row, length: u64) -> Result<Subject, Failure> {
    let file = memory_file(length)?;
    // Every page is in the page cache, or its fault would not be a minor one.
    for page in 0..length / PAGE {
        file.write_all_at(&[0; 8], page * PAGE)?;
    }
    for (number, offset) in (0..).zip(offsets(length)) {
        file.write_all_at(&stamp(1, number).to_le_bytes(), offset + STAMP)?;
    }
    let alignment = if length >= HUGE { HUGE } else { row.leaf };
    let span = calls::map(length, alignment, READ_WRITE, MAP_SHARED, Source::File(&file))?;
    let mut subject = Subject::new(span, row.kind, true, row.leaf).stamped(1).originally();
    subject.file = Some(file);
    let userfault = Userfault::new()?;
    userfault.register(span, MODE_MINOR)?;
    userfault.handle(|userfault, address| userfault.call(UFFDIO_CONTINUE, [address, PAGE, 0, 0]));
    Ok(subject)
}

fn protected(_: &Environment, row: &Row, length: u64) -> Result<Subject, Failure> {
    let mut subject = written(fresh(row, length, calls::MADV_NORMAL)?)?;
    let userfault = Userfault::new()?;
    userfault.register(subject.span, MODE_WP)?;
    userfault.protect(subject.span, 1)?;
    userfault.handle(|userfault, start| userfault.protect(Span { start, length: PAGE }, 0));
    subject.reading_maps(Mapped::No);
    Ok(subject)
}
