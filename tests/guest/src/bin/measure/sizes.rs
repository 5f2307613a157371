// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes of device page tables per GiB that is mirrored.

use crate::buffer::{Backing, Rig};
use crate::table::Table;
use farfault_guest_programs::Failure;
use farfault_guest_programs::counters::{self, await_gauges, gauges};
use farfault_guest_programs::memory::{PAGE, Region};

const TABLE: u64 = 4096;

pub fn measure(bytes: usize) -> Result<Table, Failure> {
    let mut table = Table::new(&[
        "backing",
        "MiB mirrored",
        "2 MiB leaves",
        "bytes of tables",
        "bytes of tables per GiB",
        "bytes of tables after munmap",
    ]);
    for backing in Backing::ALL {
        let before = gauges()?;
        // The root, the way to a page, and spare tables, which are there whatever is mirrored.
        let rig = Rig::new()?;
        let page = Region::small_pages(PAGE)?;
        let fill_spares = || (0..2).try_for_each(|_| rig.prefetch(page.address(), page.len()));
        fill_spares()?;
        let (tables, leaves) = (counters::get("table_pages")?, counters::get("leaves_2m")?);
        let region = backing.fresh(bytes)?;
        rig.prefetch(region.address(), region.len())?;
        fill_spares()?;
        let used = (counters::get("table_pages")? - tables) * TABLE;
        let large = counters::get("leaves_2m")? - leaves;
        drop(region);
        let left = (counters::get("table_pages")? - tables) * TABLE;
        drop(rig);
        await_gauges(before)?;
        let mib = bytes as u64 >> 20;
        let cells = [mib, large, used, used * 1024 / mib, left];
        table.row([backing.name().to_owned()].into_iter().chain(cells.map(|n| n.to_string())));
    }
    Ok(table)
}
