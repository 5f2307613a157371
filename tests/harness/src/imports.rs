// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finds modules of a crate that import each other.
//!
//! Between crates cargo refuses cycles; between modules nobody does, and that is
//! how a tree turns into a knot. Every path that starts with `crate::`, `super::`
//! or `self::`, in a `use` or in code, counts as an import of the file it names.
//! Test modules may look where they like and are left out, and so is a parent's
//! `mod` line; a parent that uses its child while the child uses the parent is a cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which module imports which; a module is its path from the crate's root, `[]` being the root.
pub type Graph = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

/// The import graph of the crate whose sources lie in `src`.
pub fn graph(src: &Path) -> Result<Graph, String> {
    let mut files = BTreeMap::new();
    collect(src, src, &mut files)?;
    let known: BTreeSet<Vec<String>> = files.keys().cloned().collect();
    let mut graph = Graph::new();
    for (module, path) in &files {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let mut imports = BTreeSet::new();
        for target in paths(&without_tests(&text)) {
            if let Some(found) = resolve(module, &target, &known)
                && found != *module
            {
                imports.insert(found);
            }
        }
        graph.insert(module.clone(), imports);
    }
    Ok(graph)
}

/// Groups of modules that reach each other by imports, each named from the crate's root.
pub fn cycles(graph: &Graph) -> Vec<Vec<String>> {
    let reach: BTreeMap<_, _> = graph.keys().map(|m| (m, reachable(graph, m))).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for module in graph.keys() {
        if !reach[module].contains(module) || seen.contains(module) {
            continue;
        }
        let knot: Vec<_> = reach[module]
            .iter()
            .filter(|other| reach.get(other).is_some_and(|r| r.contains(module)))
            .cloned()
            .collect();
        found.push(knot.iter().map(|m| format!("crate::{}", m.join("::"))).collect());
        seen.extend(knot);
    }
    found
}

fn reachable(graph: &Graph, from: &[String]) -> BTreeSet<Vec<String>> {
    let mut reached = BTreeSet::new();
    let mut todo: Vec<&[String]> = vec![from];
    while let Some(module) = todo.pop() {
        for next in graph.get(module).into_iter().flatten() {
            if reached.insert(next.clone()) {
                todo.push(next);
            }
        }
    }
    reached
}

fn collect(
    root: &Path,
    dir: &Path,
    files: &mut BTreeMap<Vec<String>, PathBuf>,
) -> Result<(), String> {
    let entries = std::fs::read_dir(dir)
        .map_err(|error| format!("cannot list {}: {error}", dir.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "bin" && name != "tests" {
                collect(root, &path, files)?;
            }
        } else if let Some(stem) = name.strip_suffix(".rs") {
            if stem == "tests" || stem.ends_with("_test") {
                continue;
            }
            let mut module: Vec<String> = path
                .parent()
                .and_then(|parent| parent.strip_prefix(root).ok())
                .map(|rest| rest.iter().map(|p| p.to_string_lossy().into_owned()).collect())
                .unwrap_or_default();
            if !matches!(stem, "lib" | "main" | "mod") {
                module.push(stem.to_owned());
            }
            files.insert(module, path);
        }
    }
    Ok(())
}

/// The text without line comments and without what follows `#[cfg(test)]`, where tests stand last.
fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    code.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Every `crate::…`, `super::…` and `self::…` path of the code, brace groups opened.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            expand(&code[at..], &mut Vec::new(), &mut found);
        }
    }
    found
}

/// Reads one use tree at the start of `text`; returns the rest behind it.
fn expand<'t>(text: &'t str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'t str {
    let depth = prefix.len();
    let mut text = text.trim_start();
    loop {
        if let Some(mut group) = text.strip_prefix('{') {
            loop {
                group = expand(group, prefix, found).trim_start();
                match group.strip_prefix(',') {
                    Some(rest) if !rest.trim_start().starts_with('}') => group = rest,
                    Some(rest) => {
                        group = rest.trim_start();
                        break;
                    }
                    None => break,
                }
            }
            prefix.truncate(depth);
            return group.strip_prefix('}').unwrap_or(group);
        }
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        prefix.push(text[..end].to_owned());
        text = &text[end..];
        match text.strip_prefix("::") {
            Some(rest) => text = rest.trim_start(),
            None => break,
        }
    }
    found.push(prefix.clone());
    prefix.truncate(depth);
    match text.trim_start().strip_prefix("as ") {
        Some(renamed) => renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
        None => text,
    }
}

/// The file that `path`, written in `module`, names an item of.
fn resolve(
    module: &[String],
    path: &[String],
    known: &BTreeSet<Vec<String>>,
) -> Option<Vec<String>> {
    let mut base = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        _ => module.to_vec(),
    };
    for part in &path[1..] {
        if part == "super" {
            base.pop()?;
            continue;
        }
        base.push(part.clone());
        if !known.contains(&base) {
            base.pop();
            break;
        }
    }
    known.contains(&base).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph_of(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry(vec![(*from).to_owned()]).or_default().insert(vec![(*to).to_owned()]);
            graph.entry(vec![(*to).to_owned()]).or_default();
        }
        graph
    }

    #[test]
    fn a_knot_is_found_and_a_chain_is_not() {
        assert!(cycles(&graph_of(&[("a", "b"), ("b", "c")])).is_empty());
        let knots = cycles(&graph_of(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]));
        assert_eq!(knots, [["crate::a", "crate::b", "crate::c"]]);
    }

    #[test]
    fn brace_groups_are_opened() {
        let found = paths("use crate::{a::X, b::{Y, c::Z}};\nlet x = super::d::f();");
        let joined: Vec<_> = found.iter().map(|p| p.join("::")).collect();
        assert_eq!(joined, ["crate::a::X", "crate::b::Y", "crate::b::c::Z", "super::d::f"]);
    }

    #[test]
    fn a_path_means_the_deepest_module_on_it() {
        let known: BTreeSet<Vec<String>> =
            [vec![], vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]].into();
        let path = |p: &str| p.split("::").map(str::to_owned).collect::<Vec<_>>();
        let here = ["a".to_owned()];
        assert_eq!(resolve(&here, &path("crate::a::b::T"), &known), Some(path("a::b")));
        assert_eq!(resolve(&here, &path("super::Thing"), &known), Some(vec![]));
        assert_eq!(resolve(&here, &path("self::b::T"), &known), Some(path("a::b")));
    }
}
