// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A device that fills more memory than there is: the process that it works for
//! is killed, and nobody else.

use farfault_tests::check::{Check, LEAKS, LOG, ended, ensure, exit_code, found, says, succeeded};
use farfault_tests::kernel_log;
use farfault_tests::run::{Farfault, Finished, Step, script_of};
use farfault_tests::unit::Unit;

/// Exit code of a program that was ended by SIGKILL.
const KILLED: i32 = 137;

/// Exit code of a workload that could not do its work.
const FAILED: i32 = 1;

/// What is filled: more than the guest has, and more than a cgroup may have.
const GREEDY: [(&str, &str); 3] = [
    ("private memory", "first-touch --mib 1000"),
    ("shared memory", "first-touch --mib 1000 --page shared"),
    ("memory cgroup", "echo $$ >/sys/fs/cgroup/small/cgroup.procs; exec first-touch --mib 200"),
];

const PREPARE: &str = "\
echo 1 >/proc/sys/vm/overcommit_memory
mkdir -p /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/small && echo 64M >/sys/fs/cgroup/small/memory.max";

/// A process that nobody may kill, in a cgroup that is full: its command ends and says why.
/// So full that the process itself goes on only when there is more.
const FIRM: &str = "\
grep -h '^retries ' /sys/kernel/debug/farfault/*/counters
mkdir /sys/fs/cgroup/firm && echo 64M >/sys/fs/cgroup/firm/memory.max || exit 1
sh -c 'echo $$ >/sys/fs/cgroup/firm/cgroup.procs; echo -1000 >/proc/self/oom_score_adj
	exec first-touch --mib 200' &
for second in $(seq $((60 * FARFAULT_SLOWNESS))); do
	grep '^responses_fail_memory [1-9]' /sys/kernel/debug/farfault/*/counters && break
	sleep 1
done
grep -h '^retries ' /sys/kernel/debug/farfault/*/counters
echo max >/sys/fs/cgroup/firm/memory.max
wait $!";

pub fn units() -> Vec<Unit> {
    vec![Unit::new("out-of-memory", run).of_content()]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let mut steps = vec![Step::new("prepare", PREPARE)];
    steps.extend(
        GREEDY.iter().map(|(name, command)| Step::new(*name, format!("sh -c '{command}'"))),
    );
    // The log is full of what the next step has the kernel say.
    steps.push(Step::new("log", "dmesg -c"));
    steps.push(Step::apart("firm", FIRM));
    let last = [("work afterwards", "saxpy 100000"), LEAKS, ("log-firm", LOG.1)];
    steps.extend(last.map(|(name, command)| Step::new(name, command)));
    let options = ["--cpus=2", "--memory=512M", "--timeout=400"];
    let finished = farfault.script(&options, &script_of(&steps, "mark NAME"))?;
    Ok(checks(&finished))
}

fn checks(finished: &Finished) -> Vec<Check> {
    let mut checks = vec![Check::new("prepare", succeeded(finished, "prepare"))];
    checks.extend(GREEDY.iter().map(|(name, _)| Check::new(*name, ended(finished, name, KILLED))));
    checks.push(Check::new("who cannot be killed is told", told(finished)));
    checks.push(Check::new("memory is not asked for again", asked_once(finished)));
    checks.push(Check::new("work afterwards", succeeded(finished, "work afterwards")));
    checks.push(Check::new("only who asked is killed", victims(finished)));
    checks.push(Check::new("gauges are back at zero", succeeded(finished, LEAKS.0)));
    checks.push(Check::new("exit code", exit_code(finished, 0)));
    checks
}

fn told(finished: &Finished) -> Result<(), String> {
    says(finished, "firm", "no memory for the device's access to")?;
    ended(finished, "firm", FAILED)
}

/// Memory that a cgroup does not give is not asked for again: each time, the kernel looks for
/// somebody to kill.
fn asked_once(finished: &Finished) -> Result<(), String> {
    let output = found(finished, "firm")?.output;
    let retries: Vec<&str> =
        output.lines().filter_map(|line| line.strip_prefix("retries ")).collect();
    ensure(retries.len() == 2 && retries[0] == retries[1], || {
        format!("retries before and after: {retries:?}")
    })
}

/// Of the processes that may be killed each was, and nobody else; then nobody was.
fn victims(finished: &Finished) -> Result<(), String> {
    let victims = killed_in(finished, "log")?;
    let all = victims.iter().all(|line| line.contains("(first-touch)"));
    ensure(all && victims.len() == GREEDY.len(), || format!("killed:\n{}", victims.join("\n")))?;
    let others = killed_in(finished, "log-firm")?;
    ensure(others.is_empty(), || format!("killed although it must not be:\n{}", others.join("\n")))
}

/// What the kernel says where memory is used up: the OOM killer shows its call trace, and what
/// checks the use of the DMA API (CONFIG_DMA_API_DEBUG) gives up.
const EXCUSED: [&str; 2] = ["Call Trace:", "DMA-API: cacheline tracking ENOMEM"];

/// The lines that tell of killed processes. Apart from what is excused the log is clean.
fn killed_in(finished: &Finished, step: &str) -> Result<Vec<String>, String> {
    let log = found(finished, step)?.output;
    let complaints: Vec<&str> = kernel_log::complaints(&log)
        .into_iter()
        .filter(|line| !EXCUSED.iter().any(|excused| line.contains(excused)))
        .collect();
    ensure(complaints.is_empty(), || complaints.join("\n"))?;
    Ok(log.lines().filter(|line| line.contains("Killed process")).map(str::to_owned).collect())
}
