// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the process may still do once it serves: talk to its clients, map what they share, start
//! and end threads, remove its sockets. It opens nothing, connects nowhere, starts no program.
//! Whatever else it asks the kernel for fails with EPERM.

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op,
    SeccompCondition as Condition, SeccompFilter, SeccompRule as Rule, TargetArch,
    apply_filter_all_threads,
};
use std::collections::BTreeMap;

/// With whatever arguments.
const ALLOWED: &[libc::c_long] = &[
    // Clients.
    libc::SYS_accept4,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fcntl,
    // What they share.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads, which wait for each other.
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_prctl,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // The end.
    libc::SYS_unlink,
    libc::SYS_exit_group,
];

/// With protections that do not have PROT_EXEC.
const NOT_EXECUTABLE: &[libc::c_long] = &[libc::SYS_mmap, libc::SYS_mprotect];

/// Gives up all else, in all threads and for good.
pub fn shut_in() -> Result<(), Error> {
    apply_filter_all_threads(&program()?)
}

fn program() -> Result<BpfProgram, BackendError> {
    let mask = Op::MaskedEq(libc::PROT_EXEC as u64);
    let data_only = || Condition::new(2, Length::Dword, mask.clone(), 0);
    let mut rules = BTreeMap::new();
    for call in ALLOWED {
        rules.insert(*call, Vec::new());
    }
    for call in NOT_EXECUTABLE {
        rules.insert(*call, vec![Rule::new(vec![data_only()?])?]);
    }
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, refuse, SeccompAction::Allow, TargetArch::x86_64)?.try_into()
}
