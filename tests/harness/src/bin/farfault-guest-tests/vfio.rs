// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's own test of VFIO drivers, with one for our device (tests/vfio): a program copies
//! memory by DMA and takes interrupts, the device being behind an IOMMU.

use farfault_tests::check::{Check, LEAKS, LOG, each, good_end, ktap};
use farfault_tests::hosting::Hosting;
use farfault_tests::run::{Farfault, Step, script_of};
use farfault_tests::unit::Unit;
use std::path::PathBuf;

/// The device goes to VFIO, and the test has it. Memory is mapped in large pages: a gibibyte of
/// small ones keeps an IOMMU busy for long. Not every kernel remaps interrupts.
const TEST: &str = "\
function=$(basename /sys/bus/pci/drivers/farfault/0*)
unload && modprobe vfio-pci && modprobe vfio_iommu_type1 allow_unsafe_interrupts=1 || exit 99
echo vfio-pci >/sys/bus/pci/devices/$function/driver_override
echo $function >/sys/bus/pci/drivers_probe
echo always >/sys/kernel/mm/transparent_hugepage/shmem_enabled
vfio_pci_driver_test -v vfio_type1_iommu -v vfio_type1v2_iommu $function";

/// The driver has it again.
const AFTER: [(&str, &str); 3] = [("saxpy", BACK), LEAKS, LOG];
const BACK: &str = "\
function=$(basename /sys/bus/pci/drivers/vfio-pci/0*)
echo >/sys/bus/pci/devices/$function/driver_override
echo $function >/sys/bus/pci/drivers/vfio-pci/unbind
insmod /lib/modules/farfault.ko && saxpy 1000";

pub fn units() -> Vec<Unit> {
    vec![Unit::new("selftests::vfio", run)]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let mut steps = vec![Step::new("vfio", TEST)];
    steps.extend(AFTER.map(|(name, command)| Step::apart(name, command)));
    let file = format!("--file={}:/bin/vfio_pci_driver_test", program()?.display());
    let options = ["--cpus=2", "--memory=2G", "--timeout=600", &file];
    let finished = farfault.on(Hosting::VfioUserIommu).script(&options, &script_of(&steps, ""))?;
    let mut checks = ktap(&finished, "vfio");
    checks.extend(each(&finished, AFTER.map(|(name, _)| name)));
    checks.extend(good_end(&finished));
    Ok(checks)
}

/// The program that guest-image/vfio-tests made.
fn program() -> Result<PathBuf, String> {
    let made = std::env::var_os("FARFAULT_VFIO_TESTS").filter(|made| !made.is_empty());
    let made =
        made.ok_or("FARFAULT_VFIO_TESTS is not set; see what guest-image/vfio-tests says")?;
    Ok(PathBuf::from(made).join("vfio_pci_driver_test"))
}
