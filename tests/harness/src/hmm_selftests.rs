// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's HMM selftest, run for our device and for the kernel's own
//! simulated one, and its cases judged.
//!
//! Which cases there are is read from the test's source, as the kernel's source changes.
//! What a case needs is known beforehand, from what it does: one that our device
//! cannot do yet is not run, and is said to be skipped. Nothing is skipped because
//! it failed. A case that is not known is run, and is new.

use crate::ktap::{self, Outcome};
use crate::run::{Farfault, Ran, Step, script_of};
use std::path::{Path, PathBuf};

/// What a case needs of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Reads, writes and snapshots.
    Nothing,
    /// Device memory, but only after a part that can be done without.
    MemoryLater,
    /// This, which our device does not have.
    More(&'static str),
    /// Nobody has looked at what it does yet.
    Unknown,
}

use Need::{MemoryLater, More, Nothing, Unknown};

/// The cases for devices with private memory whose needs are known, of any kernel.
const KNOWN: [(Need, &str); 5] = [
    (
        Nothing,
        "open_close anon_read anon_read_prot anon_write anon_write_prot \
         anon_write_child_shared anon_write_huge anon_write_hugetlbfs file_read file_write \
         anon_read_multiple anon_teardown mixedmap compound",
    ),
    (MemoryLater, "anon_write_child double_map"),
    (
        More("device memory"),
        "migrate migrate_file_private migrate_fault migrate_release migrate_shared \
         migrate_multiple hmm_gup_test hmm_cow_in_device migrate_anon_huge_empty \
         migrate_anon_huge_zero migrate_anon_huge_free migrate_anon_huge_fault \
         migrate_partial_unmap_fault migrate_remap_fault migrate_anon_huge_err \
         migrate_anon_huge_zero_err migrate_mixed snapshot",
    ),
    // Pages that the CPU may not touch while the device does (`make_device_exclusive()`).
    (More("exclusive access"), "exclusive exclusive_mprotect exclusive_cow"),
    (More("HMM_DMIRROR_READ_UNLOCKED"), "userfaultfd_read"),
];

/// Series of Linux that are claimed to be supported: there, a new case is a failure.
const CLAIMED: [&str; 2] = ["7.2.", "7.3."];

/// Measures migration for minutes, and asserts nothing about it.
const BENCHMARK: &str = "benchmark_thp_migration";

/// The variants for memory that a guest would have to be booted with.
const NO_COHERENT: &str = "-V hmm_device_coherent -V hmm2_device_coherent";

/// How a case that needs device memory ends where there is none: -95 is EOPNOTSUPP.
const NO_MEMORY: &str = "Expected ret (-95) == 0 (0)";

/// And that is in the line behind this call.
const MIGRATION: &str = "ret = hmm_migrate_sys_to_dev(";

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
    /// Whether it must pass here and now.
    pub due: bool,
    /// Whether it is in no list here.
    pub new: bool,
}

/// The cases of the selftest of which this is the `source`, in its order, but the benchmark.
fn cases(source: &str) -> Vec<(&str, Need)> {
    let need = |name: &str| {
        let known = KNOWN.iter().find(|(_, names)| names.split(' ').any(|known| known == name));
        known.map_or(Unknown, |one| one.0)
    };
    source.lines().filter_map(case_name).map(|name| (name, need(name))).collect()
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
    let chosen: String = cases(&source(made)?)
        .into_iter()
        .filter(|(_, need)| matches!(need, Nothing | MemoryLater | Unknown))
        .map(|(name, _)| format!(" -t {name}"))
        .collect();
    let mut steps = vec![Step::new("ours", format!("hmm-tests {NO_COHERENT}{chosen}"))];
    steps.extend_from_slice(more);
    steps.push(Step::new(
        "control",
        format!("unload && insmod {MODULE} && hmm-tests {NO_COHERENT} -T {BENCHMARK}"),
    ));
    steps.extend_from_slice(after);
    farfault.script(&options(made), &script_of(&steps, ""))
}

/// A machine for the selftest, which is in there with the kernel's module.
pub fn options(made: &Path) -> [String; 6] {
    [
        "--cpus=2".to_owned(),
        "--memory=2G".to_owned(),
        "--timeout=600".to_owned(),
        "--driver-params=dmirror=1".to_owned(),
        format!("--file={}:/bin/hmm-tests", made.join("hmm-tests").display()),
        module(made),
    ]
}

/// Cases that our device is to pass, which is worth something only if the kernel's passes
/// them, and that it does not.
pub fn refuted(rows: &[Row]) -> Vec<&Row> {
    rows.iter().filter(|row| row.due && row.control != Outcome::Passed).collect()
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
    let row = |(name, need): (&str, Need)| {
        let complaints = complaints(ours, name);
        let found = outcome(&ours_cases, name);
        let (due, new) = (need == Nothing, need == Unknown);
        let ours = judge(need, &found, &complaints, source);
        let control = outcome(&control_cases, name);
        Row { name: name.to_owned(), ours, complaints, control, due, new }
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

/// Whether it is that device memory was asked for, and that there is none.
fn is_refusal(complaint: &Complaint, source: &str) -> bool {
    let before = complaint.line.checked_sub(2).and_then(|index| source.lines().nth(index));
    complaint.text == NO_MEMORY && before.is_some_and(|line| line.trim().starts_with(MIGRATION))
}

fn judge(need: Need, found: &Outcome, complaints: &[Complaint], source: &str) -> Outcome {
    let one_refusal = || matches!(complaints, [only] if is_refusal(only, source));
    match need {
        More(what) => Outcome::Skipped(format!("needs {what}")),
        MemoryLater if *found == Outcome::Failed && one_refusal() => {
            Outcome::Skipped("needs device memory; good up to there".to_owned())
        }
        // The guest has all that these need, so they have no reason to skip themselves.
        _ if *found == Outcome::Passed && complaints.is_empty() => Outcome::Passed,
        _ => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line 2 is behind the migration, line 4 is not.
    const SOURCE: &str = "\tret = hmm_migrate_sys_to_dev(self->fd, buffer, npages);\n\
        \tASSERT_EQ(ret, 0);\n\n\tASSERT_EQ(ret, 0);\n\
        TEST_F(hmm, open_close)\nTEST_F(hmm, anon_read)\nTEST_F(hmm, compound)\n\
        TEST_F(hmm2, double_map)\nTEST_F_TIMEOUT(hmm, benchmark_thp_migration, 120)\n\
        TEST_F(hmm, userfaultfd_read)\nTEST_F(hmm, of_tomorrow)\n";
    const CONTROL: &str = "1..1\nok 1 hmm.hmm_device_private.anon_read\n";

    fn ours(output: &str, name: &str) -> Outcome {
        let rows = rows(SOURCE, output, CONTROL).expect("results");
        rows.into_iter().find(|row| row.name == name).expect("a case").ours
    }

    #[test]
    fn a_case_is_known_by_its_last_name() {
        let rows = rows(SOURCE, "1..1\nok 1 hmm.hmm_device_private.anon_read\n", CONTROL)
            .expect("results");
        assert_eq!((rows.len(), &rows[1].ours), (6, &Outcome::Passed));
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
    fn only_the_refusal_to_migrate_excuses() {
        let said = |line: u32, ret: &str| {
            format!(
                "1..1\n# hmm-tests.c:{line}:double_map:Expected ret ({ret}) == 0 (0)\nnot ok 1 hmm2.x.double_map\n"
            )
        };
        assert!(matches!(ours(&said(2, "-95"), "double_map"), Outcome::Skipped(_)));
        assert_eq!(ours(&said(2, "-14"), "double_map"), Outcome::Failed);
        for elsewhere in [0, 1, 4, 99] {
            assert_eq!(ours(&said(elsewhere, "-95"), "double_map"), Outcome::Failed);
        }
        let twice = said(2, "-95") + "# hmm-tests.c:8:double_map:Expected 3 == 4\n";
        assert_eq!(ours(&twice, "double_map"), Outcome::Failed);
    }

    #[test]
    fn a_case_that_is_not_known_is_run_and_new() {
        let rows = rows(SOURCE, "1..1\nok 1 hmm.x.of_tomorrow\n", CONTROL).expect("results");
        let new: Vec<_> = rows.iter().filter(|row| row.new).map(|row| row.name.as_str()).collect();
        assert_eq!(new, ["of_tomorrow"]);
        assert_eq!(overlooked(&rows, "7.3.4+deb13-cloud-amd64"), ["of_tomorrow"]);
        assert!(overlooked(&rows, "7.4.1-cloud-amd64").is_empty(), "nobody claims that series");
        assert_eq!(rows.last().map(|row| &row.ours), Some(&Outcome::Passed));
        let unlocked = rows.iter().find(|row| row.name == "userfaultfd_read").expect("a case");
        assert!(matches!(unlocked.ours, Outcome::Skipped(_)) && !unlocked.new);
    }

    #[test]
    fn no_results_are_an_error() {
        assert!(rows(SOURCE, "insmod: no such file", CONTROL).is_err());
        assert!(rows("", "1..1\nok 1 a\n", CONTROL).is_err());
    }
}
