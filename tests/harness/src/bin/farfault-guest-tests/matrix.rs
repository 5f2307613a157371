// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every kind of memory under every change, in one boot: each cell of the matrix
//! becomes a test. A cell that makes no sense is counted as skipped, with why.
//!
//! All of it takes a quarter of an hour where KVM is nested, so it is part of a
//! long run; otherwise these are the rows that differ most.
//!
//! Behind it, the cells that look for lost data are run on drivers that have been
//! told to lose it, and must fail for that reason.

use farfault_tests::check::{Check, LEAKS, LOG, ensure, found, good_end, ktap_but, not_applicable};
use farfault_tests::ktap::{self as reader, Outcome};
use farfault_tests::matrix::{AT_REST, Matrix, machine};
use farfault_tests::run::{Farfault, Finished, Step, is_long, script_of};

/// The rows of a run that is not long.
const ROWS: &str = "anonymous,thp,private-file,file-ext4,memfd,uffd-missing";

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

pub fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let rows = if is_long() { String::new() } else { format!(" --row {ROWS}") };
    let matrix = format!("matrix{rows}");
    let first = [("list", "matrix --list"), ("matrix", &matrix), LEAKS];
    let mut steps = first.map(|(name, command)| Step::new(name, command)).to_vec();
    steps.extend(LOSSES.iter().map(|loss| Step::new(loss.name(), loss.command())));
    steps.push(Step::new(LOG.0, LOG.1));
    let (options, _disks) = machine(is_long())?;
    let finished = farfault.script(&options, &script_of(&steps, ""))?;
    Ok(checks(&finished))
}

fn checks(finished: &Finished) -> Vec<Check> {
    let mut checks = ktap_but(finished, "matrix", not_applicable);
    checks.push(Check::new("guest-driver/matrix.md is current", current(finished)));
    checks.extend(LOSSES.iter().map(|loss| Check::new(loss.name(), is_noticed(finished, loss))));
    checks.extend(good_end(finished));
    checks
}

/// The page says of each cell what was found here, and has all that there is.
fn current(finished: &Finished) -> Result<(), String> {
    let matrix = Matrix::read(&found(finished, "matrix")?.output)?;
    for told in matrix.told(AT_REST) {
        println!("note: matrix: at rest only: {told}");
    }
    let page = include_str!("../../../../../guest-driver/matrix.md");
    let outdated = matrix.outdated(page, &found(finished, "list")?.output);
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
