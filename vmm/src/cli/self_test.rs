// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `farfault doctor --self-test`: boots a guest on this host's KVM, keeps its state, goes on from
//! that twice, and compares.

use super::options::{Action, Cli};
use super::plan::Plan;
use super::request::Request;
use super::run::kvm_failure;
use crate::exit::{self, Failure, chain};
use crate::kvm::KvmGuest;
use crate::output::print;
use crate::probe;
use crate::session::{Guest, Session, SessionOptions, Stdio};
use crate::states::Store;
use crate::stats::{Counters, Recorder};
use clap::Parser;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// All that a state is made of is in this machine. What the preparation writes is in the state, so
/// who finds it there goes on from that.
const MACHINE: [&str; 6] = [
    "--accel=kvm",
    "--cpus=2",
    "--iommu",
    "--no-input",
    "--prepare",
    "cat /proc/sys/kernel/random/uuid >/run/origin",
];
const COMMAND: &str =
    "cat /run/origin /proc/sys/kernel/random/uuid && date +%s && saxpy 100000 >&2";
/// Counters that depend on nothing but the command.
const EXACT: [&str; 2] = ["descriptors", "bytes_written"];
/// A boot, and two that go on.
const RUNS: usize = 3;
const BOOT_LIMIT: Duration = Duration::from_secs(180);
const RUN_LIMIT: Duration = Duration::from_secs(300);
/// How wrong a guest's clock may be, which is read some time before ours.
const LATE: u64 = 30;

/// What one run has shown.
#[derive(Clone, Debug, Default)]
struct Shown {
    /// Names the boot that it comes from.
    origin: String,
    uuid: String,
    /// Seconds by which its clock differs from ours.
    off: u64,
    counted: Counters,
    took: Duration,
}

/// A line of the report: what it is about, and what was found, or found wrong.
type Line = (&'static str, Result<String, String>);

/// Prints what it finds; the exit code.
pub fn self_test(image: Option<&Path>) -> Result<u8, Failure> {
    if let Err(why) = probe::kvm() {
        tell(&("kvm", Ok(format!("not usable: {}", chain(&why)))))?;
        return Ok(exit::HOST_LACKS);
    }
    tell(&("kvm", Ok("usable: a probe guest ran on it".to_owned())))?;
    let guest = guest(image)?;
    let (store, name) = (Store::of_user(), guest.shape().map_err(kvm_failure)?);
    // One that is left of another test would make a boot needless.
    let _ = store.remove(&name);
    let mut shown = Vec::new();
    for _ in 0..RUNS {
        match run(&guest)? {
            Ok(run) => shown.push(run),
            Err(why) => {
                tell(&(if shown.is_empty() { "boot" } else { "state" }, Err(why)))?;
                let _ = store.remove(&name);
                return Ok(exit::VMM_FAILED);
            }
        }
    }
    let size = store.list().into_iter().find(|entry| entry.name == name).map(|entry| entry.size);
    let lines = judge(&shown, size);
    lines.iter().try_for_each(tell)?;
    let _ = store.remove(&name);
    Ok(if lines.iter().all(|(_, found)| found.is_ok()) { 0 } else { exit::VMM_FAILED })
}

fn tell((name, found): &Line) -> Result<(), Failure> {
    let (Ok(text) | Err(text)) = found;
    let sign = if found.is_ok() { "" } else { "FAILED: " };
    print(&format!("{name:<8}{sign}{text}\n"))
}

fn guest(image: Option<&Path>) -> Result<KvmGuest, Failure> {
    let words = ["farfault", "run"].into_iter().chain(MACHINE);
    let parsed = Cli::try_parse_from(words.chain(["--", "sh", "-c", COMMAND]));
    let Action::Run(mut args) = parsed.map_err(Failure::vmm)?.action else {
        return Err(Failure::vmm("internal error: the self-test is no run"));
    };
    args.vm.image = image.map(Path::to_owned);
    Plan::new(&Request { vm: args.vm, command: Some(args.command) })?.kvm_guest()
}

/// Runs the command once; why it did not end well, if so.
fn run(guest: &KvmGuest) -> Result<Result<Shown, String>, Failure> {
    let (output, error) = (scratch().map_err(Failure::vmm)?, scratch().map_err(Failure::vmm)?);
    let input = File::open("/dev/null").map_err(Failure::vmm)?;
    let stdio = Stdio { input, output, error };
    let (output, error) = (stdio.output.try_clone(), stdio.error.try_clone());
    let options = SessionOptions {
        boot_limit: BOOT_LIMIT,
        run_limit: Some(RUN_LIMIT),
        no_input: true,
        ..SessionOptions::default()
    };
    let (begun, mut recorder) = (Instant::now(), Recorder::new("kvm"));
    let mut session = Session::new(options, stdio);
    let attended = guest.run(&mut session, &mut recorder).map_err(kvm_failure)?;
    let took = begun.elapsed();
    let (output, error) = (text(output), text(error));
    let (output, error) = (output.map_err(Failure::vmm)?, error.map_err(Failure::vmm)?);
    if attended.result.end.code() != 0 {
        return Ok(Err(format!("{}: {}", attended.result.end, error.trim())));
    }
    let counted = recorder.report(Guest::counters(&attended.machine)).device().clone();
    Ok(read(&output).map(|shown| Shown { counted, took, ..shown }).ok_or(output))
}

/// Reads what the command prints.
fn read(output: &str) -> Option<Shown> {
    let mut lines = output.lines().map(str::to_owned);
    let (origin, uuid, date) = (lines.next()?, lines.next()?, lines.next()?);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some(Shown { origin, uuid, off: now.abs_diff(date.parse().ok()?), ..Shown::default() })
}

/// A file that is nowhere.
fn scratch() -> io::Result<File> {
    Ok(memfd_create(c"farfault-self-test", MFdFlags::MFD_CLOEXEC)?.into())
}

fn text(file: io::Result<File>) -> io::Result<String> {
    let (mut file, mut text) = (file?, Vec::new());
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Weighs what the runs have shown, the boot first; `size` is that of the state.
fn judge(shown: &[Shown], size: Option<u64>) -> Vec<Line> {
    let Some((boot, others)) = shown.split_first() else { return Vec::new() };
    let seconds = |run: &Shown| run.took.as_secs_f64();
    let line = |holds: bool, good: String, bad: String| if holds { Ok(good) } else { Err(bad) };
    let counts = |run: &Shown| EXACT.map(|name| run.counted.get(name).copied().unwrap_or(0));
    let mut uuids: Vec<_> = shown.iter().map(|run| &run.uuid).collect();
    uuids.sort_unstable();
    uuids.dedup();
    let off = shown.iter().map(|run| run.off).max().unwrap_or(0);
    let fastest = others.iter().map(seconds).fold(f64::INFINITY, f64::min);
    let all: Vec<_> = shown.iter().map(counts).collect();
    let [first, ..] = &all[..] else { return Vec::new() };
    vec![
        ("boot", Ok("a guest with 2 CPUs and an IOMMU, in which saxpy was right".to_owned())),
        match size {
            Some(bytes) => ("state", Ok(format!("kept, {} MiB", bytes >> 20))),
            None => ("state", Err("was not kept; farfault run -v says why".to_owned())),
        },
        (
            "goes on",
            line(
                others.iter().all(|run| run.origin == boot.origin),
                format!("twice, {:.1} times as fast as the boot", seconds(boot) / fastest),
                "a run booted, and did not go on; farfault run -v says why".to_owned(),
            ),
        ),
        (
            "counts",
            line(
                all.iter().all(|counts| counts == first) && first.iter().any(|count| *count > 0),
                format!("the same in all runs: {} {first:?}", EXACT.join(", ")),
                format!("differ: {} {all:?}", EXACT.join(", ")),
            ),
        ),
        (
            "clock",
            line(off <= LATE, "right in all runs".to_owned(), format!("wrong by up to {off} s")),
        ),
        (
            "entropy",
            line(
                uuids.len() == shown.len(),
                "each run has its own".to_owned(),
                format!("two runs drew the same numbers: {uuids:?}"),
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(uuid: &str) -> Shown {
        let counted = EXACT.map(|name| (name.to_owned(), 3)).into();
        Shown { origin: "boot".into(), uuid: uuid.into(), counted, ..Shown::default() }
    }

    fn wrong(shown: &[Shown], size: Option<u64>) -> Vec<&'static str> {
        let lines = judge(shown, size).into_iter();
        lines.filter(|(_, found)| found.is_err()).map(|(name, _)| name).collect()
    }

    #[test]
    fn what_is_wrong_is_said_by_name() {
        let well = ["a", "b", "c"].map(shown);
        assert_eq!(wrong(&well, Some(1)), [""; 0]);
        assert_eq!(wrong(&well, None), ["state"]);
        let with = |change: fn(&mut Shown)| {
            let mut shown = well.clone();
            change(&mut shown[2]);
            wrong(&shown, Some(1))
        };
        assert_eq!(with(|run| run.origin = "another".into()), ["goes on"]);
        assert_eq!(with(|run| run.counted.extend([("descriptors".into(), 4)])), ["counts"]);
        assert_eq!(with(|run| run.off = LATE + 1), ["clock"]);
        assert_eq!(with(|run| run.uuid = "a".into()), ["entropy"]);
        let idle = well.map(|run| Shown { counted: Counters::new(), ..run });
        assert_eq!(wrong(&idle, Some(1)), ["counts"]);
    }

    #[test]
    fn the_machine_can_be_asked_for() {
        let refused = guest(Some(Path::new("/nowhere"))).expect_err("no image");
        assert_eq!(refused.code, exit::HOST_LACKS);
    }

    #[test]
    fn only_whole_answers_are_read() {
        assert!(read("origin\nuuid\n").is_none());
        assert!(read("origin\nuuid\nsoon\n").is_none());
        let shown = read("origin\nuuid\n0\n").expect("three lines");
        assert_eq!((shown.origin.as_str(), shown.uuid.as_str()), ("origin", "uuid"));
        assert!(shown.off > LATE);
    }
}
