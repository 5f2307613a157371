// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which functions of the driver allocate, as its source has them.

use std::collections::BTreeSet;
use std::path::Path;

/// How the names of functions end that allocate, or may.
const CALLS: [&str; 32] = [
    "alloc_obj",
    "alloc_objs",
    "alloc_flex",
    "kmalloc",
    "kzalloc",
    "kcalloc",
    "kmemdup",
    "kasprintf",
    "alloc_page",
    "alloc_pages",
    "get_free_page",
    "alloc_coherent",
    "alloc_append_table_from_pages",
    "dma_map_phys",
    "dma_map_sgtable",
    "dma_iova_link",
    "xa_alloc",
    "xa_store",
    "ida_alloc",
    "mtree_insert_range",
    "mtree_store_range",
    "kvcalloc",
    "alloc_folio",
    "folio_alloc",
    "memremap_pages",
    "mtree_alloc_range",
    "alloc_irq_vectors",
    "request_irq",
    "iomap_region",
    "misc_register",
    "mmu_notifier_register",
    "vhost_task_create",
];
const FILES: &str = "debugfs_create_";

/// What runs when the module is loaded is not there before.
const AT_LOAD: &str = "__init";

/// Functions of the driver in `folder` that allocate once it is loaded.
pub fn sites(folder: &Path) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    collect(folder, &mut found)?;
    Ok(found)
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "c") {
            found.extend(of_file(&std::fs::read_to_string(&path).map_err(failed)?));
        }
    }
    Ok(())
}

/// A definition begins in the first column, and its body ends there.
fn of_file(text: &str) -> BTreeSet<String> {
    let (mut found, mut function) = (BTreeSet::new(), None);
    for line in text.lines() {
        let is_code = line.starts_with('\t') && !line.trim_start().starts_with(['*', '/']);
        if line.starts_with(|first: char| first.is_ascii_lowercase()) && line.contains('(') {
            function = name(line).filter(|_| !line.contains(AT_LOAD) && !line.ends_with(';'));
        } else if is_code && calls(line).any(allocates) {
            found.extend(function.clone());
        }
    }
    found
}

/// The words before brackets.
fn calls(line: &str) -> impl Iterator<Item = &str> {
    line.split('(').filter_map(|before| before.rsplit(|c: char| !is_of_a_name(c)).next())
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The driver's own functions are looked at themselves.
fn allocates(name: &str) -> bool {
    !name.starts_with("ff_")
        && (name.starts_with(FILES) || CALLS.iter().any(|call| name.ends_with(call)))
}

/// The word before the first bracket.
fn name(definition: &str) -> Option<String> {
    calls(definition).next().filter(|word| !word.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::of_file;

    #[test]
    fn functions_that_allocate_are_found() {
        let source = "static int ff_one(struct x *x,\n\t\t  int y)\n{\n\tx = kzalloc_obj(*x);\n}\n\
            /* as kmalloc() does */\nvoid ff_two(void)\n{\n\t/* no kmalloc() */\n\t * nor kmalloc(\n}\n\
            int ff_probe(void)\n{\n\treturn ff_misc_register(ff);\n}\n\
            int __init ff_three(void)\n{\n\tkmalloc(1, 2);\n}\n\
            struct ff_a *ff_four(void)\n{\n\tstruct page *page =\n\t\talloc_page(GFP_KERNEL);\n}\n";
        assert_eq!(of_file(source).into_iter().collect::<Vec<_>>(), ["ff_four", "ff_one"]);
    }
}
