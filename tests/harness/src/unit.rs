// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest's suite is made of: a unit can be listed before anything is booted, and is
//! run by itself, in machines of its own.

use crate::check::Check;
use crate::run::Farfault;

/// What the units make up, as a suite of scripts/test.
pub const GUEST: &str = "guest";

/// What some of them want.
pub const PERSISTENT_MEMORY: &str = "persistent memory";

/// Starts machines, and says what came of it, or why that could not be begun.
type Run = dyn Fn(&Farfault) -> Result<Vec<Check>, String> + Send + Sync;

/// A part of the suite.
pub struct Unit {
    /// The scenario, and behind `::` which part of it, if it has several.
    pub name: String,
    /// Whether only a nightly run has it.
    pub nightly: bool,
    /// Whether it is about what is in a guest, and must find the same on any hosting.
    pub content: bool,
    /// What it wants of a machine that a guest in a chain of hosts cannot have.
    pub wants: Option<&'static str>,
    run: Box<Run>,
}

impl Unit {
    /// The unit `name`, which is part of every run.
    pub fn new(
        name: impl Into<String>,
        run: impl Fn(&Farfault) -> Result<Vec<Check>, String> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), nightly: false, content: false, wants: None, run: Box::new(run) }
    }

    /// The same, about what is in a guest.
    #[must_use]
    pub fn of_content(self) -> Self {
        Self { content: true, ..self }
    }

    /// The same on a machine that has this, which not all can have.
    #[must_use]
    pub fn wants(self, what: Option<&'static str>) -> Self {
        Self { wants: what, ..self }
    }

    /// The same for nightly runs only, if `nightly`.
    #[must_use]
    pub fn only_if_nightly(self, nightly: bool) -> Self {
        Self { nightly, ..self }
    }

    /// The scenario that it belongs to.
    pub fn scenario(&self) -> &str {
        self.name.split("::").next().unwrap_or_default()
    }

    /// Runs it.
    pub fn run(&self, farfault: &Farfault) -> Vec<Check> {
        (self.run)(farfault).unwrap_or_else(|why| vec![Check::new("can be begun", Err(why))])
    }
}
