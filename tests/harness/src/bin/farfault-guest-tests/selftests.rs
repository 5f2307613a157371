// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's HMM selftest on our device and on the control, and what that test does not
//! try: hostile use of its nodes, and the driver going away below them.

use farfault_tests::check::{
    Check, LEAKS, LOG, Verdict, clean_log, each, ensure, found, good_end, ktap, succeeded,
};
use farfault_tests::hmm_selftests::{self, Row};
use farfault_tests::ktap::Outcome;
use farfault_tests::run::{Farfault, Finished, Step, script_of};
use farfault_tests::unit::Unit;

/// Our own test program for such nodes.
const PROGRAM: &str = "dmirror";

/// What else is run behind it.
const PLAIN: [(&str, &str); 4] = [("module", MODULE), ("unbind", UNBIND), LEAKS, LOG];

/// When the kernel's module is there in place of our nodes: our device beside that one.
const AFTER: [(&str, &str); 3] = [
    ("device-private", "insmod /lib/modules/farfault.ko && device-private"),
    ("gauges-after", "leaks"),
    ("log-after", LOG.1),
];

/// Refused while a node is open; then it goes, and comes again.
const MODULE: &str = "\
exec 3<>/dev/hmm_dmirror0
rmmod farfault 2>/dev/null && { echo 'removed while open'; exit 1; }
exec 3>&-
unload || exit 1
test ! -e /dev/hmm_dmirror0 || exit 1
insmod /lib/modules/farfault.ko || exit 1
test ! -e /dev/hmm_dmirror0 || { echo 'offered unasked'; exit 1; }
unload && insmod /lib/modules/farfault.ko dmirror=1 || exit 1
hmm-tests -V hmm_device_coherent -t anon_write";

/// The device goes while one file is idle and another one is busy, over and over.
const UNBIND: &str = "\
cd /sys/bus/pci/drivers/farfault
function=$(echo 0000:*)
for round in 1 2 3; do
	exec 3<>/dev/hmm_dmirror1
	while hmm-tests -V hmm_device_coherent -t anon_read_multiple; do :; done >/dev/null 2>&1 &
	until grep -q '^queues [1-9]' /sys/kernel/debug/farfault/*/counters; do :; done
	echo $function >unbind || exit 1
	wait
	exec 3>&-
	echo $function >bind || exit 1
done
hmm-tests -V hmm_device_coherent -t anon_write";

pub fn units() -> Vec<Unit> {
    vec![
        Unit::new("selftests::hmm-tests", both).of_content(),
        Unit::new("selftests::dmirror", ours).of_content(),
    ]
}

fn ours(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let mut steps = vec![Step::new(PROGRAM, PROGRAM)];
    steps.extend(PLAIN.map(|(name, command)| Step::apart(name, command)));
    let made = hmm_selftests::from_environment()?;
    let finished = farfault.script(&hmm_selftests::options(&made), &script_of(&steps, ""))?;
    let mut checks = ktap(&finished, PROGRAM);
    checks.extend(each(&finished, PLAIN.map(|(name, _)| name)));
    checks.extend(good_end(&finished));
    Ok(checks)
}

fn both(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let between = [LEAKS, LOG].map(|(name, command)| Step::new(name, command));
    let after = AFTER.map(|(name, command)| Step::apart(name, command));
    let made = hmm_selftests::from_environment()?;
    let finished = hmm_selftests::run(farfault, &made, &between, &after)?;
    Ok(checks(&finished, &farfault.kernel_release()?))
}

fn checks(finished: &Finished, release: &str) -> Vec<Check> {
    let mut checks = Vec::from(good_end(finished));
    checks.extend(ktap(finished, "device-private"));
    let gauges = succeeded(finished, "gauges-after");
    checks.push(Check::new("gauges are back at zero beside the control", gauges));
    checks.push(Check::new("log is clean beside the control", clean_log(finished, "log-after")));
    match rows(finished) {
        Ok(rows) => {
            checks.push(Check::new("the control agrees", control(&rows)));
            checks.push(Check::new("every case is known", known(&rows, release)));
            checks.extend(rows.into_iter().map(case));
        }
        Err(why) => checks.push(Check::new("results", Err(why))),
    }
    checks
}

fn rows(finished: &Finished) -> Result<Vec<Row>, String> {
    let output = |step: &str| found(finished, step).map(|found| found.output);
    let source = hmm_selftests::source(&hmm_selftests::from_environment()?)?;
    hmm_selftests::rows(&source, &output("ours")?, &output("control")?)
}

fn case(row: Row) -> Check {
    let verdict = match row.ours {
        Outcome::Passed => Verdict::Passed,
        Outcome::Skipped(why) => Verdict::Skipped(why),
        Outcome::Failed => Verdict::Failed(format!("{:#?}", row.complaints)),
    };
    Check { name: row.name, verdict, seconds: None }
}

/// Each was run, if only to see; what it needs is to be written down.
fn known(rows: &[Row], release: &str) -> Result<(), String> {
    let new = hmm_selftests::overlooked(rows, release);
    ensure(new.is_empty(), || format!("new, and not in KNOWN of hmm_selftests.rs: {new:?}"))
}

fn control(rows: &[Row]) -> Result<(), String> {
    let refuted = hmm_selftests::refuted(rows);
    ensure(refuted.is_empty(), || format!("these do not pass with test_hmm: {refuted:#?}"))
}
