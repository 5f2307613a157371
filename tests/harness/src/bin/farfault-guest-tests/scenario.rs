// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a scenario is.

use crate::check::Check;
use farfault_tests::run::Farfault;

/// A boot, or some that belong together.
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Boots, and says what came of it, or why it could not be begun.
    pub run: fn(&Farfault) -> Result<Vec<Check>, String>,
}
