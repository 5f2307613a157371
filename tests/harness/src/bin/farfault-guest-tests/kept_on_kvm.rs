// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kept states of machines on KVM: in a first guest, where KVM is usable, guests are booted
//! and leave their states behind, and others go on from these.

use crate::machines::FIRST_GUEST;
use farfault_tests::check::{Check, clean_log, ended, ensure, found, says};
use farfault_tests::run::{Farfault, Finished, Step, how_many, script_of};
use farfault_tests::unit::Unit;

const KEPT: &str = "farfault: kept the state ";
const TAKEN: &str = "farfault: taking up the state ";
const DAMAGED: &str = "is not as it was left";
/// Behind this a boot takes the place of a kept state.
const REFUSED: &str = "cannot be taken up";

/// Runs of the program, and what else steps do.
const FUNCTIONS: &str = "\
export FARFAULT_IMAGE=/img XDG_CACHE_HOME=/tmp/cache
states=/tmp/cache/farfault/states
quick=cryptomgr.notests=1
words() { w=\"$quick $1\"; shift; /farfault/farfault run --accel=kvm --timeout=300 \"--cmdline-append=$w\" \"$@\"; }
quiet() { words '' \"$@\"; }
ff() { quiet -v \"$@\"; }
both() { ff --cpus=2 --iommu \"$@\"; }
prepared() {
	words clearcpuid=rdrand,rdseed -v --prepare 'echo once >>/run/when; modprobe loop' -- \"$@\"
}
goes_on() {
	ff -- true >/tmp/out.$1 2>&1 && grep -q 'taking up' /tmp/out.$1 &&
		! grep -q 'cannot be taken up' /tmp/out.$1 || { echo failed; cat /tmp/out.$1; }
}
";

/// What a guest does, and the exit code and the words that must come of it.
struct Run {
    name: &'static str,
    command: &'static str,
    code: i32,
    says: &'static [&'static str],
}

const fn run(name: &'static str, command: &'static str, says: &'static [&'static str]) -> Run {
    Run { name, command, code: 0, says }
}

#[rustfmt::skip]
const ONE_SHAPE: [Run; 7] = [
    // It compares a boot and two runs that go on from it.
    run("self-test", "/farfault/farfault doctor --self-test", &["the same in all runs"]),
    run("boots", "ff -- true", &[KEPT]),
    run("goes-on", "ff -- sh -c 'saxpy 100000 && dmesg'", &[TAKEN]),
    Run {
        code: 7,
        ..run(
            "streams",
            "echo mine >/tmp/mine; head -c 300000 /dev/zero | ff --file=/tmp/mine:/opt/mine \
             --env=K=V --cwd=/opt -- sh -c 'cat /opt/mine; wc -c; echo $K $PWD >&2; exit 7'",
            &[TAKEN, "mine\n", "300000\n", "V /opt\n"],
        )
    },
    run("clock", "then=$(quiet -- date +%s); late=$(($(date +%s) - then)); echo $late s late; \
                  [ $late -ge 0 ] && [ $late -le 30 ]", &[]),
    // Nothing can be noted there, and nothing need be.
    run("read-only", "mount --bind $states $states && mount -o remount,bind,ro $states; \
         ff -- true; code=$?; umount $states; (exit $code)", &[TAKEN]),
    run("memory-is-changed", "for ram in $states/*/ram; do printf changed | \
         dd of=$ram bs=1 seek=50000000 conv=notrunc 2>/dev/null; done; \
         ff -- true && ff -- true", &[DAMAGED, KEPT, TAKEN]),
];
#[rustfmt::skip]
const OTHER_SHAPES: [Run; 5] = [
    run("two-cpus-and-iommu-boot", "both -- true", &[KEPT]),
    run("two-cpus-and-iommu-go-on", "both -- sh -c 'test $(nproc) = 2 && saxpy 100000 && dmesg'",
        &[TAKEN]),
    run("prepares", "prepared cat /run/when", &[KEPT, "once\n"]),
    run("is-prepared", "prepared sh -c 'grep -c once /run/when; lsmod'", &[TAKEN, "1\n", "loop "]),
    // Where the CPU has random numbers these differ whatever is done: here it has none.
    run("entropy", "u=/proc/sys/kernel/random/uuid; \
         one=$(prepared cat $u) && two=$(prepared cat $u) && \
         prepared sh -c '! grep -wE \"rdrand|rdseed\" /proc/cpuinfo' && \
         echo $one $two && [ ${#one} = 36 ] && [ \"$one\" != \"$two\" ]", &[]),
];

pub fn units() -> Vec<Unit> {
    vec![
        Unit::new("kept-states::kvm", one_shape),
        Unit::new("kept-states::kvm-shapes", other_shapes).only_if_nightly(true),
    ]
}

fn one_shape(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let in_turn = how_many("FARFAULT_STARTS", 4, 200)?;
    let turns = in_turn.div_ceil(4);
    // They print only what went wrong.
    let many = [
        Step::new("in-turn", format!("for i in $(seq {in_turn}); do goes_on $i; done")),
        Step::new(
            "at-once",
            format!("for i in $(seq {turns}); do for j in 1 2 3; do goes_on $j & done; wait; done"),
        ),
    ];
    let names = many.each_ref().map(|step| step.name.clone());
    let finished = finished(farfault, &ONE_SHAPE, many.into())?;
    let mut checks = checks(&finished, &ONE_SHAPE);
    checks.extend(names.map(|name| Check::new(&name, silent(&finished, &name))));
    Ok(checks)
}

fn other_shapes(farfault: &Farfault) -> Result<Vec<Check>, String> {
    Ok(checks(&finished(farfault, &OTHER_SHAPES, Vec::new())?, &OTHER_SHAPES))
}

/// The runs, and more steps, in a first guest.
fn finished(farfault: &Farfault, runs: &[Run], more: Vec<Step>) -> Result<Finished, String> {
    let mut steps = vec![Step::new("functions", FUNCTIONS)];
    steps.extend(runs.iter().map(|run| Step::new(run.name, run.command)));
    steps.extend(more);
    let files = ["initrd", "manifest.json", "vmlinux"]
        .map(|name| format!("--file={}:/img/{name}", farfault.image.join(name).display()));
    farfault.script(&[&FIRST_GUEST.map(str::to_owned)[..], &files].concat(), &script_of(&steps, ""))
}

fn checks(finished: &Finished, runs: &[Run]) -> Vec<Check> {
    let mut checks: Vec<Check> = runs.iter().map(|run| outcome(finished, run)).collect();
    let logs = runs.iter().filter(|run| run.command.contains("dmesg")).map(|run| run.name);
    checks.extend(
        logs.map(|name| Check::new(format!("{name}::log is clean"), clean_log(finished, name))),
    );
    checks
}

fn outcome(finished: &Finished, run: &Run) -> Check {
    let said = run.says.iter().try_for_each(|words| says(finished, run.name, words));
    let went_on = if run.says.contains(&DAMAGED) { Ok(()) } else { not_refused(finished, run) };
    Check::new(run.name, ended(finished, run.name, run.code).and(said).and(went_on))
}

fn not_refused(finished: &Finished, run: &Run) -> Result<(), String> {
    let output = found(finished, run.name)?.output;
    ensure(!output.contains(REFUSED), || output)
}

fn silent(finished: &Finished, name: &str) -> Result<(), String> {
    let output = found(finished, name)?.output;
    ensure(output.is_empty(), || output)
}
