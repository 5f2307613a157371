// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The frame of a workload: command line in, one line and an exit code out.

use crate::Failure;
use crate::options::Options;
use std::fmt::Display;
use std::process::ExitCode;

/// Exit code when device and CPU disagree, or the work could not be done.
pub const FAILED: u8 = 1;
/// Exit code for a wrong command line.
pub const BAD_USAGE: u8 = 2;

/// A program as its users see it.
pub struct Program {
    /// What it is called.
    pub name: &'static str,
    /// Its operands and options.
    pub usage: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
}

/// What a workload found.
pub struct Summary {
    verified: bool,
    pairs: String,
}

impl Summary {
    /// A summary that says whether the CPU agrees.
    pub fn new(verified: bool) -> Self {
        Self { verified, pairs: String::new() }
    }

    /// Adds a `key=value` pair.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        self.pairs += &format!(" {key}={value}");
        self
    }

    fn line(&self, name: &str) -> String {
        let verified = if self.verified { "yes" } else { "no" };
        format!("{name}: verified={verified}{}", self.pairs)
    }
}

impl Program {
    /// Reads this process's command line with `read`, does `work` with what it
    /// gives, and prints the summary.
    pub fn run<T>(
        &self,
        read: impl FnOnce(&mut Options) -> Result<T, Failure>,
        work: impl FnOnce(T) -> Result<Summary, Failure>,
    ) -> ExitCode {
        let mut options = Options::new(std::env::args().skip(1));
        if options.switch("--help") {
            println!("usage: {} {}\n\n{}", self.name, self.usage, self.about);
            return ExitCode::SUCCESS;
        }
        let read = read(&mut options).and_then(|values| options.finish().map(|()| values));
        let values = match read {
            Ok(values) => values,
            Err(failure) => {
                eprintln!("{}: {failure}; usage: {} {}", self.name, self.name, self.usage);
                return ExitCode::from(BAD_USAGE);
            }
        };
        match work(values) {
            Ok(summary) => {
                println!("{}", summary.line(self.name));
                if summary.verified { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
            }
            Err(failure) => {
                eprintln!("{}: {failure}", self.name);
                ExitCode::from(FAILED)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line_of_pairs() {
        let summary = Summary::new(true).with("elements", 5).with("page", "small");
        assert_eq!(summary.line("first-touch"), "first-touch: verified=yes elements=5 page=small");
        assert_eq!(Summary::new(false).line("saxpy"), "saxpy: verified=no");
    }
}
