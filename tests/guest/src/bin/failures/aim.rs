// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which allocations are to fail: those below a function of the driver's
//! (Documentation/fault-injection).

use crate::symbols::Symbols;
use farfault_guest_programs::Failure;
use farfault_guest_programs::kernel_files::{number, write};
use farfault_guest_programs::ktap::Outcome;
use std::ops::Range;
use std::path::Path;

const OBJECTS: &str = "failslab";
const PAGES: &str = "fail_page_alloc";
const KINDS: [&str; 2] = [OBJECTS, PAGES];

/// All allocations, whatever they may wait for; nothing is told of one that fails.
const ALL: [(&str, &str); 6] = [
    ("ignore-gfp-wait", "N"),
    ("probability", "0"),
    ("interval", "1"),
    ("verbose", "0"),
    ("space", "0"),
    ("stacktrace-depth", "32"),
];
const ALL_PAGES: [(&str, &str); 2] = [("ignore-gfp-highmem", "N"), ("min-order", "0")];

/// While it is there, only what it is at can fail.
pub struct Aim(());

impl Aim {
    /// Whether the kernel can do such a thing.
    pub fn is_possible() -> bool {
        KINDS.iter().all(|kind| Path::new(&path(kind, "require-start")).exists())
    }

    /// At `function`, but not at what is below the function `spared`.
    pub fn at(symbols: &Symbols, function: &str, spared: &str) -> Result<Self, Failure> {
        // The kernel may lack what is to be spared.
        let spared = symbols.range(spared).unwrap_or(0..0);
        for kind in KINDS {
            ALL.iter().try_for_each(|(file, text)| write(&path(kind, file), text))?;
            limit(kind, "require", &symbols.range(function)?)?;
            limit(kind, "reject", &spared)?;
        }
        ALL_PAGES.iter().try_for_each(|(file, text)| write(&path(PAGES, file), text))?;
        Ok(Self(()))
    }
}

impl Drop for Aim {
    fn drop(&mut self) {
        // Nobody is to fail any more; it can be said again.
        let _ = write(&path(PAGES, "probability"), "0");
    }
}

/// Has a page fail that is allocated below `function`, but not below `spared`, and the next one,
/// too. These are two: the kernel counts the one that `fail-nth` picks as well.
pub fn page_after_page(symbols: &Symbols, function: &str, spared: &str) -> Outcome {
    limit(PAGES, "require", &symbols.range(function)?)?;
    limit(PAGES, "reject", &symbols.range(spared)?)?;
    write(&path(PAGES, "times"), "2")?;
    write(&path(PAGES, "probability"), "100")
}

/// Whether the second page has failed.
pub fn second_page_failed() -> Result<bool, Failure> {
    Ok(number(&path(PAGES, "times"))? == 0)
}

fn limit(kind: &str, which: &str, range: &Range<u64>) -> Outcome {
    write(&path(kind, &format!("{which}-start")), &format!("{:#x}", range.start))?;
    write(&path(kind, &format!("{which}-end")), &format!("{:#x}", range.end))
}

fn path(kind: &str, file: &str) -> String {
    format!("/sys/kernel/debug/{kind}/{file}")
}
