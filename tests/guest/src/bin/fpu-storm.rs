// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `fpu-storm`: one CPU leaves the guest and comes back as often as it can while
//! another restores floating-point state as often as it can; then the other way
//! round.
//!
//! It is for the emulation below. QEMU's TCG takes each FXRSTOR and XRSTOR, of any
//! CPU, for a reason to clear a bit of the first CPU's state, without a lock. If
//! that first CPU runs a guest, it may lose what it changed there at that moment:
//! that it has left the guest, or that interrupts are enabled. Nested mode keeps
//! guests off that CPU.

#![allow(unsafe_code, reason = "FXRSTOR")]

use farfault_guest_programs::Failure;
use farfault_guest_programs::options::within;
use farfault_guest_programs::program::{Program, Summary};
use nix::errno::Errno;
use nix::libc;
use std::arch::x86_64::{__cpuid, _fxrstor64, _fxsave64};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{mem, thread};

const PROGRAM: Program = Program {
    name: "fpu-storm",
    usage: "[--count N]",
    about: "Executes CPUID N times (default 100000) on the first CPU while the second\n\
            executes FXRSTOR, and the other way round.",
};

/// What FXSAVE fills (AMD64 manual, volume 2, section 11.5.4).
#[repr(C, align(16))]
struct Area([u8; 512]);

fn main() -> ExitCode {
    PROGRAM.run(
        |options| within("--count", options.option("--count", 100_000)?, 1..=1 << 40),
        |count: u64| {
            let kept = contend(0, 1, count)? & contend(1, 0, count)?;
            Ok(Summary::new(kept).with("elements", 2 * count))
        },
    )
}

/// CPU `leaver` executes CPUID, which a hypervisor must intercept, `count` times. Whether
/// the registers of the other one held meanwhile what it restored.
fn contend(leaver: usize, restorer: usize, count: u64) -> Result<bool, Failure> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let restoring = scope.spawn(|| {
            stay_on(restorer)?;
            let mut kept = true;
            while !done.load(Ordering::Relaxed) {
                kept &= restore();
            }
            Ok::<_, Failure>(kept)
        });
        let left = stay_on(leaver);
        if left.is_ok() {
            for _ in 0..count {
                __cpuid(0);
            }
        }
        done.store(true, Ordering::Relaxed);
        left?;
        restoring.join().map_err(|_| "a thread panicked")?
    })
}

/// Where XMM registers lie in an area.
const REGISTERS: Range<usize> = 160..416;

fn restore() -> bool {
    let (mut area, mut after) = (Area([0; 512]), Area([0; 512]));
    // SAFETY: every x86-64 CPU has the instruction, and the area is large and
    // aligned enough.
    unsafe { _fxsave64(area.0.as_mut_ptr()) };
    for _ in 0..1000 {
        // SAFETY: as above; what is restored is what is there.
        unsafe { _fxrstor64(area.0.as_ptr()) };
    }
    // SAFETY: as above.
    unsafe { _fxsave64(after.0.as_mut_ptr()) };
    area.0[REGISTERS] == after.0[REGISTERS]
}

/// Binds the calling thread.
fn stay_on(cpu: usize) -> Result<(), Failure> {
    // SAFETY: a set of CPUs is an array of integers.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `cpu` is 0 or 1, and a set has room for 1024.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is as large as is said.
    Errno::result(unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &raw const set) })
        .map_err(|errno| format!("cannot stay on CPU {cpu}: {errno} (it takes two)"))?;
    Ok(())
}
