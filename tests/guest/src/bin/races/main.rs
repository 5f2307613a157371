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
mod layout;
mod oracle;
mod processes;
mod race;
mod stage;
mod stages;
mod system;

use changes::{KINDS, Kind};
use farfault_guest_programs::Failure;
use farfault_guest_programs::counters;
use farfault_guest_programs::ktap::{self, Outcome, Trial};
use farfault_guest_programs::options::{Options, within};
use farfault_guest_programs::program::BAD_USAGE;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;

const USAGE: &str = "races [--change NAMES] [--changes N] [--seed S] [--list]";

/// The driver's counters that a whole run must move.
const MOVED: [&str; 3] = ["retries", "coalesced", "stale_faults"];

struct Plan {
    /// Names, or "all".
    names: Vec<String>,
    changes: u64,
    seed: u64,
}

fn main() -> ExitCode {
    let mut options = Options::new(std::env::args().skip(1));
    if options.switch("--list") {
        names().for_each(|name| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let plan = match plan(&mut options) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("races: {why}; usage: {USAGE}");
            return ExitCode::from(BAD_USAGE);
        }
    };
    println!("# seed {}", plan.seed);
    ktap::run(trials(&plan))
}

fn plan(options: &mut Options) -> Result<Plan, Failure> {
    let words: String = options.option("--change", "all".to_owned())?;
    let plan = Plan {
        names: words.split(',').map(str::to_owned).collect(),
        changes: within("--changes", options.option("--changes", 2000)?, 1..=1 << 30)?,
        seed: options.option("--seed", 1)?,
    };
    options.finish()?;
    let known = |wanted: &str| wanted == "all" || names().any(|name| name == wanted);
    if let Some(name) = plan.names.iter().find(|name| !known(name)) {
        return Err(format!("no change is called '{name}'; see --list").into());
    }
    Ok(plan)
}

fn names() -> impl Iterator<Item = String> {
    let kinds = KINDS.iter().map(|kind| kind.name.to_owned());
    let named = |trial: &processes::Trial| trial.name.to_owned();
    let moved = MOVED.iter().map(|counter| has_moved(counter));
    kinds
        .chain(processes::TRIALS.iter().map(named))
        .chain(moved)
        .chain(stages::TRIALS.iter().map(named))
}

fn has_moved(counter: &str) -> String {
    format!("{counter}_have_moved")
}

fn trials(plan: &Plan) -> Vec<Trial<'_>> {
    let wanted = |name: &str| plan.names.iter().any(|word| word == "all" || word == name);
    let kinds = KINDS.iter().filter(|kind| wanted(kind.name));
    let moved = MOVED.into_iter().filter(|counter| wanted(&has_moved(counter)));
    let with_processes = |trials: &'static [processes::Trial]| {
        let trials = trials.iter().filter(|trial| wanted(trial.name));
        trials.map(|trial| Trial::new(trial.name, move || with_processes(trial, plan)))
    };
    kinds
        .map(|kind| Trial::new(kind.name, move || contend(kind, plan)))
        .chain(with_processes(&processes::TRIALS))
        .chain(moved.map(|counter| {
            let before = counters::get(counter);
            Trial::new(has_moved(counter), move || moved_from(counter, before?))
        }))
        // Last, as they begin with new counters.
        .chain(with_processes(&stages::TRIALS))
        .collect()
}

fn contend(kind: &Kind, plan: &Plan) -> Outcome {
    let done = race::run(kind, 0, plan.changes, plan.seed, &AtomicU64::new(0))
        .map_err(|why| told(kind.name, plan, &why))?;
    let tally = done.tally;
    println!(
        "# {}: {} changes, {} commands, {} refused, {} overlapped by a change",
        kind.name, done.changes, tally.commands, tally.refused, tally.overlapped
    );
    Ok(())
}

fn with_processes(trial: &processes::Trial, plan: &Plan) -> Outcome {
    let done = (trial.run)(plan.changes, plan.seed).map_err(|why| told(trial.name, plan, &why))?;
    println!("# {}: {done}", trial.name);
    Ok(())
}

fn told(name: &str, plan: &Plan, why: &Failure) -> Failure {
    let Plan { changes, seed, .. } = plan;
    format!("{name}: {why}; again with: races --change {name} --changes {changes} --seed {seed}")
        .into()
}

fn moved_from(name: &str, before: u64) -> Outcome {
    let now = counters::get(name)?;
    println!("# {name}: {before} before, {now} now");
    ktap::expect(&format!("{name} has moved from {before}"), now > before)
}
