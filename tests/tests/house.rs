// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shape of the source tree: no two modules of a crate import each other.

use farfault_tests::imports;
use std::path::Path;

#[test]
fn no_modules_import_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let crates = [
        "device-model/abi",
        "device-model",
        "device-model/reference",
        "vmm",
        "guest-image/client",
        "guest-image/init",
        "guest-image/workloads",
        "tests",
    ];
    let mut knots = Vec::new();
    for name in crates {
        let graph = imports::graph(&root.join(name).join("src")).expect("sources");
        knots.extend(imports::cycles(&graph).into_iter().map(|knot| (name, knot)));
    }
    assert!(knots.is_empty(), "modules that import each other: {knots:#?}");
}
