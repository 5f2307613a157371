// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs tests in headless virtual machines.
//!
//! The suite is made of units, which `--list` names without a boot. A unit starts machines of
//! its own; every KTAP line, exit code, count and kernel log that comes of it becomes a test,
//! which then passes or fails.

mod arguments;
mod costs;
mod debugger;
mod device_memory;
mod exclusive;
mod exerciser;
mod failing_allocations;
mod iommu;
mod kept_on_kvm;
mod kept_states;
mod kernel_bugs;
mod lifecycle;
mod lost_pages;
mod machines;
mod matrix;
mod measurements;
mod older_kernels;
mod oops;
mod out_of_memory;
mod passthrough;
mod pmem;
mod programs;
mod qemu;
mod races;
mod refusals;
mod removal;
mod selftests;
mod serve;
mod suite;
mod vfio;

use arguments::Arguments;
use farfault_tests::costs::Costs;
use farfault_tests::needs::Needs;
use farfault_tests::run::is_nightly;
use farfault_tests::select::select;
use farfault_tests::unit::{GUEST, Unit};
use std::process::ExitCode;

/// What there is.
const SCENARIOS: &[fn() -> Vec<Unit>] = &[
    kept_states::units,
    kept_on_kvm::units,
    refusals::units,
    programs::units,
    selftests::units,
    device_memory::units,
    exclusive::units,
    lost_pages::units,
    vfio::units,
    out_of_memory::units,
    failing_allocations::units,
    measurements::units,
    costs::units,
    iommu::units,
    serve::units,
    qemu::units,
    passthrough::units,
    lifecycle::units,
    exerciser::units,
    pmem::units,
    matrix::units,
    machines::units,
    oops::units,
    debugger::units,
    older_kernels::units,
    races::units,
    removal::units,
    kernel_bugs::units,
];

/// How long each has taken.
const COSTS: &str = include_str!("../../../costs");
/// What they need of a kernel.
const NEEDS: &str = include_str!("../../../needs");
/// Exit code for a wrong command line.
const BAD_USAGE: u8 = 64;

fn main() -> ExitCode {
    let fails = |why: &str, code| {
        eprintln!("farfault-guest-tests: {why}");
        code
    };
    let units: Vec<Unit> = SCENARIOS.iter().flat_map(|units| units()).collect();
    let understood = Arguments::read().and_then(|arguments| {
        let mut chosen = select(&units, &arguments.names, is_nightly())?;
        if arguments.hosting.is_some() {
            chosen.retain(|unit| unit.content);
        }
        Ok((arguments, chosen))
    });
    match understood {
        Err(why) => fails(&why, ExitCode::from(BAD_USAGE)),
        Ok((arguments, chosen)) => {
            let done = list_or_run(&arguments, &chosen);
            done.unwrap_or_else(|why| fails(&why, ExitCode::FAILURE))
        }
    }
}

fn list_or_run(arguments: &Arguments, chosen: &[&Unit]) -> Result<ExitCode, String> {
    let costs = Costs::read(COSTS)?;
    if arguments.list {
        list(arguments, chosen, &costs);
        return Ok(ExitCode::SUCCESS);
    }
    suite::run(arguments, chosen, &costs, Needs::read(NEEDS)?)
}

/// Names what would be run, each as scripts/test takes it.
fn list(arguments: &Arguments, chosen: &[&Unit], costs: &Costs) {
    let names = arguments.suites.iter().flat_map(|suite| match suite.as_str() {
        GUEST => chosen.iter().map(|unit| format!("{GUEST} {}", unit.name)).collect(),
        other => vec![other.to_owned()],
    });
    let names = match arguments.shard {
        Some(shard) => shard.of(names.collect(), |name| costs.of(name)),
        None => names.collect(),
    };
    names.iter().for_each(|name| println!("{name}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use farfault_tests::kernel_config::KernelConfig;
    use std::collections::BTreeSet;

    fn names() -> Vec<String> {
        SCENARIOS.iter().flat_map(|units| units()).map(|unit| unit.name).collect()
    }

    #[test]
    fn no_two_units_have_one_name() {
        let names = names();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }

    #[test]
    fn units_are_called_by_names_that_are_folders_too() {
        let word = |part: &str| {
            part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !part.starts_with('-')
        };
        for name in names() {
            assert!(name.split("::").all(|part| !part.is_empty() && word(part)), "{name}");
        }
    }

    #[test]
    fn costs_are_of_units_that_there_are() {
        let costs = Costs::read(COSTS).expect("costs");
        let names: BTreeSet<_> = names().into_iter().collect();
        let gone =
            |name: &&str| name.strip_prefix("guest ").is_some_and(|unit| !names.contains(unit));
        let gone: Vec<_> = costs.names().filter(gone).collect();
        assert!(gone.is_empty(), "take these out of tests/harness/costs: {gone:?}");
    }

    #[test]
    fn what_tests_need_is_what_the_fragments_of_a_kernel_have() {
        const FRAGMENTS: &str = concat!(
            include_str!("../../../../../guest-image/kernel/tests.config"),
            include_str!("../../../../../guest-image/kernel/checking.config"),
            include_str!("../../../../../guest-image/kernel/debug.config"),
        );
        let needs = Needs::read(NEEDS).expect("needs");
        let fragments = KernelConfig::from(FRAGMENTS);
        let unknown: Vec<_> = needs.options().filter(|option| !fragments.has(option)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn only_failing_allocations_need_a_debug_kernel() {
        // Without EXPERT a kernel has CONFIG_BUG, whatever else is set.
        const USUAL: &str = concat!(
            include_str!("../../../../../guest-image/kernel/tests.config"),
            "CONFIG_BUG=y\n",
        );
        let (needs, usual) = (Needs::read(NEEDS).expect("needs"), KernelConfig::from(USUAL));
        let units = SCENARIOS.iter().flat_map(|units| units());
        for unit in units.filter(|unit| needs.lacking(&unit.name, &usual).is_some()) {
            assert_eq!(unit.scenario(), "failing-allocations", "{} is skipped", unit.name);
        }
    }
}
