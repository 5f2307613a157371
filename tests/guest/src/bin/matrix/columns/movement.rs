// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Columns in which pages go elsewhere, and contents do not change.

use crate::calls::{self, MADV_MERGEABLE, MADV_SOFT_OFFLINE, Span};
use crate::cell::Cell;
use crate::column::Column;
use crate::cpu::frames;
use crate::device;
use crate::ksm;
use crate::model::{Access, Kind, PAGE};
use crate::row::Rule::{Refused, Senseless};
use farfault_client::raw::uapi::{MIGRATE_DEVICE, MIGRATE_SYSTEM};
use farfault_guest_programs::kernel_files::{drain, write};
use farfault_guest_programs::ktap::{Outcome, Skip, expect};
use nix::errno::Errno;

pub const COLUMNS: &[Column] = &[
    Column::new("migrate", "pages are migrated (MADV_SOFT_OFFLINE)", migrate).declined().but(&[
        (&[Kind::Dax, Kind::Device], Refused(Errno::EIO)),
        (&[Kind::Pageless], Refused(Errno::EFAULT)),
    ]),
    Column::new("compact", "memory is compacted", compact),
    Column::new("to-device", "moved to device memory, and back", to_device)
        .but(&[(&[Kind::Hugetlb, Kind::Device, Kind::Pageless], Refused(Errno::EOPNOTSUPP))]),
    Column::new("swap", "swapped out, and in by the CPU", swap).declined().but(&[
        (&[Kind::Hugetlb, Kind::Pageless], Refused(Errno::EINVAL)),
        (&[Kind::Dax], Senseless("persistent memory is not paged out")),
        (&[Kind::Device], Senseless("pages of a driver are not swapped")),
    ]),
    Column::new("ksm", "KSM merges all its pages", merge).quiet().but(&[(
        &[Kind::Disk, Kind::Shmem, Kind::Dax, Kind::Hugetlb, Kind::Device, Kind::Pageless],
        Senseless("KSM merges anonymous pages only"),
    )]),
];

/// Taking a page frame out of use migrates what is in it: the one way to have a
/// chosen page moved on a machine of one node.
fn migrate(cell: &mut Cell<'_>) -> Outcome {
    cell.map()?;
    drain()?;
    let before = frames(&cell.subject)?;
    let commands = cell.start_commands()?;
    let page = |start| Span { start, length: PAGE };
    let closed = cell.subject.is_closed();
    let places = cell.subject.samples.iter().filter(|sample| sample.is_there() || closed);
    let places: Vec<u64> = places.map(|sample| sample.at).collect();
    let done = places
        .into_iter()
        .try_for_each(|at| cell.insist(|_| calls::advise(page(at), MADV_SOFT_OFFLINE)));
    let moved = cell.was_done(done)?;
    cell.subject.whole = false;
    cell.look_at_mirror(&before)?;
    if moved && cell.subject.leaf == PAGE {
        let after = frames(&cell.subject)?;
        let other = before.iter().zip(&after).all(|(before, after)| *after == 0 || before != after);
        expect("every page lies in another frame", other)?;
    }
    cell.look_at_all(commands)
}

/// Which pages it moves, the kernel decides: where it has moved none, nothing was tried.
fn compact(cell: &mut Cell<'_>) -> Outcome {
    cell.map()?;
    let before = frames(&cell.subject)?;
    let commands = cell.start_commands()?;
    cell.subject.whole = false;
    write("/proc/sys/vm/compact_memory", "1")?;
    let after = frames(&cell.subject)?;
    let moved = before.iter().zip(&after).filter(|(old, new)| **new != 0 && old != new).count();
    println!("# compaction moved {moved} of the pages that are looked at");
    cell.look_at_mirror(&before)?;
    let at_rest = commands.is_none();
    cell.look_at_all(commands)?;
    match moved {
        0 if at_rest => {
            let why = "not applicable: compaction has moved none of its pages";
            Err(Box::new(Skip(why.to_owned())))
        }
        _ => Ok(()),
    }
}

/// What is no process's own stays where it is, and may lose nothing by it.
fn to_device(cell: &mut Cell<'_>) -> Outcome {
    device::is_there()?;
    cell.map()?;
    let commands = cell.start_commands()?;
    let (span, mut moved) = (cell.subject.span, 0);
    let done = cell.insist(|_| {
        moved = device::move_to(span, MIGRATE_DEVICE)?;
        Ok(())
    });
    if cell.was_done(done)? && commands.is_none() {
        cell.subject.anything_may_be_mapped();
        cell.subject.comes_back |= moved > 0;
        cell.device_reads("read where it is")?;
    }
    let mut back = 0;
    let done = cell.insist(|_| {
        back = device::move_to(span, MIGRATE_SYSTEM)?;
        Ok(())
    });
    cell.was_done(done)?;
    println!("# {moved} of {} pages moved there, {back} back", span.length / PAGE);
    cell.subject.anything_may_be_mapped();
    cell.look_at_all(commands)
}

fn swap(cell: &mut Cell<'_>) -> Outcome {
    cell.map()?;
    let before = frames(&cell.subject)?;
    let commands = cell.start_commands()?;
    let out = cell.page_out(commands.is_none())?;
    cell.cpu_reads("read by the CPU, which brings it back")?;
    if out && commands.is_none() {
        // It was out, and so taken out of the device's table, whatever is there now.
        cell.look_at_mirror(&[])?;
    } else {
        cell.look_at_mirror(&before)?;
    }
    cell.look_at_all(commands)
}

/// A page whose frame was chosen for all may stay mapped: who can tell which.
fn merge(cell: &mut Cell<'_>) -> Outcome {
    cell.map()?;
    ksm::equalise(&cell.cpu, &mut cell.subject)?;
    if cell.row.touch == Access::Read {
        // They were not writable until now.
        cell.subject.anything_may_be_mapped();
    }
    cell.device_reads("read of pages that are all the same")?;
    let before = frames(&cell.subject)?;
    if cell.was_done(calls::advise(cell.subject.span, MADV_MERGEABLE))? {
        ksm::merge(&mut cell.subject)?;
    }
    cell.look_at_mirror(&before)?;
    cell.verify()
}
