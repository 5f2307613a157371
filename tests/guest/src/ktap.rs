// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs tests and writes KTAP, the kernel's test output
//! (Documentation/dev-tools/ktap.rst).
//!
//! Each test runs in a process of its own with a time limit, so that whatever becomes of
//! it, the others run. What it prints meanwhile are diagnostics.

use crate::Failure;
use crate::children::Child;
use crate::memory::memory_file;
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, alarm, setpgid};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::time::Instant;

/// What a test returns: nothing, why it failed, or [`Skip`].
pub type Outcome = Result<(), Failure>;

/// A test that is named as its function.
pub struct Test {
    /// Path of the function.
    pub path: &'static str,
    /// The function.
    pub run: fn() -> Outcome,
}

impl Test {
    fn name(&self) -> &'static str {
        self.path.rsplit("::").next().unwrap_or(self.path)
    }
}

/// Seconds after which a test is killed unless it has a limit of its own.
const LIMIT: u32 = 120;

/// How many times longer than usual all may take here, as who started the guest says.
fn slowness() -> u32 {
    let told = std::env::var("FARFAULT_SLOWNESS").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(1)
}

/// A named test that is made at run time.
pub struct Trial<'a> {
    name: String,
    limit: u32,
    run: Box<dyn FnOnce() -> Outcome + 'a>,
}

impl<'a> Trial<'a> {
    /// A test called `name`, one word, that does `run`.
    pub fn new(name: impl Into<String>, run: impl FnOnce() -> Outcome + 'a) -> Self {
        Self { name: name.into(), limit: LIMIT, run: Box::new(run) }
    }

    /// The same, killed after so many seconds.
    #[must_use]
    pub fn limited(self, limit: u32) -> Self {
        Self { limit, ..self }
    }
}

/// Why a test could not be done here; return it as the error.
#[derive(Debug)]
pub struct Skip(pub String);

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// A list of [`Test`]s, each named as its function.
#[macro_export]
macro_rules! tests {
    ($($test:path),* $(,)?) => {
        &[$($crate::ktap::Test { path: stringify!($test), run: $test }),*]
    };
}

/// The main function of a program that runs these tests and does nothing else.
#[macro_export]
macro_rules! test_program {
    ($($test:path),* $(,)?) => {
        fn main() -> std::process::ExitCode {
            $crate::ktap::main($crate::tests![$($test),*])
        }
    };
}

/// Fails the test, with a line that says what was expected and what was found.
pub fn expect_equal<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    found: &T,
    expected: &T,
) -> Outcome {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected:?}, found {found:?}").into())
    }
}

/// Fails the test unless `holds`.
pub fn expect(what: &str, holds: bool) -> Outcome {
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}

/// Fails the test unless `call` refuses each of `wrong`, which are told by a word, as it must.
pub fn expect_refusals<R>(
    wrong: impl IntoIterator<Item = (&'static str, R, Errno)>,
    mut call: impl FnMut(R) -> nix::Result<()>,
) -> Outcome {
    let mut wrong = wrong.into_iter();
    wrong.try_for_each(|(what, request, errno)| expect_equal(what, &call(request), &Err(errno)))
}

/// Runs the tests of `tests` that are named on the command line, or all, and
/// prints KTAP on standard output.
pub fn main(tests: &[Test]) -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    match names.iter().find(|name| tests.iter().all(|test| test.name() != **name)) {
        Some(word) if ["--list", "--help"].contains(&word.as_str()) => {
            tests.iter().for_each(|test| println!("{}", test.name()));
            ExitCode::SUCCESS
        }
        Some(name) => {
            eprintln!("no test is called '{name}'; --list shows which there are");
            ExitCode::from(crate::program::BAD_USAGE)
        }
        None => {
            let wanted = |test: &&Test| names.is_empty() || names.iter().any(|n| n == test.name());
            let trials = tests.iter().filter(wanted);
            run(trials.map(|test| Trial::new(test.name(), test.run)).collect())
        }
    }
}

/// Runs `trials` and prints KTAP on standard output.
pub fn run(trials: Vec<Trial<'_>>) -> ExitCode {
    match write(&mut std::io::stdout(), trials) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(crate::program::FAILED),
        Err(error) => {
            eprintln!("cannot write the results: {error}");
            ExitCode::from(crate::program::FAILED)
        }
    }
}

fn write(out: &mut dyn Write, trials: Vec<Trial<'_>>) -> std::io::Result<bool> {
    writeln!(out, "KTAP version 1\n1..{}", trials.len())?;
    let mut passed = true;
    for (number, Trial { name, limit, run }) in (1..).zip(trials) {
        out.flush()?;
        let began = Instant::now();
        let outcome = in_child(limit.saturating_mul(slowness()), run);
        writeln!(out, "# {} ms", began.elapsed().as_millis())?;
        match outcome {
            Ok(()) => writeln!(out, "ok {number} {name}")?,
            Err(why) if why.is::<Skip>() => writeln!(out, "ok {number} {name} # SKIP {why}")?,
            Err(why) => {
                passed = false;
                for line in why.to_string().lines() {
                    writeln!(out, "# {line}")?;
                }
                writeln!(out, "not ok {number} {name}")?;
            }
        }
        out.flush()?;
    }
    Ok(passed)
}

/// Runs `body` in a child, which is killed after `limit` seconds, and with it whatever
/// it has started.
fn in_child(limit: u32, body: impl FnOnce() -> Outcome) -> Outcome {
    // Not a pipe: a process that was left behind would keep it open.
    let told = memory_file(0)?;
    let child = Child::start(|| {
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        alarm::set(limit);
        set_pdeathsig(Signal::SIGKILL)?;
        let words = match body() {
            Ok(()) => "ok".to_owned(),
            Err(why) if why.is::<Skip>() => format!("skip {why}"),
            Err(why) => format!("fail {why}"),
        };
        Ok(told.write_all_at(words.as_bytes(), 0)?)
    })?;
    let group = Pid::from_raw(child.id());
    let ended = child.wait();
    // Nothing to do if nobody is left.
    let _ = killpg(group, Signal::SIGKILL);
    let words = std::io::read_to_string(&told)?;
    match (words.split_once(' '), ended) {
        (None, Ok(0)) if words == "ok" => Ok(()),
        (Some(("skip", why)), Ok(0)) => Err(Box::new(Skip(why.to_owned()))),
        (Some(("fail", why)), Ok(0)) => Err(why.into()),
        (_, Err(why)) if why.to_string().contains("SIGALRM") => {
            Err(format!("it takes longer than {limit} s").into())
        }
        (_, Err(why)) => Err(why),
        (_, Ok(code)) => Err(format!("the test's process ended with exit code {code}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(trials: Vec<Trial<'_>>) -> (bool, String) {
        let mut out = Vec::new();
        let passed = write(&mut out, trials).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines = text.lines().filter(|line| !line.ends_with(" ms"));
        (passed, lines.map(|line| format!("{line}\n")).collect())
    }

    #[test]
    fn results_are_numbered_and_failures_explained() {
        let fine = || Trial::new("fine", || Ok(()));
        let elsewhere = || Trial::new("elsewhere", || Err(Box::new(Skip("no swap".to_owned()))));
        let trials = vec![
            fine(),
            Trial::new("wrong", || expect_equal("sum", &1, &2)),
            elsewhere(),
            Trial::new("broken", || panic!("on purpose")),
        ];
        let expected = "KTAP version 1\n1..4\nok 1 fine\n# sum: expected 2, found 1\n\
                        not ok 2 wrong\nok 3 elsewhere # SKIP no swap\n\
                        # the test's process ended with exit code 1\nnot ok 4 broken\n";
        assert_eq!(written(trials), (false, expected.to_owned()));
        assert!(written(vec![fine(), elsewhere()]).0);
    }

    fn passes() -> Outcome {
        Ok(())
    }

    #[test]
    fn a_test_is_called_as_its_function() {
        let tests: &[Test] = tests![passes, self::passes];
        assert!(tests.iter().all(|test| test.name() == "passes"));
    }

    #[test]
    fn a_test_that_hangs_fails_and_the_next_one_runs() {
        let hangs = || loop {
            std::thread::park();
        };
        let left_behind = || {
            std::mem::forget(Child::start(hangs)?);
            Ok(())
        };
        let trials = vec![
            Trial::new("hangs", hangs).limited(1),
            Trial::new("leaves", left_behind),
            Trial::new("killed", || Ok(nix::sys::signal::raise(Signal::SIGKILL)?)),
        ];
        let expected = "KTAP version 1\n1..3\n# it takes longer than 1 s\nnot ok 1 hangs\n\
                        ok 2 leaves\n# the child ended with Signaled";
        let (passed, text) = written(trials);
        assert!(!passed && text.starts_with(expected), "{text}");
    }
}
