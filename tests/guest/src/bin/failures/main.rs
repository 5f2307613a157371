// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `failures [I/N | SITE…]`: at each place where the driver allocates, each allocation fails in turn
//! while something short is done that comes there. It then ends in a clear error, or is done
//! all the same; and it can be done afterwards, and nothing is left behind. Prints KTAP.
//!
//! Needs a kernel with fault injection and its filter by stack trace, the driver with its
//! parameter `dmirror=1`, and nobody else who uses the device. `--list` names the sites; `I/N`
//! is the I-th of N parts of them.

mod aim;
mod round;
mod sites;
mod symbols;
mod work;

use crate::aim::Aim;
use crate::round::{End, Round};
use crate::sites::{SITES, Site};
use crate::symbols::Symbols;
use farfault_guest_programs::children::Child;
use farfault_guest_programs::counters::{await_gauges, gauges};
use farfault_guest_programs::ktap::{self, Outcome, Skip, Trial, expect};
use farfault_guest_programs::program::{BAD_USAGE, FAILED};
use std::process::ExitCode;

/// Seconds that the rounds of a site may take.
const LIMIT: u32 = 300;
/// More allocations than these are of something that does not end.
const ROUNDS: u32 = 2000;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.iter().any(|name| name == "--list") {
        SITES.iter().for_each(|site| println!("{}", site.name));
        return ExitCode::SUCCESS;
    }
    let wanted = match choose(&names) {
        Ok(wanted) => wanted,
        Err(name) => {
            eprintln!("failures: '{name}' is neither I/N nor a site; --list shows which there are");
            return ExitCode::from(BAD_USAGE);
        }
    };
    // The driver may be bound anew meanwhile, but stays where it is.
    let symbols = match Symbols::read() {
        Ok(symbols) => symbols,
        Err(why) => {
            eprintln!("failures: {why}");
            return ExitCode::from(FAILED);
        }
    };
    let trial =
        |site: &'static Site| Trial::new(site.name, || in_turn(site, &symbols)).limited(LIMIT);
    ktap::run(wanted.into_iter().map(trial).collect())
}

/// The sites of a command line, or the word that is none.
fn choose(words: &[String]) -> Result<Vec<&'static Site>, &str> {
    if let [part] = words
        && let Some((part, parts)) = part_of(part)
    {
        return Ok(SITES.iter().skip(part - 1).step_by(parts).collect());
    }
    if words.is_empty() { Ok(SITES.iter().collect()) } else { words.iter().map(named).collect() }
}

fn named(word: &String) -> Result<&'static Site, &str> {
    SITES.iter().find(|site| site.name == word).ok_or(word)
}

/// Reads `I/N`.
fn part_of(word: &str) -> Option<(usize, usize)> {
    let (part, parts) = word.split_once('/')?;
    let (part, parts) = (part.parse().ok()?, parts.parse().ok()?);
    (1..=parts).contains(&part).then_some((part, parts))
}

/// Has each allocation of the site fail, until one more than there are was to.
fn in_turn(site: &Site, symbols: &Symbols) -> Outcome {
    if !Aim::is_possible() {
        let needs =
            "CONFIG_FAULT_INJECTION_STACKTRACE_FILTER, CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC";
        return Err(Skip(format!("the kernel lacks one of {needs}")).into());
    }
    let before = gauges()?;
    let (mut refused, mut done) = (0, 0);
    for number in 1..ROUNDS {
        let aim = Aim::at(symbols, site.function, site.spared)?;
        let round = Round::new(number, symbols)?;
        let child = Child::start(|| (site.work)(&round))?;
        child.succeed().map_err(|why| format!("allocation {number}: {why}"))?;
        drop(aim);
        await_gauges(before).map_err(|why| format!("allocation {number}: {why}"))?;
        match round.end()? {
            End::Refused => refused += 1,
            End::Done => done += 1,
            End::NoneLeft => {
                println!("# {refused} ended in an error, {done} were done all the same");
                expect("an allocation has failed here", refused + done > 0)?;
                return expect("one of them means an error", refused > 0 || !site.refuses);
            }
        }
    }
    Err(format!("{ROUNDS} allocations, and no end of them").into())
}
