// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Scripts that guests run, and what is found in what they leave behind.

use serde_json::Value;

/// What a run of `farfault` left behind.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output, which is the guest command's.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// What it counted, if it came to an end of its own.
    pub stats: Value,
}

/// A command in a script, and where its output is found again.
#[derive(Clone, Debug)]
pub struct Step {
    /// One word; also the name of the mark that is set after it.
    pub name: String,
    /// Shell words.
    pub command: String,
}

impl Step {
    /// The step `name`, which is `command`.
    pub fn new(name: impl Into<String>, command: impl Into<String>) -> Self {
        Self { name: name.into(), command: command.into() }
    }

    /// The same in a subshell, so that its `exit` ends only the step.
    pub fn apart(name: &str, command: &str) -> Self {
        Self::new(name, format!("( {command}\n)"))
    }
}

/// What a step printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Both its output streams.
    pub output: String,
    /// Its exit code; none if the guest ended first.
    pub code: Option<i32>,
}

/// What all scripts can say. A context ends a moment after its program, and the driver
/// cannot go before. An object is a leak if kmemleak finds it twice, when it is 5 s old.
const FUNCTIONS: &str = "\
find_leaks() {
	test -e /sys/kernel/debug/kmemleak || return 0
	sleep 6
	echo scan >/sys/kernel/debug/kmemleak && echo scan >/sys/kernel/debug/kmemleak || return 1
	cat /sys/kernel/debug/kmemleak
}
unload() {
	for _ in $(seq 500); do rmmod farfault 2>/dev/null && return; sleep 0.01; done
	rmmod farfault
}
";

/// A shell script that runs `steps`, `after` being run behind each of them.
pub fn script_of(steps: &[Step], after: &str) -> String {
    let line = |Step { name, command }: &Step| {
        let after = after.replace("NAME", name);
        format!("echo '@@ begin {name}'\n{{ {command}\n}} 2>&1\necho '@@ end {name}' $?\n{after}\n")
    };
    FUNCTIONS.to_owned() + &steps.iter().map(line).collect::<String>()
}

/// The names of the steps that have printed something, in turn.
pub fn steps_in(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter_map(|line| line.strip_prefix("@@ begin "))
}

/// Finds what the step `name` printed.
pub fn section(output: &str, name: &str) -> Option<Section> {
    let begin = format!("@@ begin {name}");
    let end = format!("@@ end {name} ");
    let mut section = Section::default();
    for line in output.lines().skip_while(|line| *line != begin).skip(1) {
        // A program may end without a newline.
        if let Some((last, code)) = line.split_once(&end) {
            section.output.push_str(last);
            section.code = code.trim().parse().ok();
            return Some(section);
        }
        section.output.push_str(line);
        section.output.push('\n');
    }
    output.contains(&begin).then_some(section)
}

/// The counter `path` (`group/name`) of a whole run.
pub fn counted(stats: &Value, path: &str) -> Result<u64, String> {
    let counter = stats.pointer(&format!("/{path}")).and_then(Value::as_u64);
    counter.ok_or_else(|| format!("the run has no {path}"))
}

/// The counter `path` (`group/name`) of the mark `name`, as the difference to the mark before.
pub fn marked(stats: &Value, name: &str, path: &str) -> Result<u64, String> {
    let mut marks = stats["marks"].as_array().into_iter().flatten();
    let mark = marks.find(|mark| mark["name"] == name);
    let counter = mark.and_then(|mark| mark.pointer(&format!("/{path}"))?.as_u64());
    counter.ok_or_else(|| format!("the mark `{name}` has no {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_again() {
        let output = "@@ begin a\none\ntwo@@ end a 0\n@@ begin b\nthree\n";
        let a = section(output, "a").expect("a section");
        assert_eq!((a.output.as_str(), a.code), ("one\ntwo", Some(0)));
        let b = section(output, "b").expect("a section");
        assert_eq!((b.output.as_str(), b.code), ("three\n", None));
        assert_eq!(section(output, "c"), None);
        assert_eq!(steps_in(output).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_mark_has_counters() {
        let stats = serde_json::json!({"marks": [{"name": "x", "device": {"walks": 3}}]});
        assert_eq!(marked(&stats, "x", "device/walks"), Ok(3));
        assert!(marked(&stats, "y", "device/walks").is_err());
    }
}
