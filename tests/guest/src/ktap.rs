// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Writes KTAP, the kernel's test output (Documentation/dev-tools/ktap.rst).

use crate::Failure;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// What a test returns: nothing, why it failed, or [`Skip`].
pub type Outcome = Result<(), Failure>;

/// A named test.
pub struct Test {
    /// Its name, one word.
    pub name: &'static str,
    /// Its body.
    pub run: fn() -> Outcome,
}

/// A named test that is made at run time.
pub struct Trial<'a> {
    name: String,
    run: Box<dyn FnOnce() -> Outcome + 'a>,
}

impl<'a> Trial<'a> {
    /// A test called `name`, one word, that does `run`.
    pub fn new(name: impl Into<String>, run: impl FnOnce() -> Outcome + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
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
    ($($module:ident::$name:ident),* $(,)?) => {
        &[$($crate::ktap::Test { name: stringify!($name), run: $module::$name }),*]
    };
}

/// Fails the test, with a line that says what was expected and what was found.
///
/// # Errors
/// If the two differ.
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
///
/// # Errors
/// `what`, if not.
pub fn expect(what: &str, holds: bool) -> Outcome {
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}

/// Runs the tests of `tests` that are named on the command line, or all, and
/// prints KTAP on standard output.
#[must_use]
pub fn main(tests: &[Test]) -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if let Some(name) = names.iter().find(|name| tests.iter().all(|test| test.name != **name)) {
        let known: Vec<_> = tests.iter().map(|test| test.name).collect();
        eprintln!("no test is called '{name}'; there are: {}", known.join(" "));
        return ExitCode::from(crate::program::BAD_USAGE);
    }
    let wanted =
        tests.iter().filter(|test| names.is_empty() || names.iter().any(|name| name == test.name));
    run(wanted.map(|test| Trial::new(test.name, test.run)).collect())
}

/// Runs `trials` and prints KTAP on standard output.
#[must_use]
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
    for (number, Trial { name, run }) in (1..).zip(trials) {
        let outcome = catch_unwind(AssertUnwindSafe(run));
        let outcome = outcome.unwrap_or_else(|_| Err("the test panicked".into()));
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut out = Vec::new();
        assert!(!write(&mut out, trials).unwrap());
        let expected = "KTAP version 1\n1..4\nok 1 fine\n# sum: expected 2, found 1\n\
                        not ok 2 wrong\nok 3 elsewhere # SKIP no swap\n\
                        # the test panicked\nnot ok 4 broken\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert!(write(&mut Vec::new(), vec![fine(), elsewhere()]).unwrap());
    }
}
