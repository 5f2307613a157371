// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest of QEMU's stands still: QEMU stops it, and writes its state.

use super::monitor::{Monitor, MonitorError};
use crate::starts::{KeepError, Still};
use crate::states::StateError;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

/// A guest by its monitor, which others may have, too.
pub struct Watched(pub Arc<Mutex<Monitor>>);

impl From<MonitorError> for KeepError {
    fn from(error: MonitorError) -> KeepError {
        KeepError::Machine(error.into())
    }
}

impl Still for Watched {
    fn stand_still(
        self: Box<Self>,
        path: &Path,
        then: Box<dyn FnOnce() -> Result<(), StateError> + '_>,
    ) -> Result<(), KeepError> {
        let mut monitor = self.0.lock();
        let saved = monitor.stop().and_then(|()| monitor.save(path));
        let kept = saved.map_err(KeepError::from).and_then(|()| Ok(then()?));
        monitor.go_on().map_err(|error| KeepError::Stuck(error.into()))?;
        kept
    }
}
