// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which cells are not what they are for most: where the kernel refuses the change, and
//! where it makes no sense. A column says so for kinds of memory, a row for itself; what
//! a row says comes first. All other cells run.

use crate::column::Column;
use crate::row::{Row, Rule};

/// What becomes of the cell where `row` and `column` meet.
pub fn rule(row: &Row, column: &Column) -> Rule {
    let own = row.rules.iter().find(|(columns, _)| columns.contains(&column.name));
    let of_kind = || column.rules.iter().find(|(kinds, _)| kinds.contains(&row.kind));
    own.map(|one| one.1).or_else(|| of_kind().map(|one| one.1)).unwrap_or(Rule::Runs)
}
