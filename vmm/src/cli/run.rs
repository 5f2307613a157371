// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a planned guest under the hosting that fits, and says how it ended.

use super::dry;
use super::options::{Accel, VmArgs};
use super::plan::{Plan, machine_failure};
use super::request::Request;
use super::stats_file::StatsFile;
use crate::exit::{Failure, HOST_LACKS, chain};
use crate::machine::{Handle, Machine};
use crate::nested::NestedError;
use crate::output::{print, tell};
use crate::probe;
use crate::session::{Guest, RunEnd, Session, SessionOptions, SessionResult, connect};
use crate::stats::{self, Counters, Recorder, Report, Sample};
use serde::Serialize;
use std::io::{self, IsTerminal};
use std::time::Duration;

/// So many kinds of exits are shown by one `-v`, the most frequent first.
const FREQUENT_EXITS: usize = 20;

/// Starts the guest that is asked for, or prints what would be started.
pub fn run(request: &Request) -> Result<u8, Failure> {
    let (args, plan) = (&request.vm, Plan::new(request)?);
    let stats = args.stats_json.as_deref().map(StatsFile::open).transpose()?;
    if nested(args) { run_nested(args, &plan, stats) } else { run_on_kvm(args, &plan, stats) }
}

fn run_on_kvm(args: &VmArgs, plan: &Plan, stats: Option<StatsFile>) -> Result<u8, Failure> {
    let spec = plan.machine()?;
    if args.dry_run {
        Machine::check(&spec).map_err(machine_failure)?;
        return print(&dry::machine(&spec)).map(|()| 0);
    }
    let mut session = session(args, plan, false)?;
    let (ends, ports) = connect().map_err(Failure::vmm)?;
    let machine = Machine::build(&spec, ports).map_err(machine_failure)?;
    drop(spec);
    let guest = machine.handle();
    let mut recorder = Recorder::new("kvm");
    let runner = Box::new(|| machine.run().map_err(|error| chain(&error)));
    let result = session.attend(ends, &guest, runner, &mut recorder).map_err(Failure::vmm)?;
    drop(session);
    if args.verbose > 0 {
        let histogram = guest.histogram();
        let rows = if args.verbose > 1 { usize::MAX } else { FREQUENT_EXITS };
        histogram.lines().take(rows).for_each(tell);
    }
    let report = recorder.report(Guest::counters(&guest));
    finish(args, &result, &report, stats, "")
}

fn run_nested(args: &VmArgs, plan: &Plan, stats: Option<StatsFile>) -> Result<u8, Failure> {
    let first = plan.first_guest()?;
    if args.dry_run {
        return print(&dry::nested(&first)).map(|()| 0);
    }
    if args.verbose > 0 {
        let words = dry::quoted(&first.words());
        progress(args, &format!("QEMU {} as {words}", first.qemu.version));
    }
    let mut session = session(args, plan, true)?;
    let mut recorder = Recorder::new("nested");
    let result = first.run(&mut session, &mut recorder).map_err(nested_failure)?;
    drop(session);
    let report = recorder.report(Sample::default());
    let code = finish(args, &result, &report, stats, "nested mode's first guest: ")?;
    // A QEMU that never came to run the guest is this host's, and not ours.
    let never_ran = !result.started && matches!(result.end, RunEnd::Failed(_));
    Ok(if never_ran { HOST_LACKS } else { code })
}

/// Whether KVM cannot be used.
fn nested(args: &VmArgs) -> bool {
    match args.accel {
        Accel::Kvm => false,
        _ if args.in_first_guest => true,
        Accel::Nested => true,
        Accel::Auto => match probe::kvm() {
            Ok(()) => false,
            Err(why) => {
                progress(args, &format!("no usable KVM, so nested mode: {why}"));
                true
            }
        },
    }
}

fn session(args: &VmArgs, plan: &Plan, first_guest: bool) -> Result<Session, Failure> {
    // In a first guest another session is held. Inside, the time limit counts from the second
    // guest's start, and its end shows that guest's log; outside it only has to come later.
    let grace = if first_guest { args.boot_timeout } else { Duration::ZERO };
    let options = SessionOptions {
        raw: plan.raw,
        console: args.console && !first_guest,
        no_input: args.no_input,
        first_guest,
        serial: args.verbose > 1,
        boot_limit: args.boot_timeout,
        run_limit: args.timeout.map(|limit| limit.saturating_add(grace)),
    };
    Session::of_process(options).map_err(Failure::vmm)
}

impl Guest for Handle {
    fn stop(&self) {
        self.stop();
    }

    fn mark_started(&self) {
        self.mark_started();
    }

    fn counters(&self) -> Sample {
        Sample {
            device: counters(&self.device_counters()),
            driver: Counters::new(),
            vmm: counters(&self.machine_counters()),
        }
    }
}

/// A struct of counters, by name.
fn counters(all: &impl Serialize) -> Counters {
    // Plain structs of numbers always have a JSON form, and are maps of numbers in it.
    let value = serde_json::to_value(all).and_then(serde_json::from_value);
    value.unwrap_or_default()
}

fn nested_failure(error: NestedError) -> Failure {
    match error {
        NestedError::Start(..) => Failure::host_lacks(error),
        NestedError::Pmem(error) => machine_failure(error.into()),
        _ => Failure::vmm(error),
    }
}

/// Tells what is to be told, and gives the exit code.
fn finish(
    args: &VmArgs,
    result: &SessionResult,
    report: &Report,
    stats: Option<StatsFile>,
    whose: &str,
) -> Result<u8, Failure> {
    for complaint in &result.complaints {
        tell(&format!("farfault: a line on the guest's control port is no message: {complaint}"));
    }
    if !result.end.was_wanted() {
        if result.end.explained_by_serial() && !args.console && args.verbose < 2 {
            result.serial_tail.iter().for_each(|line| tell(&format!("  | {line}")));
        }
        tell(&format!("farfault: {whose}{}", result.end));
    }
    if args.stats {
        tell(&stats::table(report));
    }
    if let Some(file) = stats {
        let json = serde_json::to_string_pretty(report).map_err(Failure::vmm)?;
        file.write(&format!("{json}\n"))?;
    }
    Ok(result.end.code())
}

/// Says what is done, where someone wants to know.
fn progress(args: &VmArgs, line: &str) {
    if args.verbose > 0 || !args.quiet && io::stderr().is_terminal() {
        tell(&format!("farfault: {line}"));
    }
}
