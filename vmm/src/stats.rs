// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a run counted: gathered from device, driver and VMM, and given out
//! as JSON or as a table.

use serde_json::{Map, Value, json};
use std::fmt::Write;

/// A guest that marks without end fills no memory.
const MAX_MARKS: usize = 4096;
/// More columns than this no terminal shows.
const MAX_COLUMNS: usize = 12;
/// The groups of counters, in the order in which they are shown.
const GROUPS: [&str; 3] = ["device", "driver", "vmm"];

/// The counters that the host side can read at any time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// The accelerator's.
    pub device: Value,
    /// The machine's.
    pub vmm: Value,
}

/// Gathers the counters of one run.
#[derive(Debug)]
pub struct Recorder {
    hosting: &'static str,
    retried: u64,
    last: Value,
    marks: Vec<Value>,
    exit: Option<u8>,
    end: Option<Value>,
    /// What the run inside the first guest of nested mode counted.
    inner: Option<Map<String, Value>>,
}

impl Recorder {
    /// For a run under `hosting`.
    pub fn new(hosting: &'static str) -> Recorder {
        Recorder {
            hosting,
            retried: 0,
            last: Value::Null,
            marks: Vec::new(),
            exit: None,
            end: None,
            inner: None,
        }
    }

    /// A boot failed before PID 1 and is tried again.
    pub fn retried(&mut self) {
        self.retried += 1;
    }

    /// The guest's init is up: marks count from here.
    pub fn started(&mut self, counted: &Counted) {
        self.last = sample(counted, &Value::Null);
    }

    /// The guest came to a named point. What is kept is the difference to
    /// the mark before, or to the start.
    pub fn mark(&mut self, name: &str, counted: &Counted, driver: &Value) {
        if self.marks.len() == MAX_MARKS {
            return;
        }
        let now = sample(counted, driver);
        let mut mark = difference(&now, &self.last);
        if let Some(mark) = mark.as_object_mut() {
            mark.insert("name".to_owned(), name.into());
        }
        self.marks.push(mark);
        self.last = now;
    }

    /// The command ended. The totals are those of this moment: what the guest
    /// does to switch itself off is not the command's.
    pub fn exit(&mut self, code: u8, counted: &Counted, driver: &Value, inner: Option<Value>) {
        self.exit = Some(code);
        self.end = Some(sample(counted, driver));
        if let Some(Value::Object(inner)) = inner {
            self.inner = Some(inner);
        }
    }

    /// Everything; `counted` are the counters for a command that never ended.
    pub fn report(self, counted: &Counted) -> Value {
        let end = self.end.unwrap_or_else(|| sample(counted, &Value::Null));
        let mut report = match (self.inner, end) {
            (Some(inner), _) => inner,
            (None, Value::Object(end)) => end,
            (None, _) => Map::new(),
        };
        report.entry("marks").or_insert(self.marks.into());
        report.insert("boots".to_owned(), json!({ "retried_before_pid1": self.retried }));
        report.insert("hosting".to_owned(), self.hosting.into());
        report.insert("exit".to_owned(), json!(self.exit));
        Value::Object(report)
    }
}

fn sample(counted: &Counted, driver: &Value) -> Value {
    json!({ "device": counted.device, "driver": driver, "vmm": counted.vmm })
}

/// Numbers of `now` less those of `before`, through objects; a number that
/// went down was a level rather than a count, and stands as it is.
fn difference(now: &Value, before: &Value) -> Value {
    match now {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let earlier = before.get(key).unwrap_or(&Value::Null);
                (key.clone(), difference(value, earlier))
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Number(number) => match (number.as_u64(), before.as_u64()) {
            (Some(now), Some(before)) if now >= before => (now - before).into(),
            _ => now.clone(),
        },
        other => other.clone(),
    }
}

/// The report as a table: one row a counter, one column for the whole run and
/// one for each mark.
pub fn table(report: &Value) -> String {
    let empty = Vec::new();
    let marks = report.get("marks").and_then(Value::as_array).unwrap_or(&empty);
    let marks = marks.get(..MAX_COLUMNS).unwrap_or(marks);
    let mut rows = vec![heading(marks)];
    for group in GROUPS {
        let Some(counters) = report.get(group).and_then(Value::as_object) else { continue };
        for (name, value) in counters {
            let mut row = vec![format!("{group}.{name}"), cell(Some(value))];
            row.extend(marks.iter().map(|mark| cell(mark.get(group).and_then(|g| g.get(name)))));
            rows.push(row);
        }
    }
    let retried = report.pointer("/boots/retried_before_pid1");
    rows.push(vec!["boots.retried_before_pid1".to_owned(), cell(retried)]);
    rows.push(vec!["hosting".to_owned(), cell(report.get("hosting"))]);
    rows.push(vec!["exit".to_owned(), cell(report.get("exit"))]);
    align(&rows)
}

fn heading(marks: &[Value]) -> Vec<String> {
    let mut heading = vec!["counter".to_owned(), "total".to_owned()];
    heading.extend(marks.iter().map(|mark| {
        let name = mark.get("name").and_then(Value::as_str).unwrap_or_default();
        name.chars().filter(|c| !c.is_control()).take(20).collect()
    }));
    heading
}

/// A counter's value. A guest may send anything here, so no more than its
/// printable beginning is shown.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.chars().filter(|c| !c.is_control()).take(40).collect(),
        Some(value) => value.to_string().chars().take(40).collect(),
    }
}

fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut table = String::new();
    for row in rows {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a string cannot fail.
            let _ = match index {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(faults: u64, exits: u64) -> Counted {
        Counted { device: json!({"faults": faults}), vmm: json!({"mmio_exits": exits}) }
    }

    fn recorded() -> Value {
        let mut recorder = Recorder::new("kvm");
        recorder.started(&counted(0, 100));
        recorder.mark("warm", &counted(5, 103), &json!({"batches": 2}));
        recorder.mark("hot", &counted(9, 103), &json!({"batches": 3}));
        recorder.exit(3, &counted(10, 104), &json!({"batches": 4}), None);
        recorder.report(&counted(99, 999))
    }

    #[test]
    fn a_report_has_totals_and_the_difference_at_each_mark() {
        assert_eq!(
            recorded(),
            json!({
                "device": {"faults": 10}, "driver": {"batches": 4}, "vmm": {"mmio_exits": 104},
                "boots": {"retried_before_pid1": 0}, "hosting": "kvm", "exit": 3,
                "marks": [
                    {"name": "warm", "device": {"faults": 5}, "driver": {"batches": 2},
                     "vmm": {"mmio_exits": 3}},
                    {"name": "hot", "device": {"faults": 4}, "driver": {"batches": 1},
                     "vmm": {"mmio_exits": 0}},
                ]
            })
        );
    }

    #[test]
    fn nested_mode_hands_the_inner_report_on() {
        let mut recorder = Recorder::new("nested");
        recorder.retried();
        recorder.started(&Counted::default());
        recorder.exit(3, &Counted::default(), &Value::Null, Some(recorded()));
        let report = recorder.report(&Counted::default());
        assert_eq!(report["hosting"], "nested");
        assert_eq!(report["boots"]["retried_before_pid1"], 1);
        assert_eq!(report["device"]["faults"], 10);
        assert_eq!(report["marks"][1]["name"], "hot");
    }

    #[test]
    fn a_guest_that_never_started_still_gives_a_report() {
        let report = Recorder::new("kvm").report(&counted(0, 7));
        assert_eq!(report["exit"], Value::Null);
        assert_eq!(report["vmm"]["mmio_exits"], 7);
    }

    #[test]
    fn the_table_has_a_column_a_mark() {
        let table = table(&recorded());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "counter                    total  warm  hot");
        assert_eq!(lines[1], "device.faults                 10     5    4");
        assert_eq!(lines[2], "driver.batches                 4     2    1");
        assert_eq!(lines[6], "exit                           3");
    }

    #[test]
    fn wild_counters_of_a_guest_do_no_harm() {
        let mut recorder = Recorder::new("kvm");
        recorder.started(&counted(0, 0));
        recorder.mark("\x1b[2J", &counted(0, 0), &json!(["no", "counters"]));
        recorder.mark("x", &counted(0, 0), &json!({"a": {"b": -1}, "c": "\x1b[2J"}));
        for _ in 0..2 * MAX_MARKS {
            recorder.mark("again", &counted(0, 0), &Value::Null);
        }
        recorder.exit(0, &counted(0, 0), &json!({"c": "\x1b[2J", "d": 1e300}), None);
        let report = recorder.report(&counted(0, 0));
        assert_eq!(report["marks"].as_array().map(Vec::len), Some(MAX_MARKS));
        assert!(!table(&report).contains('\x1b'));
    }
}
