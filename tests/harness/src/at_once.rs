// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Work on several things at once.

use parking_lot::Mutex;
use std::cmp::Reverse;
use std::fs;
use std::num::NonZeroUsize;
use std::thread;

/// What the largest guests take of the host's memory, in KiB.
const EACH_KIB: u64 = 5 << 20;

/// How many guests this host can have at once: one for each CPU, as far as there is memory.
pub fn as_many_as_fit() -> NonZeroUsize {
    let cpus = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let Some(available) = available_kib(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
    else {
        return cpus;
    };
    let fit = usize::try_from(available / EACH_KIB).unwrap_or(usize::MAX);
    NonZeroUsize::new(fit).map_or(NonZeroUsize::MIN, |fit| fit.min(cpus))
}

fn available_kib(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

/// What `work` makes of each, in their order. `threads` of them are worked on at once, those that
/// cost most first, so that no long one is left for the end.
pub fn at_once<T: Sync, R: Send>(
    all: &[T],
    threads: NonZeroUsize,
    cost: impl Fn(&T) -> u64,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let mut order: Vec<(usize, &T)> = all.iter().enumerate().collect();
    if threads.get() > 1 {
        order.sort_by_key(|(_, one)| Reverse(cost(one)));
    }
    let (waiting, done) = (Mutex::new(order.into_iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads.get().min(all.len()) {
            scope.spawn(|| {
                loop {
                    let Some((place, one)) = waiting.lock().next() else { return };
                    let made = work(one);
                    done.lock().push((place, made));
                }
            });
        }
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    fn number(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).unwrap()
    }

    #[test]
    fn results_are_in_order_and_the_dearest_is_begun_first() {
        for threads in 1..6 {
            let begun = Mutex::new(Vec::new());
            let made = at_once(
                &[3, 9, 1, 5],
                number(threads),
                |one| *one,
                |one| {
                    begun.lock().push(*one);
                    one * 10
                },
            );
            assert_eq!(made, [30, 90, 10, 50]);
            let begun = begun.into_inner();
            match threads {
                1 => assert_eq!(begun, [3, 9, 1, 5]),
                2 => assert!(begun[..2].contains(&9) && begun[3] == 1, "{begun:?}"),
                _ => assert_eq!(begun.len(), 4),
            }
        }
        assert!(at_once(&[], number(2), |_: &u8| 0, |_| ()).is_empty());
    }

    /// Each of the two waits for the other.
    #[test]
    fn so_many_are_worked_on_at_once() {
        let both = Barrier::new(2);
        at_once(&[1, 2], number(2), |_| 0, |_| both.wait());
    }

    #[test]
    fn available_memory_is_read() {
        assert_eq!(available_kib("MemFree: 1 kB\nMemAvailable:   24684092 kB\n"), Some(24_684_092));
        assert_eq!(available_kib("MemFree: 1 kB\n"), None);
        assert!(as_many_as_fit() <= thread::available_parallelism().unwrap());
    }
}
