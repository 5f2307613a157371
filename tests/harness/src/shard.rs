// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One of several parts of a run that together do all of it, each about as long as another.

use std::cmp::Reverse;
use std::str::FromStr;

/// The part INDEX of COUNT, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no shard: say I/N, I being 1 to N");
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let shard = Self { index: number(index)?, count: number(count)? };
        if (1..=shard.count).contains(&shard.index) { Ok(shard) } else { Err(wrong()) }
    }
}

impl Shard {
    /// Those of `all` that are in this part, in their own order. What takes longest is given
    /// away first, each to the part that has least.
    pub fn of<T>(self, all: Vec<T>, cost: impl Fn(&T) -> u64) -> Vec<T> {
        let mut order: Vec<(Reverse<u64>, usize)> =
            all.iter().enumerate().map(|(place, one)| (Reverse(cost(one)), place)).collect();
        order.sort_unstable();
        let mut loads = vec![0; self.count.min(all.len())];
        let mut ours = vec![false; all.len()];
        for (Reverse(cost), place) in order {
            let least = loads.iter().enumerate().min_by_key(|(_, load)| **load);
            let part = least.map_or(0, |(part, _)| part);
            loads[part] += cost;
            ours[place] = part + 1 == self.index;
        }
        all.into_iter().zip(ours).filter_map(|(one, ours)| ours.then_some(one)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The costs in each part, each with its place.
    fn parts(costs: &[u64], count: usize) -> Vec<Vec<(usize, u64)>> {
        let all: Vec<_> = costs.iter().copied().enumerate().collect();
        let part = |index| Shard { index, count }.of(all.clone(), |(_, cost)| *cost);
        (1..=count).map(part).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn parts_are_complete_and_disjoint(
            costs in prop::collection::vec(0_u64..1000, 0..40), count in 1_usize..50
        ) {
            let mut all: Vec<_> = parts(&costs, count).into_iter().flatten().collect();
            all.sort_unstable();
            prop_assert_eq!(all, costs.into_iter().enumerate().collect::<Vec<_>>());
        }

        #[test]
        fn no_part_has_more_than_another_by_more_than_one_unit(
            costs in prop::collection::vec(1_u64..1000, 1..40), count in 1_usize..20
        ) {
            let sums = parts(&costs, count)
                .iter()
                .map(|part| part.iter().map(|(_, cost)| cost).sum::<u64>())
                .collect::<Vec<_>>();
            let spread = sums.iter().max().unwrap() - sums.iter().min().unwrap();
            prop_assert!(spread <= *costs.iter().max().unwrap(), "{:?}", sums);
        }

        #[test]
        fn parts_are_in_order(costs in prop::collection::vec(0_u64..9, 0..50), count in 1_usize..9) {
            for part in parts(&costs, count) {
                prop_assert!(part.is_sorted_by_key(|(place, _)| *place));
            }
        }
    }

    #[test]
    fn what_takes_longest_is_by_itself() {
        let of = |index| Shard { index, count: 2 }.of(vec![5, 1, 20, 4, 9], |cost| *cost);
        assert_eq!((of(1), of(2)), (vec![20], vec![5, 1, 4, 9]));
    }

    #[test]
    fn only_parts_that_there_are_can_be_named() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for wrong in ["0/0", "0/1", "5/4", "x", "", "/", "1/", "/1", "1/2/3", "-1/2", "1.0/2"] {
            let told = format!("'{wrong}' is no shard: say I/N, I being 1 to N");
            assert_eq!(wrong.parse::<Shard>(), Err(told));
        }
    }
}
