// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every kind of memory under every change: each cell of the matrix becomes a test, and
//! each row has a machine. A cell that makes no sense is counted as skipped, with why.
//!
//! All of it takes a quarter of an hour where KVM is nested, so it is part of a
//! nightly run; otherwise these are the rows that differ most.
//!
//! The cells that look for lost data are run on drivers, too, that have been told to lose
//! it, and must fail for that reason.

use farfault_tests::check::{Check, LEAKS, LOG, ensure, found, good_end, ktap_but, not_applicable};
use farfault_tests::ktap::{self as reader, Outcome};
use farfault_tests::matrix::{AT_REST, Matrix, machine, row_names};
use farfault_tests::run::{Farfault, Finished, Step, script_of};
use farfault_tests::unit::{PERSISTENT_MEMORY, Unit};

/// What is known of each cell. A test sees to it that it is what the guest's `matrix` does.
const PAGE: &str = include_str!("../../../../../guest-driver/matrix.md");

/// The rows of a run that is not nightly.
const ROWS: [&str; 7] =
    ["anonymous", "thp", "device-memory", "private-file", "file-ext4", "memfd", "uffd-missing"];

/// A driver that was told to lose data, the cell that must find out, and what it must say.
struct Loss {
    parameters: &'static str,
    row: &'static str,
    column: &'static str,
    told: &'static str,
}

const fn loss(
    parameters: &'static str,
    row: &'static str,
    column: &'static str,
    told: &'static str,
) -> Loss {
    Loss { parameters, row, column, told }
}

/// Cells in which only the driver can know that a page is dirty. Of a shared file that
/// is so only if the driver keeps its access to what was made clean: the word is on the
/// disk then, for all that the faults are missing which the cell counts last, and is not
/// without the mark. (With ext4 the kernel would warn of such a mark.)
const LOSSES: [Loss; 5] = [
    loss("break_dirty=1", "anonymous", "free-write", "after reclaim"),
    loss("break_dirty=1", "anonymous", "swapin-write", "after reclaim"),
    loss("break_dirty=1", "memfd", "hole-write", "after reclaim"),
    loss("break_clean=1", "file-xfs", "sync-write", "by the device after msync: 0 far faults"),
    loss("break_clean=1 break_dirty=1", "file-xfs", "sync-write", "word on the disk"),
];

impl Loss {
    fn name(&self) -> String {
        format!("{}/{} notices {}", self.row, self.column, self.parameters)
    }

    fn command(&self) -> String {
        let Self { parameters, row, column, .. } = self;
        format!(
            "unload && insmod /lib/modules/farfault.ko {parameters} && \
             matrix --row {row} --column {column}"
        )
    }
}

pub fn units() -> Vec<Unit> {
    let row = |name: String| {
        let nightly = !ROWS.contains(&name.as_str());
        let wanted = name.contains("dax").then_some(PERSISTENT_MEMORY);
        Unit::new(format!("matrix::{name}"), move |farfault| row(farfault, &name))
            .of_content()
            .wants(wanted)
            .only_if_nightly(nightly)
    };
    let losses = Unit::new("matrix::losses", losses).of_content();
    row_names(PAGE).into_iter().map(row).chain([losses]).collect()
}

fn row(farfault: &Farfault, row: &str) -> Result<Vec<Check>, String> {
    let matrix = format!("matrix --row {row}");
    let steps = [("list", "matrix --list"), ("matrix", &matrix), LEAKS, LOG];
    let steps = steps.map(|(name, command)| Step::new(name, command));
    let (options, _disks) = machine(row)?;
    let finished = farfault.script(&options, &script_of(&steps, ""))?;
    let cells = ktap_but(&finished, "matrix", not_applicable);
    let mut checks: Vec<Check> =
        cells.into_iter().map(|cell| cell.within("matrix").within(row)).collect();
    checks.push(Check::new("guest-driver/matrix.md is current", current(&finished)));
    checks.extend(good_end(&finished));
    Ok(checks)
}

fn losses(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let mut steps: Vec<Step> =
        LOSSES.iter().map(|loss| Step::new(loss.name(), loss.command())).collect();
    steps.extend([LEAKS, LOG].map(|(name, command)| Step::new(name, command)));
    let rows = LOSSES.map(|loss| loss.row).join(",");
    let (options, _disks) = machine(&rows)?;
    let finished = farfault.script(&options, &script_of(&steps, ""))?;
    let noticed = |loss: &Loss| Check::new(loss.name(), is_noticed(&finished, loss));
    Ok(LOSSES.iter().map(noticed).chain(good_end(&finished)).collect())
}

/// The page says of each cell what was found here, and has all that there is.
fn current(finished: &Finished) -> Result<(), String> {
    let matrix = Matrix::read(&found(finished, "matrix")?.output)?;
    for told in matrix.told(AT_REST) {
        println!("note: matrix: at rest only: {told}");
    }
    let outdated = matrix.outdated(PAGE, &found(finished, "list")?.output);
    ensure(outdated.is_empty(), || format!("run scripts/matrix: {}", outdated.join("\n")))
}

/// The cell fails, and for the reason that it is there for.
fn is_noticed(finished: &Finished, loss: &Loss) -> Result<(), String> {
    let output = found(finished, &loss.name())?.output;
    let cases = reader::parse(&output)?;
    let [case] = cases.as_slice() else { return Err(format!("not one cell in\n{output}")) };
    let told = case.diagnostics.iter().any(|line| line.contains(loss.told));
    ensure(case.outcome == Outcome::Failed && told, || {
        format!("the loss is not noticed as such:\n{output}")
    })
}
