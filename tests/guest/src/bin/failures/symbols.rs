// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the kernel's functions are.

use farfault_guest_programs::Failure;
use farfault_guest_programs::kernel_files::read;
use std::collections::BTreeMap;
use std::ops::Range;

/// Names by address.
pub struct Symbols(BTreeMap<u64, String>);

impl Symbols {
    /// Those of the kernel and the modules that are loaded.
    pub fn read() -> Result<Self, Failure> {
        Ok(Self::parse(&read("/proc/kallsyms")?))
    }

    fn parse(text: &str) -> Self {
        let symbol = |line: &str| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((address, words.nth(1)?.to_owned()))
        };
        Self(text.lines().filter_map(symbol).collect())
    }

    /// From the first byte of the function to the next one's. What the compiler has made of
    /// it has a suffix: `name.isra.0`.
    pub fn range(&self, name: &str) -> Result<Range<u64>, Failure> {
        let is_it = |symbol: &str| {
            let rest = symbol.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') && rest != ".cold")
        };
        let start = self.0.iter().find(|(_, symbol)| is_it(symbol)).map(|(address, _)| *address);
        let start = start.ok_or_else(|| format!("the kernel has no function {name}"))?;
        let end = self.0.range(start + 1..).next().map_or(u64::MAX, |(address, _)| *address);
        Ok(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::Symbols;

    #[test]
    fn a_function_ends_where_the_next_one_begins() {
        let symbols = Symbols::parse(
            "0000000000000200 t ff_pin.cold\t[farfault]\n0000000000000040 t ff_pin.isra.0\t[farfault]\n\
             0000000000000080 t ff_pins\t[farfault]\n",
        );
        assert_eq!(symbols.range("ff_pin").unwrap(), 0x40..0x80);
        assert_eq!(symbols.range("ff_pins").unwrap(), 0x80..0x200);
        assert!(symbols.range("ff_pi").is_err());
    }
}
