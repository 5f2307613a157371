// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keeps what the runs of a unit have left behind, in files.

use crate::script::{Finished, section, steps_in};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a kernel's log is known.
const KERNEL_LOG: &str = "Linux version ";
/// What is a plan in KTAP, at the start of a line.
const PLAN: &str = "\n1..";

/// A folder for one unit. Of its first run files are in there, of later ones in `run-2` and so
/// on below.
#[derive(Debug)]
pub struct Keep {
    folder: PathBuf,
    runs: AtomicUsize,
}

impl Keep {
    /// One that keeps in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), runs: AtomicUsize::new(0) }
    }

    /// The folder of the unit `name` below `all`: its name has signs that some file systems, and
    /// some stores of CI systems, do not take.
    pub fn folder_of(all: &Path, name: &str) -> PathBuf {
        all.join(name.replace("::", "/"))
    }

    /// Keeps what a run has left.
    pub fn take(&self, finished: &Finished) -> Result<(), String> {
        let folder = match self.runs.fetch_add(1, Ordering::Relaxed) {
            0 => self.folder.clone(),
            earlier => self.folder.join(format!("run-{}", earlier + 1)),
        };
        let failed = |error| format!("cannot keep what was left in {}: {error}", folder.display());
        fs::create_dir_all(&folder).map_err(failed)?;
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).map_err(failed);
        for (name, text) in files(finished) {
            write(&name, &text)?;
        }
        Ok(())
    }
}

/// Names of files and what is to be in them.
fn files(finished: &Finished) -> Vec<(String, String)> {
    let mut kernel = String::new();
    let mut files = Vec::new();
    for step in steps_in(&finished.stdout) {
        let output = section(&finished.stdout, step).unwrap_or_default().output;
        if output.contains(KERNEL_LOG) {
            kernel.push_str(&output);
        } else if format!("\n{output}").contains(PLAN) {
            let name = step.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
            files.push((format!("{name}.ktap"), output));
        }
    }
    files.push(("output.log".to_owned(), finished.stdout.clone()));
    files.push(("serial.log".to_owned(), finished.stderr.clone()));
    files.push(("kernel.log".to_owned(), kernel));
    files.push(("stats.json".to_owned(), format!("{:#}\n", finished.stats)));
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const STDOUT: &str = "@@ begin a/b c\nKTAP version 1\n1..1\nok 1 x\n@@ end a/b c 0\n\
        @@ begin log\n[    0.0] Linux version 7\n@@ end log 0\n@@ begin plain\nhello\n@@ end plain 0\n";

    fn finished(stats: serde_json::Value) -> Finished {
        Finished { code: Some(0), stdout: STDOUT.to_owned(), stderr: "words".to_owned(), stats }
    }

    #[test]
    fn what_a_run_left_is_in_files() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Keep::folder_of(folder.path(), "matrix::thp");
        let keep = Keep::new(&folder);
        keep.take(&finished(json!({"device": {"walks": 3}}))).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert!(folder.ends_with("matrix/thp"));
        assert_eq!(read("a_b_c.ktap"), "KTAP version 1\n1..1\nok 1 x\n");
        assert_eq!(read("kernel.log"), "[    0.0] Linux version 7\n");
        assert_eq!(
            (read("output.log"), read("serial.log")),
            (STDOUT.to_owned(), "words".to_owned())
        );
        assert!(read("stats.json").contains("\"walks\": 3"));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 5);
        keep.take(&finished(json!(2))).unwrap();
        assert_eq!(read("run-2/stats.json"), "2\n");
        assert!(read("stats.json").contains("walks"));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let keep = Keep::new(Path::new("/dev/null/x"));
        let told = keep.take(&finished(json!(1))).unwrap_err();
        assert!(told.starts_with("cannot keep what was left in /dev/null/x: "), "{told}");
    }
}
