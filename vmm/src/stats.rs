// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a run counted: gathered from device, driver and VMM, and given out
//! as JSON or as a table.

use crate::footprint::PrivateDirty;
use crate::output::printable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Bytes of the marks that are kept, as JSON: a guest that marks without end
/// fills no memory.
const MAX_MARKS: usize = 4 << 20;
/// More columns than this no terminal shows.
const MAX_COLUMNS: usize = 12;

pub type Counters = BTreeMap<String, u64>;

/// A plain struct of counters, by name.
pub fn named(all: &impl Serialize) -> Counters {
    // Such structs always have a JSON form, and are maps of numbers in it.
    let value = serde_json::to_value(all).and_then(serde_json::from_value);
    value.unwrap_or_default()
}

/// All counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The accelerator's.
    pub device: Counters,
    /// The guest driver's.
    pub driver: Counters,
    /// The machine's.
    pub vmm: Counters,
}

impl Sample {
    /// The groups, in the order in which they are shown.
    fn groups(&self) -> [(&'static str, &Counters); 3] {
        [("device", &self.device), ("driver", &self.driver), ("vmm", &self.vmm)]
    }

    fn since(&self, before: &Sample) -> Sample {
        Sample {
            device: difference(&self.device, &before.device),
            driver: difference(&self.driver, &before.driver),
            vmm: difference(&self.vmm, &before.vmm),
        }
    }
}

/// A named point in the workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    name: String,
    /// What was counted since the mark before, or since the start.
    #[serde(flatten)]
    counted: Sample,
}

/// How the guest came up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Boots {
    retried_before_pid1: u64,
}

/// Everything that a run counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    #[serde(flatten)]
    total: Sample,
    marks: Vec<Mark>,
    /// Marks that came when no more were kept.
    marks_left_out: u64,
    boots: Boots,
    /// What the run took of the host's memory, until its command ended.
    #[serde(default)]
    host: PrivateDirty,
    hosting: String,
    exit: Option<u8>,
}

impl Report {
    /// What the accelerator has counted.
    pub fn device(&self) -> &Counters {
        &self.total.device
    }
}

/// Gathers the counters of one run.
#[derive(Debug, Default)]
pub struct Recorder {
    report: Report,
    /// Whether somebody wants to know what the run takes of the host's memory.
    weighs: bool,
    last: Sample,
    kept: usize,
}

impl Recorder {
    /// For a run under `hosting`.
    pub fn new(hosting: &str) -> Recorder {
        let report = Report { hosting: hosting.to_owned(), ..Report::default() };
        Recorder { report, ..Recorder::default() }
    }

    /// A boot failed before PID 1 and is tried again.
    pub fn retried(&mut self) {
        self.report.boots.retried_before_pid1 += 1;
    }

    /// Has the run's memory taken down, too: to find it out takes a while.
    pub fn weigh(&mut self) {
        self.weighs = true;
    }

    pub fn weighs(&self) -> bool {
        self.weighs
    }

    /// The host's memory at the command's end.
    pub fn took(&mut self, memory: PrivateDirty) {
        self.report.host = memory;
    }

    /// The guest's init is up: marks count from here.
    pub fn started(&mut self, counted: Sample) {
        self.last = counted;
    }

    /// The guest came to a named point. What is kept is the difference to
    /// the mark before, or to the start.
    pub fn mark(&mut self, name: String, now: Sample) {
        let mark = Mark { name, counted: now.since(&self.last) };
        self.kept += serde_json::to_vec(&mark).map_or(MAX_MARKS, |json| json.len() + 1);
        if self.kept <= MAX_MARKS {
            self.report.marks.push(mark);
        } else {
            self.report.marks_left_out += 1;
        }
        self.last = now;
    }

    /// The command ended. The totals are those of this moment: what the guest
    /// does to switch itself off is not the command's. In nested mode `inner`
    /// is what the run in the first guest counted.
    pub fn exit(&mut self, code: u8, counted: Sample, inner: Option<Report>) {
        self.report = Report {
            exit: Some(code),
            boots: self.report.boots.clone(),
            host: self.report.host,
            hosting: self.report.hosting.clone(),
            ..inner.unwrap_or_else(|| Report { total: counted, ..self.report.clone() })
        };
    }

    /// Everything; `counted` are the counters for a command that never ended.
    pub fn report(self, counted: Sample) -> Report {
        match self.report.exit {
            Some(_) => self.report,
            None => Report { total: counted, ..self.report },
        }
    }
}

/// Numbers of `now` less those of `before`; a number that went down was a level
/// rather than a count, and stands as it is.
fn difference(now: &Counters, before: &Counters) -> Counters {
    let less = |(name, now): (&String, &u64)| {
        let before = before.get(name).unwrap_or(&0);
        (name.clone(), now.checked_sub(*before).unwrap_or(*now))
    };
    now.iter().map(less).collect()
}

/// The report as a table: one row a counter, one column for the whole run and
/// one for each mark.
pub fn table(report: &Report) -> String {
    let marks = report.marks.get(..MAX_COLUMNS).unwrap_or(&report.marks);
    let mut rows = vec![heading(marks)];
    for (index, (group, counters)) in report.total.groups().into_iter().enumerate() {
        for (name, value) in counters {
            let mut row = vec![printable(&format!("{group}.{name}")), value.to_string()];
            row.extend(marks.iter().map(|mark| {
                let counted = mark.counted.groups().get(index).and_then(|(_, all)| all.get(name));
                counted.map_or("-".to_owned(), u64::to_string)
            }));
            rows.push(row);
        }
    }
    let retried = report.boots.retried_before_pid1.to_string();
    let exit = report.exit.map_or("-".to_owned(), |code| code.to_string());
    let PrivateDirty { private_dirty_kib, ram_private_dirty_kib } = report.host;
    rows.push(vec!["host.private_dirty_kib".to_owned(), private_dirty_kib.to_string()]);
    rows.push(vec!["host.ram_private_dirty_kib".to_owned(), ram_private_dirty_kib.to_string()]);
    rows.push(vec!["boots.retried_before_pid1".to_owned(), retried]);
    rows.push(vec!["hosting".to_owned(), report.hosting.clone()]);
    rows.push(vec!["exit".to_owned(), exit]);
    align(&rows)
}

fn heading(marks: &[Mark]) -> Vec<String> {
    let names = marks.iter().map(|mark| printable(&mark.name).chars().take(20).collect());
    ["counter".to_owned(), "total".to_owned()].into_iter().chain(names).collect()
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

    use serde_json::json;

    fn sample(faults: u64, batches: u64, exits: u64) -> Sample {
        let one = |name: &str, value| Counters::from([(name.to_owned(), value)]);
        Sample {
            device: one("faults", faults),
            driver: one("batches", batches),
            vmm: one("mmio_exits", exits),
        }
    }

    fn memory(ram: u64) -> PrivateDirty {
        PrivateDirty { private_dirty_kib: ram + 20, ram_private_dirty_kib: ram }
    }

    fn recorded() -> Report {
        let mut recorder = Recorder::new("kvm");
        recorder.started(sample(0, 0, 100));
        recorder.mark("warm".to_owned(), sample(5, 2, 103));
        recorder.mark("hot".to_owned(), sample(9, 3, 103));
        recorder.took(memory(50));
        recorder.exit(3, sample(10, 4, 104), None);
        recorder.report(sample(99, 99, 999))
    }

    #[test]
    fn a_report_has_totals_and_the_difference_at_each_mark() {
        assert_eq!(
            serde_json::to_value(recorded()).expect("JSON"),
            json!({
                "device": {"faults": 10}, "driver": {"batches": 4}, "vmm": {"mmio_exits": 104},
                "boots": {"retried_before_pid1": 0}, "hosting": "kvm", "exit": 3,
                "host": {"private_dirty_kib": 70, "ram_private_dirty_kib": 50},
                "marks": [
                    {"name": "warm", "device": {"faults": 5}, "driver": {"batches": 2},
                     "vmm": {"mmio_exits": 3}},
                    {"name": "hot", "device": {"faults": 4}, "driver": {"batches": 1},
                     "vmm": {"mmio_exits": 0}},
                ],
                "marks_left_out": 0,
            })
        );
    }

    #[test]
    fn nested_mode_hands_the_inner_report_on() {
        let mut recorder = Recorder::new("nested");
        recorder.retried();
        recorder.started(Sample::default());
        let inner = serde_json::to_string(&recorded()).expect("JSON");
        let inner = serde_json::from_str(&inner).expect("a report");
        recorder.took(memory(60));
        recorder.exit(3, Sample::default(), Some(inner));
        let mut expected = recorded();
        expected.host = memory(60);
        expected.hosting = "nested".to_owned();
        expected.boots.retried_before_pid1 = 1;
        assert_eq!(recorder.report(Sample::default()), expected);
    }

    #[test]
    fn a_guest_that_never_started_still_gives_a_report() {
        let report = Recorder::new("kvm").report(sample(0, 0, 7));
        assert_eq!((report.exit, report.total.vmm["mmio_exits"]), (None, 7));
    }

    #[test]
    fn the_table_has_a_column_a_mark() {
        let table = table(&recorded());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "counter                     total  warm  hot");
        assert_eq!(lines[1], "device.faults                  10     5    4");
        assert_eq!(lines[2], "driver.batches                  4     2    1");
        assert_eq!(lines[5], "host.ram_private_dirty_kib     50");
        assert_eq!(lines[8], "exit                            3");
    }

    #[test]
    fn a_guest_that_marks_without_end_fills_no_memory() {
        let mut recorder = Recorder::new("kvm");
        let name = "\x1b".repeat(2000);
        (0..1000).for_each(|_| recorder.mark(name.clone(), sample(1, 1, 1)));
        recorder.exit(0, sample(0, 0, 0), None);
        let report = recorder.report(sample(0, 0, 0));
        assert!(report.marks.len() > 100 && report.marks_left_out > 100);
        assert_eq!(report.marks.len() as u64 + report.marks_left_out, 1000);
        assert!(serde_json::to_vec(&report.marks).expect("JSON").len() <= MAX_MARKS);
    }

    #[test]
    fn names_of_a_guest_reach_no_terminal_as_they_are() {
        let mut wild = recorded();
        wild.total.driver.insert("\x1b[2J".to_owned(), 1);
        wild.marks[0].name = "\x1b]0;title\x07".to_owned();
        assert!(!table(&wild).contains(|c: char| c.is_control() && c != '\n'));
    }
}
