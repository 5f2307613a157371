// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Addresses as the kernel prints them: `function+0x1a/0x40 [module]`.

/// An address within a function.
#[derive(Debug, PartialEq)]
pub struct Frame<'a> {
    pub function: &'a str,
    pub offset: u64,
    /// Of the function, up to the next one.
    pub size: u64,
    /// Whose function it is, if not the kernel's.
    pub module: Option<&'a str>,
    /// Whether execution stopped at this very instruction. Else it is where a call returns to.
    pub exact: bool,
}

impl Frame<'_> {
    /// The first one in a line.
    pub fn find(line: &str) -> Option<Frame<'_>> {
        let exact = ["RIP: ", "WARNING: "].iter().any(|words| line.contains(words));
        line.match_indices("+0x").find_map(|(at, plus)| {
            let (before, behind) = (line.get(..at)?, line.get(at + plus.len()..)?);
            let function = before.rsplit(|c| !is_of_name(c)).next()?;
            let (offset, behind) = hex(behind)?;
            let (size, behind) = hex(behind.strip_prefix("/0x")?)?;
            // A build ID may come behind the module's name.
            let module = behind.strip_prefix(" [").and_then(|text| text.split([']', ' ']).next());
            let found = Frame { function, offset, size, module, exact };
            (!function.is_empty() && offset <= size).then_some(found)
        })
    }

    /// The offset of the instruction that is meant: where a call returns to may be another
    /// line already, or another function.
    pub fn instruction(&self) -> u64 {
        if self.exact { self.offset } else { self.offset.saturating_sub(1) }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.$".contains(c)
}

/// A number at the beginning of a text, and the rest.
fn hex(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((u64::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame<'a>(function: &'a str, module: Option<&'a str>, exact: bool) -> Frame<'a> {
        Frame { function, offset: 0x1a, size: 0x40, module, exact }
    }

    #[test]
    fn each_way_to_print_an_address_is_read() {
        let cases = [
            (" ff_populate+0x1a/0x40 [farfault]", frame("ff_populate", Some("farfault"), false)),
            ("[    1.5]  ? a.isra.0+0x1a/0x40", frame("a.isra.0", None, false)),
            ("RIP: 0010:crash+0x1a/0x40", frame("crash", None, true)),
            (
                "BUG: KASAN: slab-use-after-free in f+0x1a/0x40 [m 0a1b2c]",
                frame("f", Some("m"), false),
            ),
            ("WARNING: mm/hmm.c:1 at f+0x1a/0x40, CPU#0: saxpy/1", frame("f", None, true)),
            ("x+0x/0x f+0x1a/0x40", frame("f", None, false)),
        ];
        for (line, expected) in cases {
            assert_eq!(Frame::find(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn other_lines_have_none() {
        for line in [
            "",
            "+0x",
            "+0x1/0x2",
            "f+0x1",
            "f+0x1/",
            "f+0x1/0x",
            "f+0x/0x1",
            "f+0x3/0x2",
            "f+0x10000000000000000/0x20000000000000000",
            "ä+0x1/0x2",
            "RSP: 0018:ffffc90000013e48",
        ] {
            assert_eq!(Frame::find(line), None, "{line}");
        }
    }

    #[test]
    fn a_call_is_before_the_address_that_it_returns_to() {
        let instruction = |line| Frame::find(line).map(|frame| frame.instruction());
        assert_eq!(instruction("f+0x1a/0x40"), Some(0x19));
        assert_eq!(instruction("f+0x0/0x40"), Some(0));
        assert_eq!(instruction("RIP: 0010:f+0x1a/0x40"), Some(0x1a));
    }
}
