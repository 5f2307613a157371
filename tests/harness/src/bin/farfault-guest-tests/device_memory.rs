// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's own memory: pages go there and come back, whatever happens meanwhile.

use farfault_tests::check::{Check, LEAKS, LOG, each, ensure, found, good_end_but, ktap};
use farfault_tests::markdown::Markdown;
use farfault_tests::run::{Farfault, Step, USUAL, script_of};
use farfault_tests::unit::Unit;

const PROGRAM: &str = "device-memory";

/// Takes a bit of where a page is in device memory for the permission to write: see
/// guest-driver/kernel-bugs.md.
pub const SHARED_BUG: &str = "remove_migration_pmd";

/// Little, so that it is soon used up.
const DEVICE: &str = "--device=vram=32M";

/// All goes there that the device uses, unless advised otherwise. No child ends while a huge page
/// that it shares is on its way: `zap_huge_pmd()` takes that for mapped (guest-driver/kernel-bugs.md).
const PREFERRED: [(&str, &str); 6] = [
    ("load", "unload && insmod /lib/modules/farfault.ko prefer_device=1"),
    ("advice", "device-memory what_nobody_advises_on what_goes_to_and_fro_rests"),
    ("saxpy", "saxpy 1000000"),
    ("stress", "stress --no-forks --processes 2 --queues 2 --commands 30"),
    LEAKS,
    LOG,
];

pub fn units() -> Vec<Unit> {
    vec![
        Unit::new(PROGRAM, run).of_content(),
        Unit::new("device-memory::preferred", preferred).of_content(),
        Unit::new("device-memory::oversubscribed", oversubscribed)
            .of_content()
            .only_if_nightly(true),
    ]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let steps = [(PROGRAM, PROGRAM), LEAKS, LOG].map(|(name, command)| Step::apart(name, command));
    let finished = farfault.script(&[&USUAL, &[DEVICE][..]].concat(), &script_of(&steps, ""))?;
    let mut checks = ktap(&finished, PROGRAM);
    checks.extend(good_end_but(&finished, Some(SHARED_BUG)));
    Ok(checks)
}

fn preferred(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let steps = PREFERRED.map(|(name, command)| Step::new(name, command));
    let finished = farfault.script(&[&USUAL, &[DEVICE][..]].concat(), &script_of(&steps, ""))?;
    let mut checks = each(&finished, ["load", "saxpy", "stress"]);
    checks.extend(ktap(&finished, "advice"));
    checks.extend(good_end_but(&finished, Some(SHARED_BUG)));
    Ok(checks)
}

/// Working sets, in percent of device memory, and patterns of access.
const SIZES: [&str; 4] = ["50", "100", "150", "400"];
const PATTERNS: [(&str, &str); 4] =
    [("stream", "1"), ("random", "1"), ("stream", "2"), ("random", "2")];
/// Pages that a stream accesses each time it comes by, and what may move there for one.
const MOST: u64 = 1;
/// At random as much is moved as there is room, and then what is accessed.
const ROOM: u64 = 32 << 8;

/// Sums are right, which the program itself sees to; what moves is bounded, and all come on.
fn oversubscribed(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let steps = [("table", "measure oversubscribe"), LEAKS, LOG]
        .map(|(name, command)| Step::new(name, command));
    let finished = farfault.script(&[&USUAL, &[DEVICE][..]].concat(), &script_of(&steps, ""))?;
    let mut checks = each(&finished, ["table"]);
    let table = Markdown::read(&found(&finished, "table")?.output);
    for (pattern, processes) in PATTERNS {
        for size in SIZES {
            let number = |column| table.number(&[pattern, size, processes], column);
            let bounded = number("moved there").and_then(|moved| {
                let most = number("pages accessed")? * MOST + ROOM;
                ensure(moved <= most, || format!("{moved} pages moved, more than {most}"))
            });
            let fair = number("slowest when the first is done, %")
                .and_then(|percent| ensure(percent >= 10, || format!("only {percent} % done")));
            let name = |what| format!("{pattern}, {size} %, processes: {processes}: {what}");
            checks.push(Check::new(name("moves are bounded"), bounded));
            checks.push(Check::new(name("all come on"), fair));
        }
    }
    checks.extend(good_end_but(&finished, Some(SHARED_BUG)));
    Ok(checks)
}
