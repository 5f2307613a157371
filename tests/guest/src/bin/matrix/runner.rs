// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a cell: at rest, where faults can be counted, and with commands under way.

use crate::cell::Cell;
use crate::column::Column;
use crate::environment::Environment;
use crate::model::GIGANTIC;
use crate::rig::Rig;
use crate::row::{Row, Rule};
use farfault_guest_programs::Failure;
use farfault_guest_programs::ktap::{Outcome, Skip, Trial};

/// Seconds after which a cell is killed. It may be the first that needs a file system.
const LIMIT: u32 = 100;
/// The same where pages of 1 GiB may have to be copied.
const GIGANTIC_LIMIT: u32 = 150;

/// The cell of `row` and `column` as a test.
pub fn trial<'a>(environment: &'a Environment, row: &'a Row, column: &'a Column) -> Trial<'a> {
    let limit = if row.length < GIGANTIC { LIMIT } else { GIGANTIC_LIMIT };
    let run = move || match attempt(environment, row, column) {
        Err(why) if !why.is::<Skip>() => {
            let again = format!("matrix --row {} --column {}", row.name, column.name);
            Err(format!("{why}\nagain: {again}").into())
        }
        ended => ended,
    };
    Trial::new(format!("{}/{}", row.name, column.name), run).limited(limit)
}

fn attempt(environment: &Environment, row: &Row, column: &Column) -> Outcome {
    let rule = rule(row, column);
    if let Rule::Senseless(why) = rule {
        return Err(Box::new(Skip(format!("not applicable: {why}"))));
    }
    environment.mend()?;
    let mut closed = false;
    let mut rig = Rig::new()?;
    for under_way in [false, true] {
        if under_way && !column.under_way {
            continue;
        }
        let mut cell = Cell::new(environment, &mut rig, row, rule, column.length, under_way)?;
        cell.declined = column.declined;
        closed = cell.subject.is_closed();
        (column.run)(&mut cell).map_err(|why| match under_way {
            true if !why.is::<Skip>() => {
                Failure::from(format!("{why} (while commands were under way)"))
            }
            _ => why,
        })?;
    }
    // Who refused what, if that is what the cell shows.
    match rule {
        Rule::Refused(errno) => println!("# refused: {errno}"),
        _ if closed => println!("# refused: the device's access"),
        _ => {}
    }
    Ok(())
}

/// What becomes of the cell where `row` and `column` meet: most run. Where the kernel refuses
/// the change, or where it makes no sense, a column says so for kinds of memory and a row for
/// itself, which comes first.
fn rule(row: &Row, column: &Column) -> Rule {
    let own = row.rules.iter().find(|(columns, _)| columns.contains(&column.name));
    let of_kind = || column.rules.iter().find(|(kinds, _)| kinds.contains(&row.kind));
    own.map(|one| one.1).or_else(|| of_kind().map(|one| one.1)).unwrap_or(Rule::Runs)
}
