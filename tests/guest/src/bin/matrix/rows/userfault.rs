// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rows of memory whose faults a handler of the program's serves: userfaultfd.

use crate::calls::{MADV_NORMAL, MAP_SHARED, READ_WRITE, Span};
use crate::environment::Environment;
use crate::model::{Kind, Mapped, PAGE, STAMP, Sample, Subject};
use crate::row::Rule::{Refused, Senseless};
use crate::row::{Made, Row};
use crate::rows::LOSSES;
use crate::rows::anonymous::{fresh, written};
use crate::rows::files::{of_stamped, stamp_file};
use farfault_guest_programs::Failure;
use farfault_guest_programs::ktap::expect;
use farfault_guest_programs::memory::memory_file;
use farfault_guest_programs::userfault::{Mode, Userfault};
use nix::Result as Called;
use nix::errno::Errno;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

pub const ROWS: &[Row] = &[
    Row::new("uffd-missing", "pages that a handler fills", Kind::Anonymous, missing)
        .faulted()
        .checked(handler_was_asked)
        .but(&[
            (LOSSES, Senseless("nothing but anonymous matters here")),
            (&["collapse"], Refused(Errno::EBUSY)),
            (&["split"], Senseless("nothing huge can be made of it")),
        ]),
    Row::new("uffd-minor", "page cache that a handler maps", Kind::Shmem, minor)
        .shared()
        .faulted()
        .checked(handler_was_asked),
    Row::new("uffd-wp", "write-protected until a handler allows it", Kind::Anonymous, protected)
        .read_first()
        .faulted()
        .checked(handler_was_asked)
        .but(&[
            (LOSSES, Senseless("nothing but anonymous matters here")),
            (&["collapse"], Refused(Errno::EINVAL)),
            (&["split"], Senseless("nothing huge can be made of it")),
        ]),
];

/// Faults that the handlers of this process have served.
static SERVED: AtomicU64 = AtomicU64::new(0);

fn handler_was_asked(_: &Subject) -> Result<(), Failure> {
    expect("the handler was asked", SERVED.load(Ordering::Relaxed) > 0)
}

/// Serves faults with `serve` until the process ends.
fn handle(userfault: Userfault, serve: impl Fn(&Userfault, u64) -> Called<()> + Send + 'static) {
    std::thread::spawn(move || {
        while let Ok(page) = userfault.next() {
            SERVED.fetch_add(1, Ordering::Relaxed);
            // Whoever waits for a page that could not be had is ended by the
            // cell's time limit; the reason is told here.
            if let Err(why) = insist(&userfault, &serve, page) {
                eprintln!("userfaultfd handler at {page:#x}: {why}");
            }
        }
    });
}

/// As long as the address space is being changed it has to be tried again; a
/// page that is there by then is as good.
fn insist(
    userfault: &Userfault,
    serve: &impl Fn(&Userfault, u64) -> Called<()>,
    page: u64,
) -> Called<()> {
    loop {
        match serve(userfault, page) {
            Err(Errno::EAGAIN) => std::thread::yield_now(),
            Err(Errno::EEXIST) => return userfault.wake(page),
            other => return other,
        }
    }
}

/// A userfaultfd in charge of `span`.
fn in_charge(span: Span, mode: Mode) -> Result<Userfault, Failure> {
    let userfault = Userfault::open().map_err(|errno| format!("userfaultfd: {errno}"))?;
    userfault.register(span.start, span.length as usize, mode)?;
    Ok(userfault)
}

/// What the handler fills a page with: the word of the sample in it, if any.
fn page_at(samples: &[Sample], address: u64) -> [u8; PAGE as usize] {
    let mut page = [0; PAGE as usize];
    if let Some(sample) = samples.iter().find(|sample| sample.at == address) {
        page[STAMP as usize..][..8].copy_from_slice(&sample.original.to_ne_bytes());
    }
    page
}

fn missing(_: &Environment, row: &Row, length: u64) -> Made {
    let subject = fresh(row, length, MADV_NORMAL)?.stamped(1).originally();
    let userfault = in_charge(subject.span, Mode::Missing)?;
    let samples = subject.samples.clone();
    handle(userfault, move |userfault, page| userfault.bring(page, &page_at(&samples, page)));
    Ok(subject)
}

fn minor(_: &Environment, row: &Row, length: u64) -> Made {
    let file = memory_file(length)?;
    // Every page is in the page cache, or its fault would not be a minor one.
    for page in 0..length / PAGE {
        file.write_all_at(&[0; 8], page * PAGE)?;
    }
    stamp_file(&file, length)?;
    let subject = of_stamped(file, row, length, READ_WRITE, MAP_SHARED)?;
    handle(in_charge(subject.span, Mode::Minor)?, |userfault, page| userfault.map(page));
    Ok(subject)
}

fn protected(_: &Environment, row: &Row, length: u64) -> Made {
    let mut subject = written(fresh(row, length, MADV_NORMAL)?)?;
    let userfault = in_charge(subject.span, Mode::WriteProtected)?;
    userfault.protect(subject.span.start, subject.span.length as usize, true)?;
    handle(userfault, |userfault, page| userfault.protect(page, PAGE as usize, false));
    subject.reading_maps(Mapped::No);
    Ok(subject)
}
