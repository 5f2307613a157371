// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Columns that leave the memory alone: the device is the first to touch it.

use crate::cell::Cell;
use crate::column::Column;
use farfault_guest_programs::ktap::Outcome;

pub const COLUMNS: &[Column] = &[
    Column::new("device-read", "the device reads", read).quiet(),
    Column::new("device-write", "the device writes", write).quiet(),
    Column::new("device-atomic", "device and CPU add to one word", add).quiet(),
];

fn read(cell: &mut Cell<'_>) -> Outcome {
    cell.device_reads("first read by the device")?;
    cell.device_reads("second read by the device")?;
    cell.cpu_reads("read by the CPU")
}

fn write(cell: &mut Cell<'_>) -> Outcome {
    cell.device_writes("first write by the device")?;
    cell.device_writes("second write by the device")?;
    cell.cpu_reads("read by the CPU")?;
    cell.device_reads("read by the device")?;
    (cell.row.check)(&cell.subject)
}

fn add(cell: &mut Cell<'_>) -> Outcome {
    cell.device_adds()?;
    cell.cpu_reads("read by the CPU of the words beside")?;
    (cell.row.check)(&cell.subject)
}
