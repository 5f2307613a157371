// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pages whose memory fails.

use crate::kind::{Kind, SMALL, Set};
use crate::stage::{Change, Stage};
use crate::system::{offer_unpoison, quiet, unpoison};
use farfault_guest_programs::kernel_files::Setting;
use farfault_guest_programs::ktap::expect;
use farfault_guest_programs::pagemap::Pagemap;
use farfault_guest_programs::{Failure, signals};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;

pub const KINDS: &[Kind] = &[Kind::new("hwpoison", poison)];

fn poison(salt: u64) -> Result<Set, Failure> {
    offer_unpoison()?;
    signals::survive(Signal::SIGBUS)?;
    let change = Poison { pagemap: Pagemap::own()?, _quiet: quiet()? };
    Set::small(salt, change)
}

/// MADV_HWPOISON of a page; then there is a new one in its place, and its frame is put back.
struct Poison {
    pagemap: Pagemap,
    /// The kernel has something to say of each.
    _quiet: Setting,
}

impl Change for Poison {
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        let page = stage.random.below(SMALL);
        let pages = page..page + 1;
        let arena = stage.arena;
        let address = arena.address(0, page);
        let frame = self.pagemap.entry(address)?.frame();
        let fail = || {
            // The page may be off its list, as somebody has it in hand: then the kernel takes it
            // from the process, and says that it could do no more.
            match arena.advise(pages.clone(), libc::MADV_HWPOISON) {
                Ok(()) | Err(Errno::EBUSY) => {}
                Err(error) => return Err(format!("MADV_HWPOISON: {error}").into()),
            }
            expect(&format!("page {page} is gone"), !self.pagemap.entry(address)?.is_present())
        };
        let replace = || {
            arena.advise(pages.clone(), libc::MADV_DONTNEED)?;
            unpoison(frame)
        };
        stage.without(&pages, fail, replace)
    }
}
