// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Command lines: `--name value` options in any order, then operands.

use crate::Failure;
use std::fmt::Display;
use std::str::FromStr;

/// What is left of a command line while a program picks from it.
pub struct Options {
    words: Vec<String>,
}

impl Options {
    /// The words after the program's name.
    pub fn new(words: impl IntoIterator<Item = String>) -> Self {
        Self { words: words.into_iter().collect() }
    }

    /// Takes the switch `name`, if it is there.
    pub fn switch(&mut self, name: &str) -> bool {
        let found = self.words.iter().position(|word| word == name);
        found.map(|place| self.words.remove(place)).is_some()
    }

    /// Takes the option `name` and its value, or gives `default`.
    pub fn option<T>(&mut self, name: &str, default: T) -> Result<T, Failure>
    where
        T: FromStr<Err: Display>,
    {
        let Some(place) = self.words.iter().position(|word| word == name) else {
            return Ok(default);
        };
        if place + 1 >= self.words.len() {
            return Err(format!("{name} needs a value").into());
        }
        let value = self.words.remove(place + 1);
        self.words.remove(place);
        parse(name, &value)
    }

    /// Takes the next operand, if there is one.
    pub fn operand<T>(&mut self, name: &str) -> Result<Option<T>, Failure>
    where
        T: FromStr<Err: Display>,
    {
        match self.words.first() {
            None => Ok(None),
            Some(word) if word.starts_with("--") => Err(format!("unknown option {word}").into()),
            Some(_) => parse(name, &self.words.remove(0)).map(Some),
        }
    }

    /// Makes sure that nothing is left.
    pub fn finish(&self) -> Result<(), Failure> {
        match self.words.first() {
            None => Ok(()),
            Some(word) if word.starts_with("--") => Err(format!("unknown option {word}").into()),
            Some(word) => Err(format!("unexpected operand '{word}'").into()),
        }
    }
}

/// Gives `value` back if it lies in `range`.
pub fn within<T: PartialOrd + Display + Copy>(
    name: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, Failure> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!("{name} {value}: say {} to {}", range.start(), range.end()).into())
}

fn parse<T>(name: &str, value: &str) -> Result<T, Failure>
where
    T: FromStr<Err: Display>,
{
    value.parse().map_err(|error| format!("{name} '{value}': {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        Options::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_come_in_any_order_before_operands() {
        let mut line = options("--seed 7 --verbose 100 --queues 3");
        assert_eq!(line.option("--queues", 1_u32).unwrap(), 3);
        assert_eq!(line.option("--seed", 0_u64).unwrap(), 7);
        assert_eq!(line.option("--processes", 2_u32).unwrap(), 2);
        assert!(line.switch("--verbose"));
        assert!(!line.switch("--verbose"));
        assert_eq!(line.operand::<u64>("ELEMENTS").unwrap(), Some(100));
        assert_eq!(line.operand::<u64>("ELEMENTS").unwrap(), None);
        line.finish().unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        let told = |result: Result<(), Failure>| result.unwrap_err().to_string();
        let number = |line: &str| options(line).option("--seed", 0_u64).map(drop);
        assert_eq!(told(number("--seed")), "--seed needs a value");
        assert_eq!(told(number("--seed x")), "--seed 'x': invalid digit found in string");
        assert_eq!(told(options("--sead 1").finish()), "unknown option --sead");
        assert_eq!(told(options("1").finish()), "unexpected operand '1'");
        assert_eq!(told(within("--mib", 0, 1..=8).map(drop)), "--mib 0: say 1 to 8");
        let operand = options("--sead 1").operand::<u64>("N").map(drop);
        assert_eq!(told(operand), "unknown option --sead");
    }
}
