// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs of the tools tree, which brings its own loader and libraries.

/// Words that run the tree's QEMU on any host.
pub fn qemu(tree: &str) -> Vec<String> {
    let libraries = format!("{tree}/usr/lib/x86_64-linux-gnu");
    let mut words = vec![
        "env".to_owned(),
        // It looks for its modules beside the running program, which is the loader.
        format!("QEMU_MODULE_DIR={libraries}/qemu"),
        format!("{tree}/lib64/ld-linux-x86-64.so.2"),
        "--library-path".to_owned(),
        libraries,
        format!("{tree}/usr/bin/qemu-system-x86_64"),
    ];
    for firmware in ["qemu", "seabios"] {
        words.extend(["-L".to_owned(), format!("{tree}/usr/share/{firmware}")]);
    }
    words
}
