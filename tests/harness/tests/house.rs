// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape of the source tree: no two modules of a crate import each other.

use farfault_tests::imports;
use std::path::{Path, PathBuf};

#[test]
fn no_modules_import_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = [
        "device-model/abi",
        "device-model",
        "device-model/reference",
        "vfio-user",
        "vmm",
        "guest-image/client",
        "guest-image/init",
        "guest-image/workloads",
        "tests/guest",
        "tests/harness",
    ];
    let mut knots = Vec::new();
    for name in crates {
        let sources = root.join(name).join("src");
        for source in programs(&sources).into_iter().chain([sources]) {
            let graph = imports::graph(&source).expect("sources");
            knots.extend(imports::cycles(&graph).into_iter().map(|knot| (source.clone(), knot)));
        }
    }
    assert!(knots.is_empty(), "modules that import each other: {knots:#?}");
}

/// Folders of programs that are more than one file: each is a crate of its own.
fn programs(sources: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sources.join("bin")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
