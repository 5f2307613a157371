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
    "unreferenced object",
    "Objects remaining",
    "refcount_t:",
    "list_add corruption",
    "list_del corruption",
    "Bad page state",
    "Bad rss-counter",
    "Call Trace:",
    "farfault: leaked",
];

/// The lines of `log` that say something went wrong.
#[must_use]
pub fn complaints(log: &str) -> Vec<&str> {
    log.lines().filter(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint))).collect()
}

#[cfg(test)]
mod tests {
    use super::complaints;

    #[test]
    fn a_warning_is_found_among_ordinary_lines() {
        let log = "[    1.0] farfault: loading\n[    2.0] WARNING: mm/hmm.c:12 at foo\n";
        assert_eq!(complaints(log), ["[    2.0] WARNING: mm/hmm.c:12 at foo"]);
        assert!(complaints("[    1.0] x86/mm: fine\n").is_empty());
    }
}
