// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine of this process as a session sees it.

use crate::footprint::PrivateDirty;
use crate::machine::Handle;
use crate::session::{Guest, Hold};
use crate::stats::{Counters, Sample, named};

impl Guest for Handle {
    fn stop(&self) {
        self.stop();
    }

    fn mark_started(&self) {
        self.mark_started();
    }

    fn switch_off(&self) {
        self.switch_off();
    }

    fn hold(&self) -> Hold {
        Box::new(self.hold())
    }

    fn memory(&self) -> PrivateDirty {
        self.memory()
    }

    fn last_seen(&self) -> Vec<String> {
        self.last_seen()
    }

    fn counters(&self) -> Sample {
        Sample {
            device: self.device_counters().as_ref().map(named).unwrap_or_default(),
            driver: Counters::new(),
            vmm: named(&self.machine_counters()),
        }
    }
}
