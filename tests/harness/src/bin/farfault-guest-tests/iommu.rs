// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One boot in which the accelerator stands behind a translating IOMMU: workloads,
//! cells of the matrix and races, with not one DMA fault; and then a driver that
//! gives the device physical addresses, with which no program gets through.

use farfault_tests::check::{
    Check, LEAKS, LOG, each, ensure, found, good_end, ktap, ktap_but, not_applicable, succeeded,
};
use farfault_tests::hmm_selftests;
use farfault_tests::run::{Farfault, Finished, Step, marked, script_of, seed};
use serde_json::Value;

const KTAP: [(&str, &str); 4] = [
    ("dma", "dma"),
    // The kernel's own module for HMM's selftest, which has memory of its own.
    ("device-private", "insmod /test_hmm.ko && device-private && rmmod test_hmm"),
    (
        "matrix",
        "matrix --row anonymous,thp,memfd,hugetlb --column device-read,device-write,device-atomic,\
         munmap,munmap-middle,mremap-move,mprotect-read,fork-device-writes,exit,dontneed,\
         free-write,hole-write,migrate,swap",
    ),
    ("races", "races --change munmap --changes 200"),
];

const PLAIN: [(&str, &str); 5] = [
    ("group", "cat /sys/bus/pci/devices/0000:00:01.0/iommu_group/type"),
    ("saxpy", "saxpy 1000000"),
    ("stress", "stress --processes 2 --queues 2 --commands 150 --seed SEED"),
    LEAKS,
    LOG,
];

/// Behind the mark: the driver that does not go by the DMA API.
const BROKEN: [(&str, &str); 2] = [
    ("break", "unload && mark good && insmod /lib/modules/farfault.ko break_dma=1"),
    ("broken", "saxpy 10000"),
];

pub fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let seed = seed()?.to_string();
    let step = |(name, command): &(&str, &str)| Step::new(*name, command.replace("SEED", &seed));
    let steps: Vec<Step> = KTAP.iter().chain(&PLAIN).chain(&BROKEN).map(step).collect();
    let made = hmm_selftests::from_environment()?;
    let module = hmm_selftests::module(&made);
    let options = ["--iommu", "--cpus=2", "--memory=1G", "--timeout=600", &module];
    let finished = farfault.script(&options, &script_of(&steps, ""))?;
    Ok(checks(&finished))
}

fn checks(finished: &Finished) -> Vec<Check> {
    let mut checks: Vec<Check> = KTAP
        .iter()
        .flat_map(|(name, _)| match *name {
            "matrix" => ktap_but(finished, name, not_applicable),
            _ => ktap(finished, name),
        })
        .collect();
    checks.extend(each(finished, PLAIN.map(|(name, _)| name)));
    checks.push(Check::new("the IOMMU translates", translates(finished)));
    checks.push(Check::new("no DMA fault", faults(finished)));
    checks.push(Check::new("break", succeeded(finished, "break")));
    checks.push(Check::new("physical addresses are refused", refused(finished)));
    checks.extend(good_end(finished));
    checks
}

fn translates(finished: &Finished) -> Result<(), String> {
    let kind = found(finished, "group")?.output;
    ensure(kind.trim() == "DMA", || format!("the group's type is {kind:?}, not DMA"))
}

/// The IOMMU was asked, was told of what is unmapped, and refused nothing.
fn faults(finished: &Finished) -> Result<(), String> {
    let count = |path: &str| marked(&finished.stats, "good", path);
    let (faults, invalidations) = (count("vmm/dma_faults")?, count("vmm/iommu_invalidations")?);
    ensure(faults == 0, || format!("{faults} DMA faults"))?;
    ensure(invalidations > 1000, || format!("{invalidations} invalidations only"))
}

/// The program ends with an error, not in a hang; there are DMA faults to show for it, and
/// the device has not moved one byte.
fn refused(finished: &Finished) -> Result<(), String> {
    let section = found(finished, "broken")?;
    ensure(section.code.is_some_and(|code| code != 0), || {
        format!("the program went well:\n{}", section.output)
    })?;
    let since = |path: &str| {
        let total = finished.stats.pointer(&format!("/{path}")).and_then(Value::as_u64);
        Some(total? - marked(&finished.stats, "good", path).ok()?)
    };
    let counts = ["vmm/dma_faults", "device/bytes_read", "device/bytes_written"].map(since);
    ensure(matches!(counts, [Some(1..), Some(0), Some(0)]), || {
        format!("DMA faults, bytes read, bytes written: {counts:?}")
    })
}
