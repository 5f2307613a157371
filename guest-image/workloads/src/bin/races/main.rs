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
mod system;

use changes::{KINDS, Kind};
use farfault_workloads::Failure;
use farfault_workloads::counters;
use farfault_workloads::ktap::{self, Outcome, Trial};
use farfault_workloads::options::{Options, within};
use farfault_workloads::program::BAD_USAGE;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;

const USAGE: &str = "races [--change NAME] [--changes N] [--seed S] [--list]";

/// The driver's counters that a whole run must move.
const MOVED: [&str; 3] = ["retries", "coalesced", "stale_faults"];

struct Plan {
    change: String,
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
    let plan = Plan {
        change: options.option("--change", "all".to_owned())?,
        changes: within("--changes", options.option("--changes", 2000)?, 1..=1 << 30)?,
        seed: options.option("--seed", 1)?,
    };
    options.finish()?;
    if plan.change != "all" && names().all(|name| name != plan.change) {
        return Err(format!("no change is called '{}'; see --list", plan.change).into());
    }
    Ok(plan)
}

fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name).chain(processes::TRIALS.iter().map(|trial| trial.name))
}

fn trials(plan: &Plan) -> Vec<Trial<'_>> {
    let all = plan.change == "all";
    let wanted = |name: &str| all || name == plan.change;
    let kinds = KINDS.iter().filter(|kind| wanted(kind.name));
    let processes = processes::TRIALS.iter().filter(|trial| wanted(trial.name));
    let mut trials: Vec<Trial<'_>> = kinds
        .map(|kind| Trial::new(kind.name, move || contend(kind, plan)))
        .chain(processes.map(|trial| Trial::new(trial.name, move || with_processes(trial, plan))))
        .collect();
    if all {
        for name in MOVED {
            let before = counters::get(name);
            trials.push(Trial::new(format!("{name}_have_moved"), move || moved(name, before?)));
        }
    }
    trials
}

fn contend(kind: &Kind, plan: &Plan) -> Outcome {
    let changes = plan.changes.div_ceil(kind.cost);
    let done = race::run(kind, 0, changes, plan.seed, &AtomicU64::new(0))
        .map_err(|why| told(kind.name, plan, &why))?;
    let tally = done.tally;
    println!(
        "# {}: {} changes, {} commands, {} refused, {} overlapped by a change",
        kind.name, done.changes, tally.commands, tally.refused, tally.overlapped
    );
    Ok(())
}

fn with_processes(trial: &processes::Trial, plan: &Plan) -> Outcome {
    (trial.run)(plan.changes, plan.seed).map_err(|why| told(trial.name, plan, &why))
}

fn told(name: &str, plan: &Plan, why: &Failure) -> Failure {
    let Plan { changes, seed, .. } = plan;
    format!("{name}: {why}; again with: races --change {name} --changes {changes} --seed {seed}")
        .into()
}

fn moved(name: &str, before: u64) -> Outcome {
    let now = counters::get(name)?;
    println!("# {name}: {before} before, {now} now");
    ktap::expect(&format!("{name} has moved from {before}"), now > before)
}
