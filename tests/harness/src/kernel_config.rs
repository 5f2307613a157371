// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the kernel of an image was built with.

use std::path::Path;

/// A configuration, as the kernel's own tools write it.
#[derive(Clone, Debug, Default)]
pub struct KernelConfig(String);

impl From<&str> for KernelConfig {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl KernelConfig {
    /// That of the kernel in `image`.
    pub fn of(image: &Path) -> Result<Self, String> {
        let path = image.join("config");
        let text = std::fs::read_to_string(&path);
        text.map(Self).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Whether `option`, as in `CONFIG_KASAN`, is built in or a module.
    pub fn has(&self, option: &str) -> bool {
        let value = |line: &str| line.strip_prefix(option)?.strip_prefix('=').map(str::to_owned);
        self.0.lines().find_map(value).is_some_and(|value| value == "y" || value == "m")
    }

    /// How many times longer than usual the kernel may take for anything: it looks at each
    /// access to memory, and at each lock.
    pub fn slowness(&self) -> u64 {
        let slow = ["CONFIG_KASAN", "CONFIG_KCSAN", "CONFIG_PROVE_LOCKING"];
        if slow.iter().any(|option| self.has(option)) { 3 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::KernelConfig;

    #[test]
    fn an_option_is_known_by_its_whole_name() {
        let text = "CONFIG_KASAN_INLINE=y\n# CONFIG_KSM is not set\nCONFIG_XFS_FS=m\n";
        let config = KernelConfig::from(text);
        assert!(config.has("CONFIG_XFS_FS") && config.has("CONFIG_KASAN_INLINE"));
        assert!(!config.has("CONFIG_KASAN") && !config.has("CONFIG_KSM"));
        assert_eq!(config.slowness(), 1);
        assert_eq!(KernelConfig::from("CONFIG_KASAN=y\n").slowness(), 3);
    }
}
