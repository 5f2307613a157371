// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one kernel has to show: the results in a JUnit file, or why there is none.

use quick_junit::{Report, TestCase, TestCaseStatus, TestSuite, XmlString};
use std::collections::BTreeMap;
use std::path::Path;

/// How a test ended on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Otherwise; says what was found.
    Failed(String),
    /// Not looked at; says why.
    Skipped(String),
}

impl Outcome {
    /// In a word, for a table.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed(_) => "FAIL",
            Self::Skipped(_) => "skip",
        }
    }

    /// What it says beside.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Failed(why) | Self::Skipped(why) => {
                Some(why).filter(|why| !why.is_empty()).map(String::as_str)
            }
        }
    }
}

/// A kernel, and what the suite has found on it.
#[derive(Debug)]
pub struct Kernel {
    /// As the user has named it.
    pub name: String,
    /// The release that it turned out to be, if it could be had.
    pub release: String,
    /// The tests' outcomes by name, or why there are none.
    pub found: Result<BTreeMap<String, Outcome>, String>,
}

impl Kernel {
    /// Reads what scripts/radar leaves in a folder of its own for each kernel.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let file = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let line = |name: &str| file(name).map(|text| text.trim().to_owned());
        let found = match line("why") {
            Ok(why) => Err(why),
            Err(_) => file("junit.xml").and_then(|xml| outcomes(&xml)),
        };
        Ok(Self { name: line("kernel")?, release: line("release").unwrap_or_default(), found })
    }

    /// Which one it is, or why it could not be tried.
    pub fn told(&self) -> String {
        let Self { name, release, found } = self;
        match found {
            Ok(_) => format!("{name}: Linux {release}"),
            Err(why) => format!("{name}: not tried: {why}"),
        }
    }
}

/// The outcomes in a JUnit file.
pub fn outcomes(xml: &str) -> Result<BTreeMap<String, Outcome>, String> {
    let report = Report::deserialize_from_str(xml)
        .map_err(|error| format!("its results are no JUnit file: {error}"))?;
    let tests: BTreeMap<_, _> = report.test_suites.iter().flat_map(outcomes_of).collect();
    if tests.is_empty() { Err("no test was run".to_owned()) } else { Ok(tests) }
}

fn outcomes_of(suite: &TestSuite) -> impl Iterator<Item = (String, Outcome)> {
    suite.test_cases.iter().map(|case| (name(suite, case), outcome(case)))
}

/// A case's class is its scenario.
fn name(suite: &TestSuite, case: &TestCase) -> String {
    let scenario = case.classname.as_ref().unwrap_or(&suite.name);
    format!("{}::{}", scenario.as_str(), case.name.as_str())
}

fn outcome(case: &TestCase) -> Outcome {
    match &case.status {
        TestCaseStatus::Success { .. } => Outcome::Passed,
        TestCaseStatus::Skipped { message, description, .. } => {
            Outcome::Skipped(first_line([message, description]))
        }
        TestCaseStatus::NonSuccess { message, description, .. } => {
            Outcome::Failed(first_line([message, description]))
        }
    }
}

fn first_line(said: [&Option<XmlString>; 2]) -> String {
    let mut lines = said.into_iter().flatten().flat_map(|text| text.as_str().lines());
    lines.find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    const XML: &str = r#"<testsuites name="farfault"><testsuite name="matrix::thp" tests="4" failures="2">
        <testcase name="thp/munmap" classname="matrix" time="0.1"/>
        <testcase name="thp/free" classname="matrix"><failure message="far faults&#10;more"/></testcase>
        </testsuite><testsuite name="matrix">
        <testcase name="memfd/free"><skipped message="no swap"/></testcase>
        <testcase name="heap/free"><failure>
            it is in the text</failure></testcase>
        </testsuite></testsuites>"#;

    const EMPTY: &str = r#"<testsuites name="farfault"/>"#;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = TempDir::new().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        folder
    }

    #[test]
    fn outcomes_say_why() {
        let folder = folder(&[("kernel", "7.3\n"), ("release", "7.3.4-x\n"), ("junit.xml", XML)]);
        let kernel = Kernel::read(folder.path()).expect("a kernel");
        assert_eq!((kernel.name.as_str(), kernel.release.as_str()), ("7.3", "7.3.4-x"));
        let found = kernel.found.expect("results");
        assert_eq!(found["matrix::thp/munmap"], Outcome::Passed);
        assert_eq!(found["matrix::thp/free"], Outcome::Failed("far faults".to_owned()));
        assert_eq!(found["matrix::memfd/free"], Outcome::Skipped("no swap".to_owned()));
        assert_eq!(found["matrix::heap/free"], Outcome::Failed("it is in the text".to_owned()));
    }

    #[test]
    fn a_kernel_without_results_says_why() {
        let why = |files: &[(&str, &str)]| {
            Kernel::read(folder(files).path()).expect("a kernel").found.expect_err("no results")
        };
        assert_eq!(why(&[("kernel", "7.1"), ("why", "not there\n")]), "not there");
        assert!(why(&[("kernel", "7.1"), ("junit.xml", "<x>")]).contains("no JUnit file"));
        assert!(why(&[("kernel", "7.1"), ("junit.xml", EMPTY)]).contains("no test"));
        assert!(why(&[("kernel", "7.1")]).contains("junit.xml"));
        assert!(Kernel::read(folder(&[]).path()).is_err());
    }
}
