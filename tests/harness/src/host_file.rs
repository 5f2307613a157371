// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files of the host that tests need for a while.

use tempfile::NamedTempFile;

/// An empty file of the host that goes away with its test.
pub fn host_file() -> Result<NamedTempFile, String> {
    NamedTempFile::with_prefix("farfault-").map_err(|error| {
        format!("cannot make a file in {}: {error}", std::env::temp_dir().display())
    })
}
