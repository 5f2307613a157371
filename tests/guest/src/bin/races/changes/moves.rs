// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pages that are moved out, and others moved in, by UFFDIO_MOVE. Whoever asks for one
//! that is out waits for the next.

use crate::arena::Backing;
use crate::kind::{Kind, SMALL, Set};
use crate::layout::{STAMPS, WORDS};
use crate::stage::{Change, Stage};
use farfault_guest_programs::memory::{MADV_DONTNEED, PAGE, Region};
use farfault_guest_programs::userfault::{Mode, Userfault};
use farfault_guest_programs::{Failure, views};
use nix::errno::Errno;

pub const KINDS: &[Kind] = &[Kind::new("userfault_move", exchange)];

/// How often a page is asked to move that somebody has in hand.
const TRIES: usize = 100_000;

fn exchange(salt: u64) -> Result<Set, Failure> {
    let (out, userfault) = Userfault::missing(PAGE)?;
    let next = Region::small_pages(PAGE)?;
    let change = Exchange { userfault, out, next, registered: false };
    Set::new(salt, Backing::Brought, SMALL, change)
}

struct Exchange {
    userfault: Userfault,
    /// Where a page of the arena goes.
    out: Region,
    /// What comes in its place.
    next: Region,
    /// Whether the arena is the handler's, which it is once its pages are there.
    registered: bool,
}

impl Change for Exchange {
    fn step(&mut self, stage: &mut Stage<'_>) -> Result<(), Failure> {
        if !self.registered {
            self.userfault.register(stage.arena.address(0, 0), SMALL * PAGE, Mode::Missing)?;
            self.registered = true;
        }
        let pages = stage.choose();
        for page in pages.clone() {
            let here = stage.arena.address(0, page);
            stage.ledger.announce(page..page + 1);
            let words = views::words_mut(&mut self.next);
            words[..WORDS].fill(0);
            STAMPS.iter().for_each(|&word| words[word] = stage.ledger.stamp(page));
            self.moves(here, self.out.address(), page)?;
            self.moves(self.next.address(), here, page)?;
            stage.ledger.publish(page..page + 1);
            // Its frame is for others now.
            self.out.advise(MADV_DONTNEED)?;
        }
        let page = stage.one_of(&pages);
        stage.add(page)?;
        stage.probe.seen(0, page)
    }
}

impl Exchange {
    fn moves(&self, from: u64, to: u64, page: usize) -> Result<(), Failure> {
        for _ in 0..TRIES {
            match self.userfault.move_page(from, to) {
                Err(Errno::EAGAIN | Errno::EBUSY) => std::thread::yield_now(),
                done => {
                    return done.map_err(|why| format!("page {page} does not move: {why}").into());
                }
            }
        }
        Err(format!("page {page} does not move: somebody has it in hand all the time").into())
    }
}
