// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A first guest stands still: QEMU stops it, and writes its state.

use super::monitor::{Monitor, MonitorError};
use crate::starts::{KeepError, Still};
use crate::states::StateError;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A first guest by the socket of its monitor.
pub struct Watched(pub UnixStream);

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
        let mut monitor = Monitor::open(self.0)?;
        let saved = monitor.stop().and_then(|()| monitor.save(path));
        let kept = saved.map_err(KeepError::from).and_then(|()| Ok(then()?));
        monitor.go_on().map_err(|error| KeepError::Stuck(error.into()))?;
        kept
    }
}
