// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which units somebody means.

use crate::unit::Unit;

/// Those of `units` that any of `names` means, in their own order; without a name, all that
/// are part of a run. `nightly`: whether it is a nightly one.
pub fn select<'u>(
    units: &'u [Unit],
    names: &[String],
    nightly: bool,
) -> Result<Vec<&'u Unit>, String> {
    if names.is_empty() {
        return Ok(units.iter().filter(|unit| nightly || !unit.nightly).collect());
    }
    let meant: Vec<Vec<&str>> =
        names.iter().map(|name| meant(units, name, nightly)).collect::<Result<_, _>>()?;
    Ok(units.iter().filter(|unit| meant.iter().flatten().any(|name| *name == unit.name)).collect())
}

/// The unit called `name`; else those of the scenario called so; else those in whose names it
/// is. What only nightly runs have is left out if something else is left.
fn meant<'u>(units: &'u [Unit], name: &str, nightly: bool) -> Result<Vec<&'u str>, String> {
    let ways: [fn(&Unit, &str) -> bool; 3] = [
        |unit, name| unit.name == name,
        |unit, name| unit.scenario() == name,
        |unit, name| !name.is_empty() && unit.name.contains(name),
    ];
    let found = ways.iter().map(|is_meant| units.iter().filter(move |unit| is_meant(unit, name)));
    let found = found.map(Iterator::collect::<Vec<_>>).find(|found| !found.is_empty());
    let found =
        found.ok_or_else(|| format!("no test of the guest is called '{name}'; see --list"))?;
    let usual = found.iter().copied().filter(|unit| nightly || !unit.nightly).collect::<Vec<_>>();
    let chosen = if usual.is_empty() { found } else { usual };
    Ok(chosen.into_iter().map(|unit| unit.name.as_str()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(wanted: &[&str], nightly: bool) -> Result<Vec<String>, String> {
        let unit = |name: &str| Unit::new(name, |_| Ok(Vec::new()));
        let units = [
            unit("programs::refusals"),
            unit("refusals"),
            unit("matrix::thp"),
            unit("matrix::thp-split").only_if_nightly(true),
            unit("matrix::dax-ext4").only_if_nightly(true),
            unit("iommu::races"),
            unit("races::thp"),
        ];
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let chosen = select(&units, &wanted, nightly)?;
        Ok(chosen.into_iter().map(|unit| unit.name.clone()).collect())
    }

    #[test]
    fn a_run_has_all_but_what_only_long_ones_have() {
        assert_eq!(names(&[], true).unwrap().len(), 7);
        let usual = ["programs::refusals", "refusals", "matrix::thp", "iommu::races", "races::thp"];
        assert_eq!(names(&[], false).unwrap(), usual);
    }

    #[test]
    fn a_whole_name_goes_before_a_scenario_and_that_before_a_part() {
        assert_eq!(names(&["refusals"], false).unwrap(), ["refusals"]);
        assert_eq!(names(&["races"], false).unwrap(), ["races::thp"]);
        assert_eq!(names(&["::ref"], false).unwrap(), ["programs::refusals"]);
        assert_eq!(names(&["thp"], false).unwrap(), ["matrix::thp", "races::thp"]);
        assert_eq!(names(&["matrix::thp"], true).unwrap(), ["matrix::thp"]);
    }

    #[test]
    fn what_only_long_runs_have_can_be_named() {
        assert_eq!(names(&["matrix::dax-ext4"], false).unwrap(), ["matrix::dax-ext4"]);
        assert_eq!(names(&["dax"], false).unwrap(), ["matrix::dax-ext4"]);
        assert_eq!(names(&["matrix"], false).unwrap(), ["matrix::thp"]);
        assert_eq!(names(&["matrix"], true).unwrap().len(), 3);
    }

    #[test]
    fn names_are_alternatives_and_order_is_the_suite_s() {
        let chosen = names(&["races", "refusals", "iommu"], false).unwrap();
        assert_eq!(chosen, ["refusals", "iommu::races", "races::thp"]);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        for wrong in ["nosuch", "", "matrix::thp::munmap"] {
            let told = names(&["refusals", wrong], false).unwrap_err();
            assert_eq!(told, format!("no test of the guest is called '{wrong}'; see --list"));
        }
    }
}
