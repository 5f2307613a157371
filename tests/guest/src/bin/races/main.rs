// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `races`: the device reads, writes and does atomics on pages while another
//! thread changes what they are, as fast as it can; an oracle says of every single
//! access whether what it found may be. Prints KTAP, a line for each kind of change.
//!
//! The accesses and changes follow from the seed; how they interleave does not.

mod accessor;
mod arena;
mod cells;
mod changes;
mod kind;
mod layout;
mod oracle;
mod processes;
mod race;
mod stage;
mod stages;
mod system;

use farfault_guest_programs::ktap::{self, Outcome, Trial};
use farfault_guest_programs::options::{Options, within};
use farfault_guest_programs::program::BAD_USAGE;
use farfault_guest_programs::{Failure, counters};
use kind::Kind;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;

const USAGE: &str = "\
usage: races [--group GROUP | --change NAME,…] [--changes N] [--seed S] [--list]
  --group    all of a group, as the test suite does it: with N changes of each kind, and
             half of that of those that have a twin; else N of each
  --list     names, each with its group";

/// The driver's counters that a whole group must move.
const MOVED: &[&str] = &["retries", "coalesced", "stale_faults"];
/// One command for so many changes must overlap one, at least.
const MET: u64 = 20;

struct Plan {
    /// Names; all if there are none.
    names: Vec<String>,
    /// All if it is empty.
    group: String,
    changes: u64,
    seed: u64,
}

/// Something that can be asked for.
struct Entry {
    name: String,
    group: &'static str,
    what: What,
}

enum What {
    Kind(&'static Kind),
    Processes(&'static processes::Trial),
    Moved(&'static str),
}

fn main() -> ExitCode {
    let mut options = Options::new(std::env::args().skip(1));
    if options.switch("--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if options.switch("--list") {
        entries().for_each(|entry| println!("{} {}", entry.name, entry.group));
        return ExitCode::SUCCESS;
    }
    let plan = match plan(&mut options) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("races: {why}; see --help");
            return ExitCode::from(BAD_USAGE);
        }
    };
    println!("# seed {}", plan.seed);
    ktap::run(entries().filter(|entry| plan.has(entry)).map(|entry| trial(entry, &plan)).collect())
}

/// Stages come last: they load the driver anew, which puts its counters back to zero.
fn entries() -> impl Iterator<Item = Entry> {
    let entry = |name: &str, group, what| Entry { name: name.to_owned(), group, what };
    let kinds = changes::all().map(move |(group, kind)| entry(kind.name, group, What::Kind(kind)));
    let trials = move |group, trials: &'static [processes::Trial]| {
        trials.iter().map(move |it| entry(it.name, group, What::Processes(it)))
    };
    let moved = MOVED.iter().map(move |counter| {
        entry(&format!("{counter}_have_moved"), changes::MAPPINGS, What::Moved(counter))
    });
    let processes = trials("processes", processes::TRIALS);
    kinds.chain(processes).chain(moved).chain(trials("stages", stages::TRIALS))
}

fn plan(options: &mut Options) -> Result<Plan, Failure> {
    let words: String = options.option("--change", String::new())?;
    let plan = Plan {
        names: words.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        group: options.option("--group", String::new())?,
        changes: within("--changes", options.option("--changes", 2000)?, 1..=1 << 30)?,
        seed: options.option("--seed", 1)?,
    };
    options.finish()?;
    if !plan.group.is_empty() && entries().all(|entry| entry.group != plan.group) {
        return Err(format!("no group is called '{}', see --list", plan.group).into());
    }
    match plan.names.iter().find(|name| entries().all(|entry| entry.name != **name)) {
        Some(name) => Err(format!("no change is called '{name}', see --list").into()),
        None => Ok(plan),
    }
}

impl Plan {
    fn has(&self, entry: &Entry) -> bool {
        (self.group.is_empty() || self.group == entry.group)
            && (self.names.is_empty() || self.names.contains(&entry.name))
    }

    /// How often a kind is done.
    fn changes_of(&self, kind: &Kind) -> u64 {
        if kind.halved && !self.group.is_empty() { self.changes.div_ceil(2) } else { self.changes }
    }

    /// Seconds that a test may take, on the slowest machine.
    fn limit(&self) -> u32 {
        u32::try_from(240 + self.changes / 4).unwrap_or(u32::MAX)
    }
}

fn trial(entry: Entry, plan: &Plan) -> Trial<'_> {
    let Entry { name, what, .. } = entry;
    let again = name.clone();
    let before = match what {
        What::Moved(counter) => counters::get(counter),
        _ => Ok(0),
    };
    let run = move || match what {
        What::Kind(kind) => contend(kind, plan.changes_of(kind), plan.seed),
        What::Processes(trial) => with_processes(trial, plan),
        What::Moved(counter) => moved_from(counter, before?),
    };
    let told = move |why| {
        let Plan { changes, seed, .. } = plan;
        format!("{why}; again with: races --change {again} --changes {changes} --seed {seed}")
            .into()
    };
    Trial::new(name, move || run().map_err(told)).limited(plan.limit())
}

fn contend(kind: &Kind, changes: u64, seed: u64) -> Outcome {
    let done = race::run(kind, 0, changes, seed, &AtomicU64::new(0))?;
    let tally = done.tally;
    println!(
        "# {}: {} changes, {} commands, {} refused, {} overlapped by a change",
        kind.name, done.changes, tally.commands, tally.refused, tally.overlapped
    );
    ktap::expect("commands met the changes", tally.overlapped * MET >= changes)
}

fn with_processes(trial: &processes::Trial, plan: &Plan) -> Outcome {
    let done = (trial.run)(plan.changes, plan.seed)?;
    println!("# {}: {done}", trial.name);
    Ok(())
}

fn moved_from(name: &str, before: u64) -> Outcome {
    let now = counters::get(name)?;
    println!("# {name}: {before} before, {now} now");
    ktap::expect(&format!("{name} has moved from {before}"), now > before)
}
