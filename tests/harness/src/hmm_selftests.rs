// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's HMM selftest, run for our device and for the kernel's own
//! simulated one, and its cases judged.
//!
//! Which cases there are is read from the test's source, as the kernel's source changes.
//! A case that is not known is run, and is new.

use crate::ktap::{self, Outcome};
use crate::run::{Farfault, Ran, Step, script_of};
use std::path::{Path, PathBuf};

/// The cases for devices with private memory that are known, of any kernel.
const KNOWN: &str = "open_close anon_read anon_read_prot anon_write anon_write_prot \
    anon_write_child anon_write_child_shared anon_write_huge anon_write_hugetlbfs file_read \
    file_write migrate migrate_file_private migrate_fault migrate_release migrate_shared \
    migrate_multiple anon_read_multiple anon_teardown mixedmap compound exclusive \
    exclusive_mprotect exclusive_cow hmm_gup_test hmm_cow_in_device migrate_anon_huge_empty \
    migrate_anon_huge_zero migrate_anon_huge_free migrate_anon_huge_fault \
    migrate_partial_unmap_fault migrate_remap_fault migrate_anon_huge_err \
    migrate_anon_huge_zero_err userfaultfd_read migrate_mixed snapshot double_map";

/// Of these, the one that needs a file of the kernel's, which few kernels have (CONFIG_GUP_TEST).
const WITH_GUP_TEST: &str = "hmm_gup_test";

/// Series of Linux that are claimed to be supported: there, a new case is a failure.
const CLAIMED: [&str; 2] = ["7.2.", "7.3."];

/// Measures migration for minutes, and asserts nothing about it.
const BENCHMARK: &str = "benchmark_thp_migration";

/// The variants for memory that a guest would have to be booted with.
const NO_COHERENT: &str = "-V hmm_device_coherent -V hmm2_device_coherent";

/// An assertion of the selftest that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where it stands in hmm-tests.c, from 1 on.
    pub line: usize,
    /// What was found instead.
    pub text: String,
}

/// A case, for both devices.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// With our device.
    pub ours: Outcome,
    /// What it complained of there.
    pub complaints: Vec<Complaint>,
    /// With the kernel's simulated device.
    pub control: Outcome,
    /// Whether it is in no list here.
    pub new: bool,
}

/// The cases of the selftest of which this is the `source`, in its order, but the benchmark.
fn cases(source: &str) -> Vec<&str> {
    source.lines().filter_map(case_name).collect()
}

fn is_known(name: &str) -> bool {
    KNOWN.split_whitespace().any(|known| known == name)
}

/// Of a line as "TEST_F_TIMEOUT(hmm, anon_read, 60)".
fn case_name(line: &str) -> Option<&str> {
    let (head, rest) = line.split_once('(')?;
    let name = rest.split([',', ')']).nth(1)?.trim();
    (["TEST_F", "TEST_F_TIMEOUT"].contains(&head) && name != BENCHMARK).then_some(name)
}

/// The directory that guest-image/hmm-tests made.
pub fn from_environment() -> Result<PathBuf, String> {
    let made = std::env::var_os("FARFAULT_HMM_TESTS")
        .filter(|made| !made.is_empty())
        .map(PathBuf::from)
        .ok_or("FARFAULT_HMM_TESTS is not set; see what guest-image/hmm-tests says")?;
    for name in ["hmm-tests", "hmm-tests.c", "test_hmm.ko"] {
        if !made.join(name).is_file() {
            return Err(format!("{} has no {name}; run guest-image/hmm-tests", made.display()));
        }
    }
    Ok(made)
}

/// Where a guest finds the kernel's module.
pub const MODULE: &str = "/test_hmm.ko";

/// The option by which a guest is given that module.
pub fn module(made: &Path) -> String {
    format!("--file={}:{MODULE}", made.join("test_hmm.ko").display())
}

/// Boots a guest in which the selftest runs for our device, then `more`, then for the control,
/// and `after` that, when `test_hmm` is loaded and our driver is not.
pub fn run(farfault: &Farfault, made: &Path, more: &[Step], after: &[Step]) -> Ran {
    let tests = format!("hmm-tests {NO_COHERENT} -T {BENCHMARK}");
    let mut steps = vec![Step::new("ours", &tests)];
    steps.extend_from_slice(more);
    steps.push(Step::new("control", format!("unload && insmod {MODULE} && {tests}")));
    steps.extend_from_slice(after);
    farfault.script(&options(made), &script_of(&steps, ""))
}

/// A machine for the selftest, which is in there with the kernel's module.
pub fn options(made: &Path) -> [String; 7] {
    [
        "--cpus=2".to_owned(),
        "--memory=2G".to_owned(),
        "--device=vram=128M".to_owned(),
        "--timeout=600".to_owned(),
        "--driver-params=dmirror=1".to_owned(),
        format!("--file={}:/bin/hmm-tests", made.join("hmm-tests").display()),
        module(made),
    ]
}

/// Cases that our device passes, which is worth something only if the kernel's passes
/// them, and that it does not.
pub fn refuted(rows: &[Row]) -> Vec<&Row> {
    let alone = |row: &&Row| row.ours == Outcome::Passed && row.control == Outcome::Failed;
    rows.iter().filter(alone).collect()
}

/// Those that are in no list here although they should be, of a kernel of this release.
pub fn overlooked<'r>(rows: &'r [Row], release: &str) -> Vec<&'r str> {
    let claimed = CLAIMED.iter().any(|series| release.starts_with(series));
    rows.iter().filter(|row| row.new && claimed).map(|row| row.name.as_str()).collect()
}

/// Reads the selftest's source.
pub fn source(made: &Path) -> Result<String, String> {
    let path = made.join("hmm-tests.c");
    std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Puts together what the selftest, of which this is the `source`, printed for both devices.
pub fn rows(source: &str, ours: &str, control: &str) -> Result<Vec<Row>, String> {
    let read = |which: &str, output: &str| {
        ktap::parse(output).map_err(|why| format!("{which}: {why}, which was\n{output}"))
    };
    let (ours_cases, control_cases) = (read("farfault", ours)?, read("test_hmm", control)?);
    let row = |name: &str| {
        let complaints = complaints(ours, name);
        let ours = judge(name, outcome(&ours_cases, name), &complaints);
        let control = control_outcome(outcome(&control_cases, name), control, name);
        Row { name: name.to_owned(), ours, complaints, control, new: !is_known(name) }
    };
    match cases(source) {
        none if none.is_empty() => Err("the selftest's source has no case".to_owned()),
        cases => Ok(cases.into_iter().map(row).collect()),
    }
}

/// The assertions of a case that did not hold. They come from several processes, on
/// another stream than the results: only the name tells where they belong.
fn complaints(output: &str, name: &str) -> Vec<Complaint> {
    let said = format!(":{name}:");
    output
        .lines()
        .filter_map(|line| line.strip_prefix("# hmm-tests.c:"))
        .filter_map(|line| line.split_once(&said))
        // Line 0, if it is no number, is nowhere in the source.
        .map(|(line, text)| Complaint { line: line.parse().unwrap_or(0), text: text.to_owned() })
        .collect()
}

fn outcome(cases: &[ktap::Case], name: &str) -> Outcome {
    // As in "hmm.hmm_device_private.anon_read".
    let found = cases.iter().find(|case| case.name.rsplit('.').next() == Some(name));
    found.map_or(Outcome::Failed, |case| case.outcome.clone())
}

/// The kernel's device moves what it gets hold of just then. A case that wants all pages to be
/// there, and gets ENOENT, says nothing.
fn control_outcome(found: Outcome, output: &str, name: &str) -> Outcome {
    let is_unsure = |complaint: &Complaint| complaint.text == "Expected ret (-2) == 0 (0)";
    let complaints = complaints(output, name);
    if found == Outcome::Failed && !complaints.is_empty() && complaints.iter().all(is_unsure) {
        return Outcome::Skipped("not all pages moved".to_owned());
    }
    found
}

/// The guest has all that the cases need but one, so they have no reason to skip themselves.
fn judge(name: &str, found: Outcome, complaints: &[Complaint]) -> Outcome {
    match found {
        Outcome::Passed if complaints.is_empty() => found,
        Outcome::Skipped(_) if name == WITH_GUP_TEST => {
            Outcome::Skipped("the kernel lacks CONFIG_GUP_TEST".to_owned())
        }
        _ => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "TEST_F(hmm, open_close)\nTEST_F(hmm, anon_read)\n\
        TEST_F(hmm, compound)\nTEST_F(hmm, hmm_gup_test)\n\
        TEST_F_TIMEOUT(hmm, benchmark_thp_migration, 120)\nTEST_F(hmm2, of_tomorrow)\n";
    const CONTROL: &str = "1..1\nok 1 hmm.hmm_device_private.anon_read\n";

    fn ours(output: &str, name: &str) -> Outcome {
        let rows = rows(SOURCE, output, CONTROL).expect("results");
        rows.into_iter().find(|row| row.name == name).expect("a case").ours
    }

    #[test]
    fn a_case_is_known_by_its_last_name() {
        let rows = rows(SOURCE, "1..1\nok 1 hmm.hmm_device_private.anon_read\n", CONTROL)
            .expect("results");
        assert_eq!((rows.len(), &rows[1].ours), (5, &Outcome::Passed));
        assert_eq!(rows[1].control, Outcome::Passed);
        assert_eq!(rows[2].ours, Outcome::Failed, "one that was not run has not passed");
    }

    #[test]
    fn a_complaint_spoils_a_case_that_says_ok() {
        let output = "1..1\n# hmm-tests.c:9:anon_read:Expected 1 == 2\nok 1 hmm.x.anon_read\n";
        assert_eq!(ours(output, "anon_read"), Outcome::Failed);
    }

    #[test]
    fn a_case_that_skips_itself_has_not_passed() {
        assert_eq!(ours("1..1\nok 1 hmm.x.compound # SKIP none\n", "compound"), Outcome::Failed);
    }

    #[test]
    fn one_case_needs_what_few_kernels_have() {
        let skips = ours("1..1\nok 1 hmm.x.hmm_gup_test # SKIP none\n", "hmm_gup_test");
        assert!(matches!(skips, Outcome::Skipped(_)));
        let fails = ours("1..1\nnot ok 1 hmm.x.hmm_gup_test\n", "hmm_gup_test");
        assert_eq!(fails, Outcome::Failed);
    }

    #[test]
    fn what_the_control_does_not_pass_shows_nothing() {
        let rows = rows(SOURCE, "1..1\nok 1 hmm.x.compound\n", CONTROL).expect("results");
        assert_eq!(refuted(&rows).iter().map(|row| &row.name).collect::<Vec<_>>(), ["compound"]);
    }

    #[test]
    fn a_control_that_has_not_moved_all_refutes_nothing() {
        let control = "1..1\n# hmm-tests.c:9:compound:Expected ret (-2) == 0 (0)\n\
            not ok 1 hmm.x.compound\n";
        let rows = rows(SOURCE, "1..1\nok 1 hmm.x.compound\n", control).expect("results");
        assert!(refuted(&rows).is_empty());
    }

    #[test]
    fn a_case_that_is_not_known_is_run_and_new() {
        let rows = rows(SOURCE, "1..1\nok 1 hmm.x.of_tomorrow\n", CONTROL).expect("results");
        let new: Vec<_> = rows.iter().filter(|row| row.new).map(|row| row.name.as_str()).collect();
        assert_eq!(new, ["of_tomorrow"]);
        assert_eq!(overlooked(&rows, "7.3.4+deb13-cloud-amd64"), ["of_tomorrow"]);
        assert!(overlooked(&rows, "7.4.1-cloud-amd64").is_empty(), "nobody claims that series");
        assert_eq!(rows.last().map(|row| &row.ours), Some(&Outcome::Passed));
    }

    #[test]
    fn no_results_are_an_error() {
        assert!(rows(SOURCE, "insmod: no such file", CONTROL).is_err());
        assert!(rows("", "1..1\nok 1 a\n", CONTROL).is_err());
    }
}
