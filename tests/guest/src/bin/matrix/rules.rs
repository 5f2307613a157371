// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which cells are not what they are for most: where the kernel refuses the
//! change, and where it makes no sense. All other cells run.

use crate::model::Kind;
use crate::row::Row;
use nix::errno::Errno;

/// What becomes of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The change is made.
    Runs,
    /// The kernel refuses it; the device then still sees what is there.
    Refused(Errno),
    /// There is nothing to try, and why.
    Senseless(&'static str),
}

/// Which rows an exception is for.
enum Rows {
    Named(&'static [&'static str]),
    Of(&'static [Kind]),
    /// Of a kind, but not these.
    Except(Kind, &'static [&'static str]),
    /// Those without a file.
    Fileless,
}

use Kind::{Anonymous, Dax, Device, Disk, Hugetlb, Pageless, Shmem};
use Rows::{Except, Fileless, Named, Of};
use Rule::{Refused, Runs, Senseless};

/// Columns for which there has to be a file.
const FILE: &[&str] = &["truncate", "punch-hole", "collapse-range", "writeback", "reflink"];
/// Columns that end in reclaim of what only the device wrote.
const LOSSES: &[&str] = &["free-write", "swapin-write", "hole-write", "sync-write"];
/// Columns that ask for reclaim.
const RECLAIM: &[&str] = &["pageout", "swap"];

/// The first that fits is the rule.
#[rustfmt::skip]
const EXCEPTIONS: &[(Rows, &[&str], Rule)] = &[
    (Fileless, FILE, Senseless("there is no file")),

    // Where a page can be clean and writable.
    (Named(&["mlocked", "prot-none", "guard-pages", "ksm-merged", "uffd-missing", "uffd-wp"]), LOSSES, Senseless("nothing but anonymous matters here")),
    (Of(&[Disk, Shmem, Dax, Hugetlb, Device, Pageless]), &["free-write"], Senseless("MADV_FREE is for anonymous pages")),
    (Named(&["zero-page"]), &["swapin-write"], Senseless("the zero page is not swapped")),
    (Named(&["private-file-cow", "dax-private", "dax-xfs-private"]), &["swapin-write"], Runs),
    (Of(&[Disk, Dax, Hugetlb, Device, Pageless]), &["swapin-write"], Senseless("it is not swapped")),
    (Of(&[Anonymous, Disk, Dax, Hugetlb, Device, Pageless]), &["hole-write"], Senseless("no hole is read without a page for it")),
    (Of(&[Anonymous, Shmem, Hugetlb, Device, Pageless]), &["sync-write"], Senseless("there is no disk")),
    (Named(&["private-file", "private-file-cow", "dax-private", "dax-xfs-private"]), &["sync-write"], Senseless("the disk is not written to")),

    // What the kernel refuses to change.
    (Named(&["zero-page", "private-file-cow", "guard-pages", "uffd-wp"]), &["collapse"], Refused(Errno::EINVAL)),
    (Named(&["ksm-merged"]), &["collapse"], Refused(Errno::EAGAIN)),
    (Named(&["uffd-missing"]), &["collapse"], Refused(Errno::EBUSY)),
    (Of(&[Hugetlb, Device]), &["collapse", "free"], Refused(Errno::EINVAL)),
    (Of(&[Disk, Shmem, Dax]), &["free"], Refused(Errno::EINVAL)),
    (Named(&["mlocked"]), &["dontneed", "free"], Refused(Errno::EINVAL)),
    (Named(&["mlocked"]), RECLAIM, Refused(Errno::EINVAL)),
    (Of(&[Hugetlb]), &["mremap-grow", "mremap-dontunmap"], Refused(Errno::EINVAL)),
    (Named(&["hugetlb-1g"]), &["munmap-front", "munmap-middle", "munmap-tail"], Refused(Errno::EINVAL)),
    (Named(&["hugetlb-1g"]), &["mremap-shrink"], Senseless("its one page is not cut")),
    (Named(&["hugetlb-1g"]), &["migrate"], Senseless("each page that is moved leaves 1 GiB out of use")),
    (Of(&[Hugetlb]), RECLAIM, Refused(Errno::EINVAL)),
    (Of(&[Shmem, Hugetlb]), &["collapse-range", "reflink"], Refused(Errno::EOPNOTSUPP)),
    (Named(&["file-ext4", "private-file", "private-file-cow"]), &["reflink"], Refused(Errno::EOPNOTSUPP)),

    (Of(&[Dax]), &["collapse"], Refused(Errno::EINVAL)),
    (Named(&["dax-ext4", "dax-pmd", "dax-sync", "dax-private"]), &["reflink"], Refused(Errno::EOPNOTSUPP)),
    (Except(Dax, &["dax-private", "dax-xfs-private"]), &["migrate"], Refused(Errno::EIO)),
    (Except(Dax, &["dax-private", "dax-xfs-private"]), &["swap"], Senseless("persistent memory is not paged out")),

    // Memory without pages, or with those of a driver.
    (Named(&["prot-none"]), &["hwpoison", "migrate"], Refused(Errno::EFAULT)),
    (Of(&[Pageless]), &["hwpoison", "migrate", "mremap-grow"], Refused(Errno::EFAULT)),
    (Of(&[Pageless]), &["mremap-dontunmap", "dontneed", "free"], Refused(Errno::EINVAL)),
    (Of(&[Pageless]), RECLAIM, Refused(Errno::EINVAL)),
    (Of(&[Pageless]), &["collapse"], Senseless("there is no place for a huge page")),
    (Of(&[Device]), &["hwpoison"], Refused(Errno::EBUSY)),
    (Of(&[Device]), &["migrate"], Refused(Errno::EIO)),
    (Of(&[Device]), &["swap"], Senseless("pages of a driver are not swapped")),

    // What has no object.
    (Named(&["zero-page"]), &["hwpoison", "migrate", "swap", "ksm"], Senseless("the zero page is one for all, and stays")),
    (Named(&["ksm-merged"]), &["swap"], Senseless("a page that is shared is not paged out")),
    (Named(&["ksm-merged"]), &["ksm"], Senseless("it is merged already")),
    (Named(&["prot-none"]), &["ksm"], Senseless("no two of its pages can be made equal")),
    (Named(&["private-file-cow"]), &["ksm"], Runs),
    (Named(&["dax-private", "dax-xfs-private"]), &["ksm"], Senseless("KSM leaves mappings of persistent memory alone")),
    (Of(&[Disk, Shmem, Dax, Hugetlb, Device, Pageless]), &["ksm"], Senseless("KSM merges anonymous pages only")),
    (Named(&["zero-page", "private-file-cow", "guard-pages", "ksm-merged", "uffd-missing", "uffd-wp"]), &["split"], Senseless("nothing huge can be made of it")),
    (Of(&[Hugetlb]), &["split"], Senseless("hugetlb pages are not split")),
    (Of(&[Dax, Device, Pageless]), &["split"], Senseless("there is no folio to be split")),
];

/// Rows of memory that no descriptor leads to.
fn is_fileless(row: &Row) -> bool {
    matches!(row.kind, Anonymous | Device | Pageless)
        || ["sysv-shm", "hugetlb", "hugetlb-1g"].contains(&row.name)
}

impl Rows {
    fn hold(&self, row: &Row) -> bool {
        match self {
            Named(names) => names.contains(&row.name),
            Of(kinds) => kinds.contains(&row.kind),
            Except(kind, names) => row.kind == *kind && !names.contains(&row.name),
            Fileless => is_fileless(row),
        }
    }
}

/// What becomes of the cell where `row` and `column` meet.
pub fn rule(row: &Row, column: &str) -> Rule {
    let fits =
        |(rows, columns, _): &&(Rows, &[&str], Rule)| columns.contains(&column) && rows.hold(row);
    EXCEPTIONS.iter().find(fits).map_or(Rule::Runs, |(_, _, rule)| *rule)
}

/// Rows and columns that the table names.
#[cfg(test)]
pub fn names() -> (Vec<&'static str>, Vec<&'static str>) {
    let rows = EXCEPTIONS.iter().flat_map(|(rows, ..)| match rows {
        Named(names) | Except(_, names) => names.iter().copied(),
        Of(_) | Fileless => [].iter().copied(),
    });
    let columns = EXCEPTIONS.iter().flat_map(|(_, columns, _)| columns.iter().copied());
    (rows.collect(), columns.collect())
}
