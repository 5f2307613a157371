// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `farfault qemu`: a guest on QEMU, with the accelerator served by the program itself. What a
//! user sees is what `farfault run` shows.

use farfault_tests::check::{
    Check, LEAKS, LOG, SWITCHED_OFF, ensure, exit_code, good_end, one_line, succeeded,
};
use farfault_tests::hosting::Hosting;
use farfault_tests::run::{
    Farfault, Finished, QUICKLY, Ran, Step, USUAL, counted, host_file, marked, script_of,
};
use farfault_tests::unit::Unit;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

const KEPT: &str = "farfault: kept the state ";
const TAKEN: &str = "farfault: taking up the state ";
/// What the program says of a QEMU that somebody has killed.
const KILLED: &str = "farfault: QEMU was killed by SIGKILL";

pub fn units() -> Vec<Unit> {
    vec![Unit::new("qemu", run)]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    // Beside the image, where there is room for it.
    let place = farfault.image.parent().unwrap_or(Path::new("/"));
    let cache = tempfile::Builder::new().prefix("test-qemu-").tempdir_in(place);
    let cache = cache.map_err(|error| format!("no folder in {}: {error}", place.display()))?;
    let shared = farfault.on(Hosting::VfioUser);
    let own = Own(shared.with_cache(cache.path()));
    let steps =
        [("saxpy", "saxpy 100000"), ("stress", "stress"), ("submission", "submission"), LEAKS, LOG];
    let steps = steps.map(|(name, command)| Step::new(name, command));
    let work = shared.script(&USUAL, &script_of(&steps, ""))?;
    let mut checks = vec![
        Check::new("saxpy", succeeded(&work, "saxpy")),
        Check::new("stress", succeeded(&work, "stress")),
        Check::new("what was counted", counts(&work)),
        Check::new("a submission is a message without a reply", submission(&work)),
    ];
    checks.extend(good_end(&work));
    let others: [(&str, Result<(), String>); 9] = [
        ("the first boot leaves a state behind", own.streams(KEPT)),
        ("runs from it at the same time", own.twice()),
        ("files, input and exit code", own.streams(TAKEN)),
        ("behind an IOMMU", behind_an_iommu(&shared)),
        ("persistent memory", own.persistent_memory()),
        ("what comes before the command", own.prepared()),
        ("ends of a guest", own.ends()),
        ("ends of the program and of QEMU", own.kills()),
        ("what cannot be", own.refusals()),
    ];
    checks.extend(others.map(|(name, result)| Check::new(name, result)));
    Ok(checks)
}

/// Each register read is waited for, and an interrupt is an eventfd's.
fn counts(finished: &Finished) -> Result<(), String> {
    let stats = &finished.stats;
    let count = |path| counted(stats, path);
    let all = [
        count("device/descriptors")?,
        count("driver/faults")?,
        count("vmm/doorbells")?,
        count("vmm/msix_sent")?,
        count("vmm/register_reads")?,
    ];
    let faults = count("vmm/dma_faults")?;
    let counted = all.iter().all(|count| *count > 0) && faults == 0;
    ensure(counted && stats["hosting"] == "qemu", || format!("{stats:#}"))
}

/// Between its marks the program `submission` only submits.
fn submission(finished: &Finished) -> Result<(), String> {
    succeeded(finished, "submission")?;
    let count = |path| marked(&finished.stats, "submitted", path);
    let (done, doorbells) = (count("device/descriptors")?, count("vmm/doorbells")?);
    let [reads, writes] = [count("vmm/register_reads")?, count("vmm/register_writes")?];
    ensure(done >= 1000 && doorbells >= 1 && reads == 0 && writes == 0, || {
        format!("{done} descriptors, {doorbells} doorbells, {reads} reads, {writes} writes")
    })
}

/// What the driver unmaps is out of the device's reach.
fn behind_an_iommu(farfault: &Farfault) -> Result<(), String> {
    let script = "ls -d /sys/bus/pci/drivers/farfault/0*/iommu && saxpy 10000 && leaks";
    let finished = farfault.script(&[&USUAL[..], &["--iommu"]].concat(), script)?;
    exit_code(&finished, 0)?;
    let count = |path| counted(&finished.stats, path);
    let [maps, unmaps] = [count("vmm/dma_maps")?, count("vmm/dma_unmaps")?];
    let faults = count("vmm/dma_faults")?;
    ensure(maps > 20 && unmaps > 20 && faults == 0, || {
        format!("{maps} maps, {unmaps} unmaps, {faults} faults")
    })
}

/// A program with states of its own.
struct Own(Farfault);

impl Own {
    fn run(&self, words: &[&str]) -> Ran {
        self.0.run(&[&["qemu", "-v", QUICKLY], words].concat())
    }

    /// A run that has its signals, although a shell ignores SIGINT for what is in its background.
    fn start(&self, words: &[&str]) -> Result<Child, String> {
        let ours = self.0.command();
        let mut command = Command::new("env");
        command
            .arg("--default-signal=INT")
            .arg(ours.get_program())
            .args(["qemu", "-v", QUICKLY])
            .args(words);
        command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|error| error.to_string())
    }

    fn streams(&self, said: &str) -> Result<(), String> {
        let file = host_file()?;
        fs::write(file.path(), "mine ").map_err(|error| error.to_string())?;
        let file = format!("--file={}:/opt/mine", file.path().display());
        let script = "cat /opt/mine; cat; echo $K $PWD >&2; saxpy 1000 >/dev/null && exit 7";
        let mut child =
            self.start(&[&file, "--env=K=V", "--cwd=/opt", "--", "sh", "-c", script])?;
        if let Some(mut stdin) = child.stdin.take() {
            std::io::Write::write_all(&mut stdin, b"typed").map_err(|error| error.to_string())?;
        }
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let right = output.status.code() == Some(7) && output.stdout == b"mine typed";
        let told = stderr.contains("V /opt\n") && stderr.contains(said);
        ensure(right && told, || format!("{:?}: {stderr}", output.status))
    }

    /// The device of one is not that of the other.
    fn twice(&self) -> Result<(), String> {
        let one = || {
            let finished = self.run(&["--", "saxpy", "100000"])?;
            exit_code(&finished, 0)?;
            ensure(finished.stderr.contains(TAKEN), || finished.stderr.clone())
        };
        thread::scope(|scope| {
            let runs = [scope.spawn(one), scope.spawn(one)];
            let ended = runs.map(|run| run.join().unwrap_or(Err("a thread died".to_owned())));
            ended.into_iter().collect()
        })
    }

    /// The device reads what is in a file of the host, and what it writes is there afterwards. The
    /// state that the first run keeps has nothing of it.
    fn persistent_memory(&self) -> Result<(), String> {
        let files = [host_file()?, host_file()?];
        let run = |file: &Path, script: &str, said: &str| {
            let pmem = format!("--pmem={},size=32M", file.display());
            let finished = self.run(&[&pmem, "--", "sh", "-c", script])?;
            exit_code(&finished, 0)?;
            ensure(finished.stderr.contains(said), || finished.stderr.clone())?;
            Ok::<_, String>(finished.stdout)
        };
        let mount = "mkdir /pmem && mount -o dax=always /dev/pmem0 /pmem";
        let make = format!(
            "mkfs.ext4 -q -b 4096 /dev/pmem0 && {mount} && seq 10000 >/pmem/numbers && \
             wordcount /pmem/numbers"
        );
        let [one, other] = files.each_ref().map(|file| file.path());
        let words = run(one, &make, KEPT)?;
        ensure(words.contains("10000"), || words.clone())?;
        let nothing = run(other, "head -c 4096 /dev/pmem0 | tr -d '\\0' | wc -c", TAKEN)?;
        ensure(nothing == "0\n", || format!("{nothing} bytes of another file"))?;
        let again = run(one, &format!("{mount} && wordcount /pmem/numbers"), TAKEN)?;
        ensure(again == words, || format!("{again} after {words}"))
    }

    /// Once, and before the machine has its device.
    fn prepared(&self) -> Result<(), String> {
        let script = "tee -a /run/when </proc/sys/kernel/random/uuid; ! test -e /dev/farfault0";
        let run =
            || self.run(&["--prepare", script, "--", "sh", "-c", "cat /run/when && saxpy 1000"]);
        let (one, two) = (run()?, run()?);
        exit_code(&one, 0)?;
        exit_code(&two, 0)?;
        let [first, second] = [&one, &two].map(|ran| ran.stdout.lines().next().unwrap_or_default());
        ensure(first == second && two.stderr.contains(TAKEN), || format!("{one:?} {two:?}"))?;
        exit_code(&self.run(&["--prepare", "exit 3", "--", "true"])?, 3)
    }

    fn ends(&self) -> Result<(), String> {
        let ends = [
            ("echo c >/proc/sysrq-trigger", 120, "the guest panicked"),
            ("poweroff; sleep 1000", SWITCHED_OFF, "before its command had ended"),
            ("reboot -f", SWITCHED_OFF, "before its command had ended"),
            ("kill -9 $$", 137, ""),
        ];
        for (script, code, words) in ends {
            let finished = self.run(&["--", "sh", "-c", script])?;
            exit_code(&finished, code)?;
            ensure(finished.stderr.contains(words), || finished.stderr.clone())?;
        }
        let late = self.run(&["--timeout=1", "--", "sleep", "1000"])?;
        exit_code(&late, 124)
    }

    /// Whoever is killed, nothing stays.
    fn kills(&self) -> Result<(), String> {
        for (signal, whose, code) in [("TERM", "", Some(143)), ("KILL", "", None)]
            .into_iter()
            .chain([("INT", "", Some(130)), ("KILL", "QEMU", Some(70))])
        {
            let mut child = self.start(&["--", "sh", "-c", "echo up; sleep 100"])?;
            let mut said = String::new();
            let stdout = child.stdout.take().ok_or("no output")?;
            // It has come as far as that, or is at its end.
            let _ = BufReader::new(stdout).read_line(&mut said);
            let id = child.id().to_string();
            let qemu = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
            let qemu = qemu.map_err(|error| error.to_string())?.trim().to_owned();
            let target = if whose.is_empty() { &id } else { &qemu };
            let killed = Command::new("kill").args(["-s", signal, target]).status();
            ensure(killed.is_ok_and(|status| status.success()), || format!("no {whose} {target}"))?;
            let output = child.wait_with_output().map_err(|error| error.to_string())?;
            let stderr = String::from_utf8_lossy(&output.stderr);
            let told = whose.is_empty() || stderr.contains(KILLED);
            ensure(output.status.code() == code && told, || {
                format!("{signal}: {:?}: {stderr}", output.status)
            })?;
            let gone = (0..500).any(|_| {
                thread::sleep(std::time::Duration::from_millis(10));
                !Path::new("/proc").join(&qemu).exists()
            });
            ensure(gone, || format!("{signal}: QEMU lives on as process {qemu}"))?;
        }
        Ok(())
    }

    fn refusals(&self) -> Result<(), String> {
        let cases: [(&[&str], i32, &str); 5] = [
            (&["--accel=nested"], 64, "--accel nested is for run"),
            (&["--device=engines=0"], 64, "--device engines=0"),
            (&["--qemu=/bin/true"], 69, "/bin/true does not say which QEMU it is"),
            (&["--memory=128M", "--file=/usr/bin"], 64, "MiB of memory are too little"),
            (&["--pmem=/dev/null"], 64, "/dev/null is not a file"),
        ];
        for (options, code, words) in cases {
            let words_of = [&["qemu", "-q"], options, &["--", "true"]].concat();
            let finished = self.0.run(&words_of)?;
            exit_code(&finished, code)?;
            one_line(&finished, words)?;
        }
        let driver = self.run(&["--driver-params=nosuch=1", "--", "true"])?;
        exit_code(&driver, 120)?;
        ensure(driver.stderr.contains("has no parameter 'nosuch'"), || driver.stderr.clone())
    }
}
