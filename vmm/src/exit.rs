// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the program's exit code says. A guest command's own code passes
//! through unchanged, so these sit where shells and tests seldom exit.

use std::error::Error;
use std::fmt;

/// The command line was wrong.
pub const USAGE: u8 = 64;
/// This host lacks something: the image, QEMU, KVM asked for by name, room for our output.
pub const HOST_LACKS: u8 = 69;
/// The VMM itself failed.
pub const VMM_FAILED: u8 = 70;
/// The guest panicked, or ended without saying how its command ended.
pub const GUEST_LOST: u8 = 120;
/// The guest switched itself off or restarted, or its debugger ended it, before its command had
/// ended.
pub const SWITCHED_OFF: u8 = 121;
/// The guest was stopped by a time limit.
pub const TIMED_OUT: u8 = 124;

/// What `--help` says of all this.
pub const HELP: &str = "\
Exit codes:
  the guest command's own code, when it ran to its end
   64  bad usage
   69  this host lacks something (`farfault doctor` says what), or room on a disk
   70  the VMM itself failed
  120  the guest panicked, or ended without an exit code
  121  the guest was switched off, restarted, or ended by a debugger before its command ended
  124  a time limit passed (--timeout, --boot-timeout)
  128+N  ended by signal N";

/// An error on its way to `main`, with the exit code it asks for.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    error: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// The user asked for something that cannot be.
    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure { code: USAGE, error: error.into() }
    }

    /// The host has not what is needed.
    pub fn host_lacks(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure { code: HOST_LACKS, error: error.into() }
    }

    /// Something went wrong in the VMM.
    pub fn vmm(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure { code: VMM_FAILED, error: error.into() }
    }
}

impl fmt::Display for Failure {
    /// The whole chain of causes on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.error.as_ref()))
    }
}

/// Joins an error and its causes with `: `, leaving out a cause that the
/// text before it already ends with.
pub fn chain(error: &dyn Error) -> String {
    let mut line = one_line(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = one_line(&error.to_string());
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the\nkernel")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_is_one_line_with_every_cause_once() {
        let outer = Outer(std::io::Error::other("no such file"));
        assert_eq!(chain(&outer), "cannot read the kernel: no such file");
        let failure = Failure::host_lacks(outer);
        assert_eq!(failure.code, HOST_LACKS);
        assert_eq!(failure.to_string(), "cannot read the kernel: no such file");
    }
}
