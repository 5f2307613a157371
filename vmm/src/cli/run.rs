// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a planned guest under the hosting that fits, and says how it ended.

use super::dry;
use super::options::{Accel, VmArgs};
use super::plan::{Plan, machine_failure};
use super::request::Request;
use super::stats_file::StatsFile;
use crate::exit::{Failure, HOST_LACKS};
use crate::gdb::Port;
use crate::kvm::{self, Attended, KvmError};
use crate::machine::{Handle, Machine, Start};
use crate::nested::NestedError;
use crate::output::{print, tell};
use crate::probe;
use crate::session::{Guest, Inner, RunEnd, Session, SessionOptions, SessionResult, Task};
use crate::stats::{self, Recorder, Report, Sample};
use serde::Serialize;
use std::fs::{self, DirEntry, File};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// Where orders for a guest in this guest come from.
const ORDERS_PORT: &str = "farfault.inner";
/// Where debuggers of that guest come from.
const GDB_PORT: &str = "farfault.gdb";
/// Longer than anybody debugs, and still a time that can be told.
const NO_LIMIT: Duration = Duration::from_secs(1_000_000_000);
/// So many kinds of exits are shown by one `-v`, the most frequent first.
const FREQUENT_EXITS: usize = 20;

/// Starts the guest that is asked for, or prints what would be started.
pub fn run(request: &Request) -> Result<u8, Failure> {
    let (args, plan) = (&request.vm, Plan::new(request)?);
    let stats = args.stats_json.as_deref().map(StatsFile::open).transpose()?;
    if nested(args)? { run_nested(args, &plan, stats) } else { run_on_kvm(args, &plan, stats) }
}

/// Starts the guest that a request describes in the first guest of nested mode; its orders
/// come over a port.
pub fn run_inside(request: &Request) -> Result<u8, Failure> {
    let (args, plan) = (&request.vm, Plan::new(request)?);
    let port = virtio_port(ORDERS_PORT)?;
    let mut outside = port.try_clone().map_err(Failure::vmm)?;
    let mut spec = plan.machine_without_orders()?;
    if args.gdb.is_some() {
        spec.debugger = plan.invitation(Port::Virtio(virtio_port(GDB_PORT)?));
    }
    let run = |session: &mut Session, recorder: &mut Recorder| {
        kvm::attend(session, &spec, &Start::Boot, Task::FromOutside(port), None, recorder)
    };
    // All output is there: nobody need wait until the machine has been taken apart.
    let (result, report, _machine) = run_machine(args, &plan, run)?;
    let code = result.end.code();
    let inner = Inner { stats: Some(report), told: account(args, &result, "") };
    let line = LastLine { exit: code, inner };
    let line = serde_json::to_string(&line).map_err(Failure::vmm)?;
    writeln!(outside, "{line}").map_err(Failure::vmm)?;
    Ok(code)
}

/// What a session in a first guest says last.
#[derive(Serialize)]
struct LastLine {
    exit: u8,
    #[serde(flatten)]
    inner: Inner,
}

fn run_on_kvm(args: &VmArgs, plan: &Plan, stats: Option<StatsFile>) -> Result<u8, Failure> {
    let guest = plan.kvm_guest()?;
    if args.dry_run {
        Machine::check(&guest.spec).map_err(machine_failure)?;
        return print(&dry::machine(&guest.spec)).map(|()| 0);
    }
    let run = |session: &mut Session, recorder: &mut Recorder| guest.run(session, recorder);
    let (result, report, _) = run_machine(args, plan, run)?;
    tell_decoded(plan, &account(args, &result, ""));
    give_out(args, &report, stats)?;
    Ok(result.end.code())
}

/// How the run ended and what it counted, with the last hold on its machine.
fn run_machine(
    args: &VmArgs,
    plan: &Plan,
    run: impl FnOnce(&mut Session, &mut Recorder) -> Result<Attended, KvmError>,
) -> Result<(SessionResult, Report, Handle), Failure> {
    let mut session = session(args, plan, false)?;
    let mut recorder = recorder("kvm", args);
    let Attended { result, machine } = run(&mut session, &mut recorder).map_err(kvm_failure)?;
    drop(session);
    let verbose = args.verbose.max(result.terms.verbose);
    if verbose > 0 {
        let histogram = machine.histogram();
        let rows = if verbose > 1 { usize::MAX } else { FREQUENT_EXITS };
        histogram.lines().take(rows).for_each(tell);
    }
    let report = recorder.report(Guest::counters(&machine));
    Ok((result, report, machine))
}

/// The virtio port of this name, which only one process can have.
fn virtio_port(name: &str) -> Result<File, Failure> {
    let ports = fs::read_dir("/sys/class/virtio-ports").map_err(Failure::host_lacks)?;
    let is_it = |port: &DirEntry| {
        fs::read_to_string(port.path().join("name")).is_ok_and(|found| found.trim() == name)
    };
    let port = ports.flatten().find(is_it);
    let port = port.ok_or_else(|| Failure::host_lacks(format!("there is no port {name}")))?;
    let open =
        File::options().read(true).write(true).open(Path::new("/dev").join(port.file_name()));
    open.map_err(Failure::host_lacks)
}

fn run_nested(args: &VmArgs, plan: &Plan, stats: Option<StatsFile>) -> Result<u8, Failure> {
    if args.on_mark.is_some() {
        let why =
            "--on-mark needs KVM, or farfault qemu: nested mode hears of marks in its first guest";
        let chosen = args.accel == Accel::Nested;
        return Err(if chosen { Failure::usage(why) } else { Failure::host_lacks(why) });
    }
    let first = plan.first_guest()?;
    if args.dry_run {
        first.check().map_err(nested_failure)?;
        return print(&dry::nested(&first)).map(|()| 0);
    }
    if args.verbose > 0 {
        let words = dry::quoted(&first.words());
        let version = first.qemu.version().map_err(Failure::host_lacks)?;
        progress(args, &format!("QEMU {version} as {words}"));
    }
    let mut session = session(args, plan, true)?;
    let mut recorder = recorder("nested", args);
    let result = first.run(&mut session, &mut recorder).map_err(nested_failure)?;
    drop(session);
    let report = recorder.report(Sample::default());
    tell_decoded(plan, &result.told);
    account(args, &result, "nested mode's first guest: ").iter().for_each(|line| tell(line));
    give_out(args, &report, stats)?;
    // A QEMU that never came to run the guest is this host's, and not ours.
    let never_ran = !result.started && matches!(result.end, RunEnd::Failed(_));
    Ok(if never_ran { HOST_LACKS } else { result.end.code() })
}

pub(super) fn recorder(hosting: &str, args: &VmArgs) -> Recorder {
    let mut recorder = Recorder::new(hosting);
    if args.stats || args.stats_json.is_some() {
        recorder.weigh();
    }
    recorder
}

/// Whether KVM cannot be used.
fn nested(args: &VmArgs) -> Result<bool, Failure> {
    let passed_through = args.vfio.first();
    match (args.accel, passed_through) {
        (Accel::Kvm, _) => Ok(false),
        (Accel::Tcg, _) => Err(Failure::usage("--accel tcg is for farfault qemu")),
        _ if args.in_first_guest => Ok(true),
        (Accel::Nested, None) => Ok(true),
        (Accel::Nested, Some(address)) => Err(Failure::usage(format!(
            "--vfio {address} needs KVM: a first guest has no devices of this host"
        ))),
        (Accel::Auto, _) => match (probe::kvm(), passed_through) {
            (Ok(()), _) => Ok(false),
            (Err(why), None) => {
                progress(args, &format!("no usable KVM, so nested mode: {why}"));
                Ok(true)
            }
            (Err(why), Some(address)) => {
                Err(Failure::host_lacks(format!("--vfio {address} needs KVM: {why}")))
            }
        },
    }
}

pub(super) fn session(args: &VmArgs, plan: &Plan, first_guest: bool) -> Result<Session, Failure> {
    // A guest that its debugger holds makes no haste.
    let (boot_limit, run_limit) = match args.gdb {
        Some(_) => (NO_LIMIT, None),
        None => (args.boot_timeout, args.timeout),
    };
    // In a first guest another session is held. Inside, the time limit counts from the second
    // guest's start, and its end shows that guest's log; outside it only has to come later.
    let grace = if first_guest { boot_limit } else { Duration::ZERO };
    let options = SessionOptions {
        raw: plan.raw,
        console: args.console && !first_guest,
        no_input: args.no_input,
        serial: args.verbose > 1 || (args.serial && !first_guest),
        boot_limit,
        run_limit: run_limit.map(|limit| limit.saturating_add(grace)),
        on_mark: args.on_mark.clone(),
    };
    Session::of_process(options).map_err(Failure::vmm)
}

pub fn kvm_failure(error: KvmError) -> Failure {
    match error {
        KvmError::Machine(error) => machine_failure(error),
        KvmError::Session(_) => Failure::vmm(error),
    }
}

fn nested_failure(error: NestedError) -> Failure {
    match error {
        NestedError::Start(..) => Failure::host_lacks(error),
        NestedError::Pmem(error) => machine_failure(error.into()),
        NestedError::Machine(error) => machine_failure(error),
        _ => Failure::vmm(error),
    }
}

/// What is to be told of how a run ended, line by line.
pub(super) fn account(args: &VmArgs, result: &SessionResult, whose: &str) -> Vec<String> {
    let complaint =
        |line| format!("farfault: a line on the guest's control port is no message: {line}");
    let mut told: Vec<String> = result.complaints.iter().map(complaint).collect();
    if !result.end.was_wanted() {
        if result.end.explained_by_last_words() && !args.console && args.verbose < 2 {
            told.extend(result.last_words.iter().map(|line| format!("  | {line}")));
        }
        told.push(format!("farfault: {whose}{}", result.end));
    }
    told
}

/// Tells lines, among them the end of a kernel's log.
pub(super) fn tell_decoded(plan: &Plan, lines: &[String]) {
    let mut decoder = plan.decoder();
    let decoded: Vec<String> = lines.iter().map(|line| decoder.decode(line)).collect();
    decoder.lacking().iter().for_each(|why| tell(&format!("farfault: {why}")));
    decoded.iter().for_each(|line| tell(line));
}

/// Gives out what was counted.
pub(super) fn give_out(
    args: &VmArgs,
    report: &Report,
    stats: Option<StatsFile>,
) -> Result<(), Failure> {
    if args.stats {
        tell(&stats::table(report));
    }
    if let Some(file) = stats {
        let json = serde_json::to_string_pretty(report).map_err(Failure::vmm)?;
        file.write(&format!("{json}\n"))?;
    }
    Ok(())
}

/// Says what is done, where someone wants to know.
pub(super) fn progress(args: &VmArgs, line: &str) {
    if args.verbose > 0 || !args.quiet && io::stderr().is_terminal() {
        tell(&format!("farfault: {line}"));
    }
}
