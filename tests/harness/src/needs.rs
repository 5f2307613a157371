// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What tests need of a kernel, in a small file: a line `NAME OPTION…` for each. `NAME` is
//! one word of a test's name, or several that follow each other.

use crate::kernel_config::KernelConfig;

/// Options, by words of names.
#[derive(Clone, Debug)]
pub struct Needs(Vec<(Vec<String>, Vec<String>)>);

impl Needs {
    /// Reads the file's text.
    pub fn read(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let need = |line: &str| {
            let mut parts = line.split_whitespace();
            let name = words(parts.next()?).map(str::to_owned).collect();
            let options: Vec<_> = parts.map(str::to_owned).collect();
            let known = options.iter().all(|option| option.starts_with("CONFIG_"));
            (known && !options.is_empty()).then_some((name, options))
        };
        let read = |line: &str| need(line).ok_or_else(|| format!("'{line}' is no need"));
        Ok(Self(lines.map(read).collect::<Result<_, _>>()?))
    }

    /// Why the test of this name cannot be done on a kernel of this configuration, if it cannot.
    pub fn lacking(&self, name: &str, kernel: &KernelConfig) -> Option<String> {
        let name: Vec<&str> = words(name).collect();
        let needed = |of: &Vec<String>| name.windows(of.len()).any(|part| part == of);
        let options = self.0.iter().filter(|(of, _)| needed(of)).flat_map(|(_, options)| options);
        let lacking = options.into_iter().find(|option| !kernel.has(option))?;
        Some(format!("the kernel lacks {lacking}"))
    }

    /// All options.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|(_, options)| options).map(String::as_str)
    }
}

/// The words of a name.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split("::").flat_map(|part| part.split('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs() -> Needs {
        let text = "# head\nksm  CONFIG_KSM\nraces::poison CONFIG_MEMORY_FAILURE CONFIG_KSM\n";
        Needs::read(text).expect("needs")
    }

    #[test]
    fn a_name_is_meant_by_whole_words_that_follow_each_other() {
        let kernel = KernelConfig::from("CONFIG_MEMORY_FAILURE=y\n");
        let lacking = |name| needs().lacking(name, &kernel);
        let ksm = Some("the kernel lacks CONFIG_KSM".to_owned());
        for name in ["matrix::thp/ksm", "ksm", "races::poison", "races::poison::soft_offline"] {
            assert_eq!(lacking(name), ksm, "{name}");
        }
        for name in ["matrix::ksm-merged", "races::ksm_", "poison", "races::x::poison"] {
            assert_eq!(lacking(name), None, "{name}");
        }
    }

    #[test]
    fn the_first_option_that_is_lacking_is_named() {
        let lacking = |text| needs().lacking("races::poison", &KernelConfig::from(text));
        assert_eq!(lacking("").as_deref(), Some("the kernel lacks CONFIG_MEMORY_FAILURE"));
        assert_eq!(lacking("CONFIG_MEMORY_FAILURE=y\nCONFIG_KSM=m\n"), None);
    }

    #[test]
    fn what_is_no_need_is_refused() {
        for text in ["ksm\n", "ksm KSM\n", "\n"] {
            assert!(Needs::read(text).is_err(), "{text:?}");
        }
    }
}
