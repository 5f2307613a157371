// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Judges a guest's kernel log: a test that passed over a warning has failed.

/// What no log may hold; each is how the kernel, or a checker in it, begins its complaint.
const COMPLAINTS: &[&str] = &[
    "BUG:",
    "WARNING:",
    "Oops:",
    "kernel BUG at",
    "Kernel panic",
    "general protection fault",
    "Unable to handle",
    "INFO: task ",
    "INFO: rcu",
    "soft lockup",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    // kmemleak, and what puts it, or lockdep, or the check of the DMA API, out of work.
    "unreferenced object",
    "suspected memory leaks",
    "Kernel memory leak detector disabled",
    "turning off the locking correctness validator",
    "trying to register non-static key",
    "dma-debug disabled",
    "debugging out of memory",
    "Objects remaining",
    "refcount_t:",
    "list_add corruption",
    "list_del corruption",
    "Bad page state",
    "Bad rss-counter",
    "page dumped because",
    "Call Trace:",
    "farfault: leaked",
    // File systems, swap and disks.
    "EXT4-fs error",
    "Aborting journal",
    "Detected IO errors",
    "corruption detected",
    "Corruption detected",
    "Internal error",
    "Shutting down filesystem",
    "I/O error",
    "I/O Error",
    "-error on swap-device",
    "Bad swap",
    "Unused swap",
    "swap_dup:",
    "swap_free:",
    "Bad page map",
];

/// How KCSAN begins a report, and what it draws above and below each.
const DATA_RACE: &str = "BUG: KCSAN:";
const RULE: &str = "==========";
/// What stands behind each function of the driver in a stack trace.
const OURS: &str = "[farfault]";

/// The lines of `log` that say something went wrong. Of the data races that KCSAN finds, only
/// those count in which the driver has a part: it knows many of Linux's own.
pub fn complaints(log: &str) -> Vec<&str> {
    let lines: Vec<&str> = log.lines().collect();
    let complains = |line: &str| COMPLAINTS.iter().any(|complaint| line.contains(complaint));
    let wrong = lines.iter().enumerate().filter(|(_, line)| complains(line));
    wrong.filter(|(at, _)| !is_others_race(&lines[*at..])).map(|(_, line)| *line).collect()
}

/// `log` without the warnings in which a line has `function`, each from its first line to the end
/// of its trace; says how many there were.
pub fn without_warning(log: &str, function: &str) -> String {
    const FIRST: &str = "WARNING: ";
    const LAST: &str = "---[ end trace ";
    let (mut kept, mut count, mut within) = (Vec::new(), 0, false);
    for line in log.lines() {
        if line.contains(FIRST) && line.contains(function) {
            within = true;
            count += 1;
        }
        if !within {
            kept.push(line);
        }
        within &= !line.contains(LAST);
    }
    if count > 0 {
        println!("note: bug of the kernel: {function} warns, {count} times");
    }
    kept.join("\n")
}

/// How many data races KCSAN has found in `log` in which the driver has no part.
pub fn others_races(log: &str) -> usize {
    let lines: Vec<&str> = log.lines().collect();
    (0..lines.len()).filter(|&at| is_others_race(&lines[at..])).count()
}

/// Whether a report of KCSAN begins here that does not have the driver in it.
fn is_others_race(lines: &[&str]) -> bool {
    let report = || lines.iter().take_while(|line| !line.contains(RULE));
    lines[0].contains(DATA_RACE) && !report().any(|line| line.contains(OURS))
}

#[cfg(test)]
mod tests {
    use super::{RULE, complaints, others_races, without_warning};

    #[test]
    fn a_warning_is_found_among_ordinary_lines() {
        let log = "[    1.0] farfault: loading\n[    2.0] WARNING: mm/hmm.c:12 at foo\n";
        assert_eq!(complaints(log), ["[    2.0] WARNING: mm/hmm.c:12 at foo"]);
        assert!(complaints("[    1.0] x86/mm: fine\n").is_empty());
    }

    #[test]
    fn what_checkers_report_is_found() {
        let log = "BUG: KASAN: slab-use-after-free in ff_queue_end+0x1/0x2\n\
            WARNING: possible circular locking dependency detected\n\
            BUG: sleeping function called from invalid context at mm/x.c:1\n\
            kernel BUG at mm/page_table_check.c:120!\n\
            INFO: trying to register non-static key.\n\
            kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n\
            unreferenced object 0xffff888004f5c000 (size 64):\n\
            WARNING: kernel/dma/debug.c:1 at check_unmap+0x1/0x2, CPU#0: saxpy/1\n\
            DMA-API: cacheline tracking ENOMEM, dma-debug disabled\n";
        assert_eq!(complaints(log).len(), log.lines().count());
        let fine = "kmemleak: Kernel memory leak detector initialized (mem pool available: 15)\n\
            DMA-API: debugging enabled by kernel config\nLock dependency validator: a (c) b\n\
            page_owner is disabled\nFAULT_INJECTION: forcing a failure.\n";
        assert!(complaints(fine).is_empty());
    }

    #[test]
    fn a_data_race_counts_if_the_driver_has_a_part_in_it() {
        let report = |module: &str| {
            format!(
                "{RULE}\nBUG: KCSAN: data-race in a / b\n\nread to 0x1 of 4 bytes:\n \
                 b+0x1/0x2{module}\n{RULE}\n"
            )
        };
        assert!(complaints(&report("")).is_empty());
        let log = report("") + &report(" [farfault]") + &report("");
        assert_eq!(complaints(&log), ["BUG: KCSAN: data-race in a / b"]);
        assert_eq!(others_races(&log), 2);
    }

    #[test]
    fn errors_of_file_systems_swap_and_disks_are_found() {
        let log = "EXT4-fs error (device ram0): ext4_lookup:1: bad extent\n\
            XFS (pmem1): Metadata corruption detected at xfs_agf_read_verify+0x7\n\
            XFS (ram1): log I/O error -5\nBuffer I/O error on dev ram0, logical block 1\n\
            _swap_info_get: Bad swap file entry 3\nRead-error on swap-device (7:0:8)\n";
        assert_eq!(complaints(log).len(), 6);
        let fine = "EXT4-fs (pmem0): recovery complete\nXFS (pmem1): Ending recovery\n";
        assert!(complaints(fine).is_empty());
    }

    #[test]
    fn a_warning_is_left_out_with_its_trace() {
        let log = "a\nWARNING: fs/dax.c:4 at foo+0x1\nCall Trace:\n foo\n---[ end trace 0 ]---\n\
            WARNING: fs/dax.c:5 at bar+0x1\nCall Trace:\n---[ end trace 0 ]---\nb";
        let left = "a\nWARNING: fs/dax.c:5 at bar+0x1\nCall Trace:\n---[ end trace 0 ]---\nb";
        assert_eq!(without_warning(log, "at foo+"), left);
        assert_eq!(without_warning(left, "at foo+"), left);
    }
}
