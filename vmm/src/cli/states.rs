// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `farfault states`: what is kept, and what shall not be any more.

use super::options::StatesArgs;
use crate::exit::Failure;
use crate::output::print;
use crate::states::{Entry, Store};
use std::time::SystemTime;

/// Removes what is to go, or lists all.
pub fn states(args: &StatesArgs) -> Result<(), Failure> {
    let store = Store::of_user();
    let all = store.list();
    if let Some(unknown) = args.remove.iter().find(|name| all.iter().all(|it| it.name != **name)) {
        return Err(Failure::usage(format!("there is no state '{unknown}'")));
    }
    if args.remove.is_empty() && !args.remove_all {
        return print(&table(&all, SystemTime::now()));
    }
    let goes = |entry: &&Entry| args.remove_all || args.remove.contains(&entry.name);
    all.iter().filter(goes).try_for_each(|entry| store.remove(&entry.name)).map_err(Failure::vmm)
}

fn table(all: &[Entry], now: SystemTime) -> String {
    let mut table = String::new();
    for Entry { name, about, size, used } in all {
        let minutes = now.duration_since(*used).map_or(0, |since| since.as_secs() / 60);
        table += &format!("{name}  {:>5} MiB  used {minutes:>5} min ago  {about}\n", size >> 20);
    }
    let total: u64 = all.iter().map(|entry| entry.size).sum();
    table + &format!("{} states, {} MiB\n", all.len(), total >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_state_is_a_line() {
        let now = SystemTime::now();
        let entry = Entry {
            name: "0123456789abcdef".into(),
            about: "Linux 7.3, 512 MiB, 1 CPUs".into(),
            size: 400 << 20,
            used: now - Duration::from_secs(125),
        };
        let line = "0123456789abcdef    400 MiB  used     2 min ago  Linux 7.3, 512 MiB, 1 CPUs\n";
        assert_eq!(table(&[entry], now), format!("{line}1 states, 400 MiB\n"));
        assert_eq!(table(&[], now), "0 states, 0 MiB\n");
    }
}
