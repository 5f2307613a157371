// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a planned guest under the hosting that fits, and says how it ended.

use super::dry;
use super::options::{Accel, VmArgs};
use super::plan::{Plan, machine_failure};
use crate::exit::{Failure, HOST_LACKS, chain};
use crate::machine::{Machine, Observer, Stopper};
use crate::nested::NestedError;
use crate::probe;
use crate::session::{Guest, RunEnd, Session, SessionOptions, SessionResult, connect};
use crate::stats::{self, Counted, Recorder};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// So many kinds of exits are shown by one `-v`, the most frequent first.
const FREQUENT_EXITS: usize = 20;

/// Starts the guest of `plan`, or prints what would be started.
pub fn run(args: &VmArgs, plan: &Plan) -> Result<u8, Failure> {
    let progress =
        Progress { shown: args.verbose > 0 || !args.quiet && io::stderr().is_terminal() };
    if let Some(path) = &args.stats_json {
        // Known before the run rather than after it.
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened.map_err(|error| unwritable(path, &error))?;
    }
    if nested(args, &progress) { run_nested(args, plan, &progress) } else { run_on_kvm(args, plan) }
}

fn run_on_kvm(args: &VmArgs, plan: &Plan) -> Result<u8, Failure> {
    let spec = plan.machine()?;
    if args.dry_run {
        Machine::check(&spec).map_err(machine_failure)?;
        return print(&dry::machine(&spec));
    }
    let mut session = session(args, plan, Side::Only)?;
    let (ends, ports) = connect().map_err(Failure::vmm)?;
    let machine = Machine::build(&spec, ports).map_err(machine_failure)?;
    drop(spec);
    let guest = OnKvm { stopper: machine.stopper(), observer: machine.observer() };
    let mut recorder = Recorder::new("kvm");
    let runner = Box::new(|| machine.run().map_err(|error| chain(&error)));
    let result = session.attend(ends, &guest, runner, &mut recorder).map_err(Failure::vmm)?;
    if args.verbose > 0 {
        let histogram = guest.observer.histogram();
        let rows = if args.verbose > 1 { usize::MAX } else { FREQUENT_EXITS };
        histogram.lines().take(rows).for_each(|row| eprintln!("{row}"));
    }
    let report = recorder.report(&guest.counters());
    finish(args, &result, &report, "")
}

fn run_nested(args: &VmArgs, plan: &Plan, progress: &Progress) -> Result<u8, Failure> {
    let first = plan.first_guest()?;
    if args.dry_run {
        return print(&dry::nested(&first));
    }
    if args.verbose > 0 {
        progress.say(&format!("QEMU {} as {}", first.qemu.version, dry::quoted(&first.words())));
    }
    let mut session = session(args, plan, Side::Outer)?;
    let mut recorder = Recorder::new("nested");
    let result = first.run(&mut session, &mut recorder).map_err(nested_failure)?;
    let report = recorder.report(&Counted::default());
    let code = finish(args, &result, &report, "nested mode's first guest: ")?;
    // A QEMU that never came to run the guest is this host's, and not ours.
    let never_ran = !result.started && matches!(result.end, RunEnd::Failed(_));
    Ok(if never_ran { HOST_LACKS } else { code })
}

/// Whether KVM cannot be used.
fn nested(args: &VmArgs, progress: &Progress) -> bool {
    match args.accel {
        Accel::Kvm => false,
        _ if args.in_first_guest => true,
        Accel::Nested => true,
        Accel::Auto => match probe::kvm() {
            Ok(()) => false,
            Err(why) => {
                progress.say(&format!("no usable KVM, so nested mode: {why}"));
                true
            }
        },
    }
}

/// Where a session is held.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// With the guest itself.
    Only,
    /// With the first guest of nested mode, in which another is held.
    Outer,
}

fn session(args: &VmArgs, plan: &Plan, side: Side) -> Result<Session, Failure> {
    let outer = side == Side::Outer;
    // Inside, the time limit counts from the second guest's start, and its end shows the second
    // guest's log; outside it only has to come later.
    let grace = if outer { args.boot_timeout } else { Duration::ZERO };
    let options = SessionOptions {
        raw: plan.raw,
        console: args.console && !outer,
        serial: args.verbose > 1,
        boot_limit: args.boot_timeout,
        run_limit: args.timeout.map(|limit| limit.saturating_add(grace)),
    };
    Session::of_process(options).map_err(Failure::vmm)
}

/// A guest on KVM, as its session sees it.
struct OnKvm {
    stopper: Stopper,
    observer: Observer,
}

impl Guest for OnKvm {
    fn stop(&self) {
        self.stopper.stop();
    }

    fn mark_started(&self) {
        self.observer.mark_started();
    }

    fn counters(&self) -> Counted {
        // Plain structs of numbers always have a JSON form.
        let json = |value: Result<Value, _>| value.unwrap_or(Value::Null);
        Counted {
            device: json(serde_json::to_value(self.observer.device_counters())),
            vmm: json(serde_json::to_value(self.observer.counters())),
        }
    }
}

fn nested_failure(error: NestedError) -> Failure {
    match error {
        NestedError::Start(..) => Failure::host_lacks(error),
        NestedError::Pmem(_) => Failure::usage(error),
        _ => Failure::vmm(error),
    }
}

/// Tells what is to be told, and gives the exit code.
fn finish(
    args: &VmArgs,
    result: &SessionResult,
    report: &Value,
    whose: &str,
) -> Result<u8, Failure> {
    for complaint in &result.complaints {
        tell(&format!("farfault: a line on the guest's control port is no message: {complaint}\n"));
    }
    if !result.end.was_wanted() {
        if result.end.explained_by_serial() && !args.console && args.verbose < 2 {
            for line in &result.serial_tail {
                tell(&format!("  | {line}\n"));
            }
        }
        tell(&format!("farfault: {whose}{}\n", result.end));
    }
    if args.stats {
        tell(&stats::table(report));
    }
    if let Some(path) = &args.stats_json {
        fs::write(path, format!("{report:#}\n"))
            .map_err(|error| Failure::vmm(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(result.end.code())
}

/// Says it on standard error. Who has stopped reading there misses only this.
fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot write {}: {error}", path.display()))
}

/// Says what is done, where someone wants to know.
struct Progress {
    shown: bool,
}

impl Progress {
    fn say(&self, line: &str) {
        if self.shown {
            eprintln!("farfault: {line}");
        }
    }
}

fn print(text: &str) -> Result<u8, Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::vmm(error)),
        _ => Ok(0),
    }
}
