// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accelerator stands behind a translating IOMMU: workloads, cells of the matrix and
//! races, with not one DMA fault; a driver that gives the device physical addresses,
//! with which no program gets through; and one that unmaps what the device still uses.

use farfault_tests::check::{
    Check, LEAKS, LOG, each, ensure, found, good_end, ktap, ktap_but, not_applicable, succeeded,
};
use farfault_tests::hmm_selftests;
use farfault_tests::hosting::Hosting;
use farfault_tests::run::{Farfault, Finished, Ran, Step, USUAL, counted, script_of, seed};
use farfault_tests::unit::Unit;

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
    ("group", "cat /sys/bus/pci/drivers/farfault/0*/iommu_group/type"),
    ("saxpy", "saxpy 1000000"),
    ("stress", "stress --processes 2 --queues 2 --commands 150 --seed SEED"),
    LEAKS,
    LOG,
];

/// The driver that does not go by the DMA API.
const BROKEN: [(&str, &str); 4] = [
    ("break", "unload && insmod /lib/modules/farfault.ko break_dma=1"),
    ("broken", "saxpy 10000"),
    LEAKS,
    LOG,
];

/// The driver that unmaps what it leaves to the device. The cell has the device read where the
/// process has nothing any more.
const UNMAPS: [(&str, &str); 4] = [
    ("break", "unload && insmod /lib/modules/farfault.ko break_unmap=1"),
    ("broken", "matrix --row anonymous --column munmap"),
    LEAKS,
    LOG,
];

pub fn units() -> Vec<Unit> {
    vec![
        Unit::new("iommu::translated", translated).of_content().wants(Some("IOMMU")),
        Unit::new("iommu::vt-d", vt_d),
        Unit::new("iommu::physical-addresses", physical),
        Unit::new("iommu::use-after-unmap", use_after_unmap),
    ]
}

fn translated(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let module = hmm_selftests::module(&hmm_selftests::from_environment()?);
    run(farfault, &[&module], &KTAP)
}

/// The one of our own, with as much as shows that it works.
fn vt_d(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let programs = KTAP.into_iter().filter(|(name, _)| *name == "dma").collect::<Vec<_>>();
    run(farfault, &[], &programs)
}

fn run(
    farfault: &Farfault,
    options: &[&str],
    programs: &[(&str, &str)],
) -> Result<Vec<Check>, String> {
    let seed = seed()?.to_string();
    let step = |(name, command): &(&str, &str)| Step::new(*name, command.replace("SEED", &seed));
    let steps: Vec<Step> = programs.iter().chain(&PLAIN).map(step).collect();
    let finished = behind(farfault, options, &steps)?;
    Ok(checks(farfault.hosting(), &finished, programs))
}

fn physical(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let steps = BROKEN.map(|(name, command)| Step::new(name, command));
    let finished = behind(farfault, &[], &steps)?;
    let mut checks = vec![
        Check::new("break", succeeded(&finished, "break")),
        Check::new("physical addresses are refused", refused(&finished)),
    ];
    checks.extend(good_end(&finished));
    Ok(checks)
}

/// QEMU's IOMMU takes a mapping from the server before the guest goes on.
fn use_after_unmap(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let steps = UNMAPS.map(|(name, command)| Step::new(name, command));
    let finished = behind(&farfault.on(Hosting::VfioUserIommu), &[], &steps)?;
    let told = finished.stderr.contains("the IOMMU refused DMA address");
    let faults = counted(&finished.stats, "vmm/dma_faults")?;
    let mut checks = vec![
        Check::new("break", succeeded(&finished, "break")),
        Check::new("the device is told", succeeded(&finished, "broken")),
        Check::new(
            "use after unmap is refused",
            ensure(told && faults > 0, || format!("{faults} DMA faults: {}", finished.stderr)),
        ),
    ];
    checks.extend(good_end(&finished));
    Ok(checks)
}

fn behind(farfault: &Farfault, options: &[&str], steps: &[Step]) -> Ran {
    farfault.script(&[&USUAL[..], &["--iommu"], options].concat(), &script_of(steps, ""))
}

fn checks(hosting: Hosting, finished: &Finished, programs: &[(&str, &str)]) -> Vec<Check> {
    let mut checks: Vec<Check> = programs
        .iter()
        .flat_map(|(name, _)| match *name {
            "matrix" => ktap_but(finished, name, not_applicable),
            _ => ktap(finished, name),
        })
        .collect();
    checks.extend(each(finished, PLAIN.map(|(name, _)| name)));
    checks.push(Check::new("the IOMMU translates", translates(finished)));
    checks.push(Check::new("no DMA fault", faults(hosting, finished)));
    checks.extend(good_end(finished));
    checks
}

fn translates(finished: &Finished) -> Result<(), String> {
    let kind = found(finished, "group")?.output;
    ensure(kind.trim() == "DMA", || format!("the group's type is {kind:?}, not DMA"))
}

/// The IOMMU was asked, was told of what is unmapped, and refused nothing.
fn faults(hosting: Hosting, finished: &Finished) -> Result<(), String> {
    let count = |path: &str| counted(&finished.stats, path);
    let (faults, unmaps) = (count("vmm/dma_faults")?, count(hosting.unmaps())?);
    ensure(faults == 0, || format!("{faults} DMA faults"))?;
    ensure(unmaps > 100, || format!("told {unmaps} times only of what is unmapped"))
}

/// The program ends with an error, not in a hang; there are DMA faults to show for it, and
/// the device has not moved one byte.
fn refused(finished: &Finished) -> Result<(), String> {
    let section = found(finished, "broken")?;
    ensure(section.code.is_some_and(|code| code != 0), || {
        format!("the program went well:\n{}", section.output)
    })?;
    let counts = ["vmm/dma_faults", "device/bytes_read", "device/bytes_written"]
        .map(|path| counted(&finished.stats, path));
    ensure(matches!(counts, [Ok(1..), Ok(0), Ok(0)]), || {
        format!("DMA faults, bytes read, bytes written: {counts:?}")
    })
}
