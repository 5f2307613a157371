// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One thing that was looked at, and what was found.

use crate::kernel_log;
use crate::ktap::{self, Outcome};
use crate::run::{Finished, Section, section};

/// The step behind all others: it fails if the driver has not given back all that it had.
pub const LEAKS: (&str, &str) = ("gauges", "leaks");

/// The step that shows the kernel's log, and what memory was lost if the kernel can tell.
pub const LOG: (&str, &str) = ("log", "find_leaks && dmesg");

/// How a check came out.
#[derive(Debug)]
pub enum Verdict {
    /// As it should.
    Passed,
    /// Otherwise; says what was found.
    Failed(String),
    /// Not looked at; says why.
    Skipped(String),
}

/// A named check.
#[derive(Debug)]
pub struct Check {
    /// Its name within the scenario.
    pub name: String,
    /// How it came out.
    pub verdict: Verdict,
    /// How long it took, if that is known.
    pub seconds: Option<f64>,
}

impl Check {
    /// Passed if `result` is Ok.
    pub fn new(name: impl Into<String>, result: Result<(), String>) -> Self {
        let verdict = match result {
            Ok(()) => Verdict::Passed,
            Err(why) => Verdict::Failed(why),
        };
        Self { name: name.into(), verdict, seconds: None }
    }

    /// Not looked at, for this reason.
    pub fn skipped(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Skipped(why.into()), seconds: None }
    }

    /// The same, named without the `part` that its unit is called by already.
    #[must_use]
    pub fn within(self, part: &str) -> Self {
        let rest = self.name.strip_prefix(part);
        let rest = rest.and_then(|rest| rest.strip_prefix("::").or(rest.strip_prefix('/')));
        let name = rest.unwrap_or(&self.name).to_owned();
        Self { name, ..self }
    }

    /// The same, skipped for this reason if it has failed.
    #[must_use]
    pub fn excused(self, why: impl FnOnce(&str) -> Option<String>) -> Self {
        let excuse = match self.verdict {
            Verdict::Failed(_) => why(&self.name),
            Verdict::Passed | Verdict::Skipped(_) => None,
        };
        match excuse {
            Some(why) => Self { verdict: Verdict::Skipped(why), ..self },
            None => self,
        }
    }

    /// What it has found wrong, if anything.
    pub fn complaint(self) -> Option<String> {
        match self.verdict {
            Verdict::Failed(why) => Some(format!("{}: {why}", self.name)),
            Verdict::Passed | Verdict::Skipped(_) => None,
        }
    }
}

/// Fails with `what` unless it holds.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// What a run ends with if its guest restarted or was switched off.
pub const SWITCHED_OFF: i32 = 121;

/// `finished` has this exit code.
pub fn exit_code(finished: &Finished, wanted: i32) -> Result<(), String> {
    ensure(finished.code == Some(wanted), || {
        format!(
            "exit code {:?} instead of {wanted}\n--- stdout\n{}\n--- stderr\n{}",
            finished.code,
            tail(&finished.stdout),
            tail(&finished.stderr)
        )
    })
}

/// Standard error is one line that holds `words`.
pub fn one_line(finished: &Finished, words: &str) -> Result<(), String> {
    let lines = finished.stderr.lines().count();
    ensure(lines == 1 && finished.stderr.contains(words), || {
        format!("expected one line with '{words}', got {lines}:\n{}", tail(&finished.stderr))
    })
}

/// The step ended with code 0.
pub fn succeeded(finished: &Finished, step: &str) -> Result<(), String> {
    ended(finished, step, 0)
}

/// The step ended with this code.
pub fn ended(finished: &Finished, step: &str, wanted: i32) -> Result<(), String> {
    let Section { code, output } = found(finished, step)?;
    ensure(code == Some(wanted), || {
        format!("exit code {code:?} instead of {wanted}, having printed\n{}", tail(&output))
    })
}

/// The step printed these words.
pub fn says(finished: &Finished, step: &str, words: &str) -> Result<(), String> {
    let output = found(finished, step)?.output;
    ensure(output.contains(words), || format!("no '{words}' in\n{}", tail(&output)))
}

/// Steps that each must succeed.
pub fn each<'n>(finished: &Finished, names: impl IntoIterator<Item = &'n str>) -> Vec<Check> {
    names.into_iter().map(|name| Check::new(name, succeeded(finished, name))).collect()
}

/// The guest has ended well, its [`LOG`] has no complaint, and the driver has [nothing](LEAKS)
/// left.
pub fn good_end(finished: &Finished) -> [Check; 3] {
    good_end_but(finished, None)
}

/// The same, but for a bug of the kernel, of which it warns, which is no failure of ours.
pub fn good_end_but(finished: &Finished, bug: Option<&str>) -> [Check; 3] {
    [
        Check::new("exit code", exit_code(finished, 0)),
        Check::new("log is clean", clean_log_but(finished, LOG.0, bug)),
        Check::new("gauges are back at zero", succeeded(finished, LEAKS.0)),
    ]
}

/// Each KTAP line of the step, and whether its exit code agrees with them. The guest has all that the cases need,
/// so one that skips itself has failed.
pub fn ktap(finished: &Finished, step: &str) -> Vec<Check> {
    ktap_but(finished, step, |_| false)
}

/// Whether a cell of the matrix was skipped because it makes no sense, not because this
/// guest lacks something.
pub fn not_applicable(why: &str) -> bool {
    why.starts_with("not applicable: ")
}

/// As [`ktap`], but cases may be skipped for a reason that is `expected`.
pub fn ktap_but(finished: &Finished, step: &str, expected: fn(&str) -> bool) -> Vec<Check> {
    let cases = found(finished, step).and_then(|found| ktap::parse(&found.output));
    let failed = |case: &ktap::Case| case.outcome == Outcome::Failed;
    let code = i32::from(cases.as_ref().is_ok_and(|cases| cases.iter().any(failed)));
    let mut checks = vec![Check::new(format!("{step} ends well"), ended(finished, step, code))];
    match cases {
        Err(why) => checks.push(Check::new(format!("{step}::plan"), Err(why))),
        Ok(cases) => checks.extend(cases.into_iter().map(|case| Check {
            name: format!("{step}::{}", case.name),
            seconds: case.seconds(),
            verdict: match case.outcome {
                Outcome::Passed => Verdict::Passed,
                Outcome::Failed => Verdict::Failed(case.diagnostics.join("\n")),
                Outcome::Skipped(why) if expected(&why) => Verdict::Skipped(why),
                Outcome::Skipped(why) => Verdict::Failed(format!("skipped itself: {why}")),
            },
        })),
    }
    checks
}

/// The step printed a kernel log, and nothing in it complains.
pub fn clean_log(finished: &Finished, step: &str) -> Result<(), String> {
    clean_log_but(finished, step, None)
}

fn clean_log_but(finished: &Finished, step: &str, bug: Option<&str>) -> Result<(), String> {
    let log = found(finished, step)?.output;
    let log = bug.map_or_else(|| log.clone(), |bug| kernel_log::without_warning(&log, bug));
    ensure(log.contains("Linux version"), || "there is no kernel log".to_owned())?;
    let races = kernel_log::others_races(&log);
    if races > 0 {
        println!("note: KCSAN has found {races} data races without the driver");
    }
    let complaints = kernel_log::complaints(&log);
    ensure(complaints.is_empty(), || {
        format!("{}\n--- the log's end\n{}", complaints.join("\n"), tail(&log))
    })
}

/// What the step printed, or how the guest ended before.
pub fn found(finished: &Finished, step: &str) -> Result<Section, String> {
    section(&finished.stdout, step).ok_or_else(|| {
        format!(
            "the guest ended before this step, with exit code {:?}\n--- stdout\n{}\n--- stderr\n{}",
            finished.code,
            tail(&finished.stdout),
            tail(&finished.stderr)
        )
    })
}

/// The number that a summary in `text` gives for `name`.
pub fn number(text: &str, name: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// The last lines, enough to hold a kernel's panic whole.
fn tail(text: &str) -> String {
    const LINES: usize = 120;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
