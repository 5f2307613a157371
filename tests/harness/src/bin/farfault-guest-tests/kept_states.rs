// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine's state that is kept when it is ready for a command, and taken up by later runs:
//! these can tell nothing from a boot but the time that it takes.

use farfault_tests::check::{Check, ensure, exit_code};
use farfault_tests::run::{Farfault, Finished, QUICKLY, Ran, how_many};
use farfault_tests::tools;
use farfault_tests::unit::Unit;
use serde_json::Value;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

const KEPT: &str = "farfault: kept the state ";
const TAKEN: &str = "farfault: taking up the state ";
/// Behind this a boot takes the place of a kept state.
const REFUSED: &str = "cannot be taken up";
const DAMAGED: &str = "is not as it was left";
/// By then a command runs.
const RUNS: Duration = Duration::from_millis(600);
/// By then a run has said what it has to say of a state, on whatever host.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a guest knows of entropy and time.
const ENTROPY: &str = "grep -cwE 'rdrand|rdseed' /proc/cpuinfo; cat /proc/sys/kernel/random/uuid; \
                      date +%s; cut -d . -f 1 /proc/uptime";
/// What has a guest count.
const WORK: &str = "saxpy 1000";
/// MiB.
const WRITTEN: u64 = 128;
/// QEMU with a CPU that has no random numbers of its own, so that the guests' have none.
const WITHOUT_RDRAND: &str = "#!/bin/sh
for word; do
	shift
	[ \"$word\" != EPYC-Rome ] || word=EPYC-Rome,-rdrand,-rdseed
	set -- \"$@\" \"$word\"
done
exec QEMU \"$@\"
";

pub fn units() -> Vec<Unit> {
    vec![Unit::new("kept-states", run)]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    // Beside the image, where there is room for it.
    let place = farfault.image.parent().unwrap_or(Path::new("/"));
    let cache = tempfile::Builder::new().prefix("test-states-").tempdir_in(place);
    let cache = cache.map_err(|error| format!("no folder in {}: {error}", place.display()))?;
    let own = Own::new(farfault, cache.path())?;
    let in_turn = how_many("FARFAULT_STARTS", 4, 200)?;
    let killed = how_many("FARFAULT_KILLED", 3, 50)?;
    let start = Instant::now();
    let booted = own.boot()?;
    let boot = start.elapsed();
    own.compare(how_many("FARFAULT_RATIOS", 0, 10)?)?;
    let checks: [(&str, Result<(), String>); 9] = [
        ("a run goes on from what the first boot left", own.expect(TAKEN)),
        ("a run takes of memory what it writes", own.memory()),
        ("a run counts from zero", own.counts(&booted)),
        ("files, input and exit code are the run's own", own.streams()),
        ("clock and entropy are the run's own", own.entropy()),
        ("runs in turn and at the same time", own.many(in_turn)),
        ("a run that is killed harms no other", own.killed_often(killed)),
        ("a changed byte means a boot, which may be killed", own.damaged(killed.div_ceil(3), boot)),
        ("what comes before the command, and persistent memory", own.prepared()),
    ];
    Ok(checks.map(|(name, result)| Check::new(name, result)).into())
}

/// Returns once a run has said `words` in a file.
fn hear(file: &Path, words: &str) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let said = fs::read_to_string(file).map_err(|error| error.to_string())?;
        if said.contains(words) {
            return Ok(());
        }
        ensure(began.elapsed() < PATIENCE, || format!("no '{words}' in\n{said}"))?;
        thread::sleep(Duration::from_millis(5));
    }
}

/// A program with states and a QEMU of its own.
struct Own {
    farfault: Farfault,
    cache: PathBuf,
    qemu: String,
}

impl Own {
    fn new(farfault: &Farfault, cache: &Path) -> Result<Self, String> {
        let qemu = cache.join("qemu");
        fs::write(
            &qemu,
            WITHOUT_RDRAND.replace("QEMU", &tools::qemu(&farfault.tools()?).join(" ")),
        )
        .and_then(|()| fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)))
        .map_err(|error| format!("{}: {error}", qemu.display()))?;
        let qemu = format!("--qemu={}", qemu.display());
        Ok(Self { farfault: farfault.with_cache(cache), cache: cache.to_owned(), qemu })
    }

    /// A run as a user types it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.farfault.command();
        command.args(["run", "-v", QUICKLY, &self.qemu]).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.farfault.run(&[&["run", "-v", QUICKLY, &self.qemu], words].concat())
    }

    /// Runs `true`, and wants this said.
    fn expect(&self, words: &str) -> Result<(), String> {
        let finished = self.run(&["--", "true"])?;
        exit_code(&finished, 0)?;
        ensure(finished.stderr.contains(words), || {
            format!("no '{words}' in\n{}", finished.stderr)
        })?;
        let booted = words == TAKEN && finished.stderr.contains(REFUSED);
        ensure(!booted, || finished.stderr.clone())
    }

    /// The first run, which boots and leaves its state behind: what it has counted.
    fn boot(&self) -> Result<Value, String> {
        let finished = self.farfault.script(&[self.qemu.as_str(), "-v"], WORK)?;
        exit_code(&finished, 0)?;
        ensure(finished.stderr.contains(KEPT), || finished.stderr.clone())?;
        Ok(finished.stats)
    }

    /// The counters of a run.
    fn stats(&self, options: &[&str], script: &str) -> Result<Value, String> {
        let finished = self.farfault.script(&[&[self.qemu.as_str()], options].concat(), script)?;
        exit_code(&finished, 0)?;
        Ok(finished.stats)
    }

    /// What is counted is the run's: twice from one state, and after a boot.
    fn counts(&self, booted: &Value) -> Result<(), String> {
        let all = [self.stats(&[], WORK)?, self.stats(&[], WORK)?, booted.clone()];
        // How many faults there are is a matter of time.
        let exact = |(name, _): &(String, u64)| name == "descriptors" || name == "bytes_written";
        let all = all.map(|stats| counted(&stats).into_iter().filter(exact).collect::<Vec<_>>());
        let [one, two, booted] = &all;
        let something = booted.len() == 2 && booted.iter().all(|(_, count)| *count > 0);
        ensure(something && one == booted && two == booted, || format!("{all:?}"))
    }

    /// A run takes the pages that it writes: a file of so many MiB in the guest's memory adds as
    /// many. What a boot has written, hundreds of MiB, is shared.
    fn memory(&self) -> Result<(), String> {
        let taken = |script: &str| {
            let stats = self.stats(&[], script)?;
            let kib = stats["host"]["ram_private_dirty_kib"].as_u64();
            kib.map(|kib| kib >> 10).ok_or_else(|| format!("no figure in {stats}"))
        };
        let few = taken("true")?;
        let many = taken(&format!("dd if=/dev/zero of=/zeros bs=1M count={WRITTEN}"))?;
        let said = format!("{few} MiB; {many} MiB with {WRITTEN} written");
        println!("note: of the host's memory a run takes {said}");
        let few_enough = (1..WRITTEN / 2).contains(&few);
        ensure(few_enough && many.abs_diff(few + WRITTEN) < WRITTEN / 4, || said)
    }

    fn streams(&self) -> Result<(), String> {
        let file = self.cache.join("mine");
        fs::write(&file, "mine").map_err(|error| error.to_string())?;
        let files = format!("--file={}:/opt/mine", file.display());
        let script = "cat /opt/mine; cat; echo $K $PWD >&2; exit 7";
        let options = [&files, "--env=K=V", "--cwd=/opt", "--", "sh", "-c", script];
        let mut child = self.command(&options);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().map_err(|error| error.to_string())?;
        if let Some(mut stdin) = child.stdin.take() {
            let typed = vec![b'x'; 300_000];
            std::io::Write::write_all(&mut stdin, &typed).map_err(|error| error.to_string())?;
        }
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        ensure(output.status.code() == Some(7), || format!("{:?}: {stderr}", output.status))?;
        ensure(stdout == format!("mine{}", "x".repeat(300_000)), || {
            format!("{} bytes of output", stdout.len())
        })?;
        ensure(stderr.contains(TAKEN) && stderr.contains("V /opt\n"), || stderr.clone())
    }

    /// What comes before the command is done once. Two files of persistent memory are by one
    /// state, into which nothing of either comes, whatever is tried before the command.
    fn prepared(&self) -> Result<(), String> {
        let [system, text] = ["system", "text"].map(|name| self.cache.join(name));
        fs::write(&text, "text\n").map_err(|error| error.to_string())?;
        let early = "tee /run/when </proc/sys/kernel/random/uuid; modprobe -a nd_pmem nd_e820; \
                     head -c 9 /dev/pmem0 || echo nothing";
        let run = |file: &Path, script: &str, said: &str| {
            let pmem = format!("--pmem={},size=32M", file.display());
            let script = format!("cat /run/when && {script}");
            let ran = self.run(&[&pmem, "--prepare", early, "--", "sh", "-c", &script])?;
            exit_code(&ran, 0)?;
            ensure(ran.stderr.contains(said), || format!("no '{said}': {ran:?}"))?;
            Ok::<_, String>(ran.stdout)
        };
        let mount = "mkdir /pmem && mount -o dax=always /dev/pmem0 /pmem";
        let make = format!("mkfs.ext4 -q -b 4096 /dev/pmem0 && {mount} && echo mark >/pmem/mark");
        let first = run(&system, &make, KEPT)?;
        let when = first.lines().next().unwrap_or_default();
        let said = format!("{when}\nnothing\n{when}\n");
        ensure(when.len() == 36 && first == said, || format!("before and in a command: {first}"))?;
        let change = "head -n 1 /dev/pmem0; echo next | dd of=/dev/pmem0 conv=notrunc 2>/dev/null";
        let runs = [
            (&text, change, "text"),
            (&system, &format!("{mount} && cat /pmem/mark"), "mark"),
            (&text, "head -n 1 /dev/pmem0", "next"),
        ];
        runs.into_iter().try_for_each(|(file, script, line)| {
            let found = run(file, script, TAKEN)?;
            ensure(found == format!("{when}\n{line}\n"), || format!("not {when}, {line}: {found}"))
        })
    }

    /// States with a byte changed. The boots in their place are cut short, or the keeping is: the
    /// last moments are those in which the state is written.
    fn damaged(&self, number: u64, boot: Duration) -> Result<(), String> {
        for turn in 0..number {
            self.change_a_byte()?;
            self.killed(DAMAGED, boot * turn as u32 / number as u32)?;
        }
        self.expect(TAKEN)
    }

    /// A state that is changed already does not become what it was.
    fn change_a_byte(&self) -> Result<(), String> {
        let states = self.cache.join("farfault/states");
        let all = fs::read_dir(&states).map_err(|error| error.to_string())?;
        let paths = all.filter_map(|entry| Some(entry.ok()?.path()));
        // Those of makers that were killed have an extension.
        let state = paths.into_iter().find(|path| path.extension().is_none());
        let path = state.ok_or("no state is kept")?.join("ram");
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|error| error.to_string())?;
        let middle = file.metadata().map_err(|error| error.to_string())?.len() / 2;
        let mut byte = [0];
        let flip = file
            .read_exact_at(&mut byte, middle)
            .and_then(|()| file.write_all_at(&byte.map(|byte| byte.wrapping_add(1)), middle));
        flip.map_err(|error| error.to_string())
    }

    /// So many in turn, then four at a time.
    fn many(&self, number: u64) -> Result<(), String> {
        for _ in 0..number {
            self.expect(TAKEN)?;
        }
        for _ in 0..number.div_ceil(4) {
            thread::scope(|scope| {
                let runs = [(); 4].map(|()| scope.spawn(|| self.expect(TAKEN)));
                let ended = runs.map(|run| run.join().unwrap_or(Err("a thread died".to_owned())));
                ended.into_iter().collect::<Result<(), String>>()
            })?;
        }
        Ok(())
    }

    /// Runs that are killed at moments from their start to where a command runs.
    fn killed_often(&self, number: u64) -> Result<(), String> {
        for turn in 1..=number {
            self.killed("", RUNS * turn as u32 / number as u32)?;
        }
        self.expect(TAKEN)
    }

    /// A run that is killed so long after it has said `words`, and one after it.
    fn killed(&self, words: &str, moment: Duration) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        let said = tempfile::NamedTempFile::new().map_err(failed)?;
        let mut command = self.command(&["--", "sleep", "1000"]);
        let stderr = said.reopen().map_err(failed)?;
        let mut child = command.stderr(stderr).spawn().map_err(failed)?;
        let heard = hear(said.path(), words);
        thread::sleep(moment);
        child.kill().and_then(|()| child.wait()).map_err(failed)?;
        heard?;
        self.expect("state ")
    }

    /// Two runs from one state, and the host between them.
    fn entropy(&self) -> Result<(), String> {
        let run = || self.run(&["--", "sh", "-c", ENTROPY]);
        let [one, two] = [run()?, run()?].map(|finished| known(&finished));
        let (one, two) = (one?, two?);
        ensure(one.uuid != two.uuid, || format!("the same number twice: {}", one.uuid))
    }

    /// How long a run takes that has nothing to say.
    fn time(&self, options: &[&str]) -> Result<Duration, String> {
        let start = Instant::now();
        let words = [&["run", self.qemu.as_str()], options, &["--", "true"]].concat();
        exit_code(&self.farfault.run(&words)?, 0)?;
        Ok(start.elapsed())
    }

    /// Says how much longer a boot takes: the median of `pairs` in turn.
    fn compare(&self, pairs: u64) -> Result<(), String> {
        let mut ratios = Vec::new();
        if pairs != 0 {
            // As a user's, it is another machine than that of the other runs.
            self.time(&[])?;
        }
        for _ in 0..pairs {
            ratios.push(self.time(&["--fresh"])?.as_secs_f64() / self.time(&[])?.as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        if let Some(ratio) = ratios.get(ratios.len() / 2) {
            println!("note: a boot takes {ratio:.1} times as long as a kept state ({pairs} pairs)");
        }
        Ok(())
    }
}

/// What the device and the driver have counted.
fn counted(stats: &Value) -> Vec<(String, u64)> {
    let groups = ["device", "driver"].into_iter().filter_map(|group| stats[group].as_object());
    let counters =
        groups.flatten().map(|(name, value)| (name.clone(), value.as_u64().unwrap_or(0)));
    counters.collect()
}

struct Known {
    uuid: String,
}

/// What a guest said of entropy and time, both being as they must.
fn known(finished: &Finished) -> Result<Known, String> {
    exit_code(finished, 1).or_else(|_| exit_code(finished, 0))?;
    ensure(finished.stderr.contains(TAKEN), || finished.stderr.clone())?;
    let lines: Vec<&str> = finished.stdout.lines().collect();
    let [rdrand, uuid, date, uptime] = lines[..] else { return Err(finished.stdout.clone()) };
    ensure(rdrand == "0", || "the guest has random numbers of its CPU".to_owned())?;
    let now =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let date: u64 = date.parse().map_err(|_| format!("no date: {date}"))?;
    ensure(now.abs_diff(date) <= 30, || format!("the guest's date is {date}, not {now}"))?;
    let uptime: u64 = uptime.parse().map_err(|_| format!("no time: {uptime}"))?;
    ensure(uptime < 600, || format!("the guest has been up for {uptime} s"))?;
    Ok(Known { uuid: uuid.to_owned() })
}
