// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The driver's counters and gauges, as debugfs shows them.

use crate::Failure;
use crate::children::{Child, Signpost};
use crate::ktap::Outcome;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Values by name, summed over all devices.
pub type Counters = BTreeMap<String, u64>;

const FOLDER: &str = "/sys/kernel/debug/farfault";

/// What the driver says now.
pub fn read() -> Result<Counters, Failure> {
    let folder = Path::new(FOLDER);
    let devices = fs::read_dir(folder).map_err(|error| format!("{FOLDER}: {error}"))?;
    let mut sum = Counters::new();
    for device in devices {
        let file = device?.path().join("counters");
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        add(&mut sum, &text);
    }
    Ok(sum)
}

/// One of them.
pub fn get(name: &str) -> Result<u64, Failure> {
    value(&read()?, name)
}

fn value(counters: &Counters, name: &str) -> Result<u64, Failure> {
    counters.get(name).copied().ok_or_else(|| format!("the driver has no counter {name}").into())
}

/// By how much one of them grows while `work` is done.
pub fn growth(name: &str, work: impl FnOnce() -> Result<(), Failure>) -> Result<u64, Failure> {
    let before = get(name)?;
    work()?;
    Ok(get(name)? - before)
}

/// What there is now, of things that are given back when the last file is closed; the
/// first ones go with their context, wherever the device looks meanwhile.
pub const GAUGES: [&str; 7] = [
    "contexts",
    "queues",
    "notifiers",
    "table_pages",
    "dma_mappings",
    "pages_pinned",
    "device_pages",
];

/// Their values.
pub type Gauges = [u64; GAUGES.len()];

/// What there is now of things that are made and given back.
pub fn gauges() -> Result<Gauges, Failure> {
    let counters = read()?;
    let mut gauges = Gauges::default();
    for (gauge, name) in gauges.iter_mut().zip(GAUGES) {
        *gauge = value(&counters, name)?;
    }
    Ok(gauges)
}

/// How long what a process leaves behind may take to go.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Returns once there is no more than `before` again: what the kernel puts off to
/// a thread may come a moment after the end of a process. There may be less, if
/// children of a process that was killed were still there before.
///
/// # Errors
/// As [`get`], and if something stays.
pub fn await_gauges(before: Gauges) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let now = gauges()?;
        if now.iter().zip(&before).all(|(now, before)| now <= before) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("{GAUGES:?} stay at {now:?}, were {before:?}").into());
        }
        std::thread::yield_now();
    }
}

/// Kills a child that does `work` as soon as it has reached the first signpost, and sees all
/// that was its own go away. The second one is never reached.
pub fn killed(work: impl FnOnce(&Signpost, &Signpost) -> Outcome) -> Outcome {
    let before = gauges()?;
    let (reached, never) = (Signpost::new()?, Signpost::new()?);
    let child = Child::start(|| work(&reached, &never))?;
    reached.wait()?;
    child.kill()?;
    await_gauges(before)
}

fn add(sum: &mut Counters, text: &str) {
    for line in text.lines() {
        if let Some((name, value)) = line.split_once(' ')
            && let Ok(value) = value.trim().parse::<u64>()
        {
            *sum.entry(name.to_owned()).or_default() += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_summed() {
        let mut sum = Counters::new();
        add(&mut sum, "faults 3\nqueues 1\n");
        add(&mut sum, "faults 4\nnonsense\n");
        assert_eq!(sum, [("faults".to_owned(), 7), ("queues".to_owned(), 1)].into());
    }
}
