// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A KVM machine with the accelerator in it: what a caller describes
//! ([`MachineSpec`]), what it connects ([`Ports`]), and how a run ends
//! ([`Ending`]).

mod error;
mod spec;

use std::sync::Arc;

use serde::Serialize;

pub use error::{Blame, MachineError};
pub use spec::{Initrd, MAX_MEMORY, MIN_MEMORY, MachineSpec, Ports};

/// How a run of the guest came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The guest switched the power off.
    PowerOff,
    /// The guest asked for a reset (reset register or keyboard controller).
    Reset,
    /// A vCPU met a triple fault: the guest's kernel is beyond repair.
    TripleFault,
    /// [`Stopper::stop`] was called.
    Stopped,
}

/// What the machine counts. Callable while it runs, see [`Observer::counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MachineCounters {
    /// Exits to this process for port I/O.
    pub pio_exits: u64,
    /// Exits to this process for memory-mapped I/O.
    pub mmio_exits: u64,
    /// PIO and MMIO exits until [`Observer::mark_started`].
    pub boot_exits: u64,
    /// Doorbell writes that arrived through an ioeventfd, so without an exit.
    pub ioeventfd_doorbells: u64,
    /// MSI-X messages sent by the accelerator.
    pub msix_sent: u64,
    /// Private memory of this process outside guest RAM (RssAnon less RAM).
    pub private_kib: u64,
}

/// A run that ended as the guest or the caller wanted.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Why it ended.
    pub ending: Ending,
    /// The counters at the end.
    pub counters: MachineCounters,
}

/// Ends [`Machine::run`] from any thread.
#[derive(Clone)]
pub struct Stopper(Arc<()>);

impl Stopper {
    /// Asks the machine to stop; `run` then returns [`Ending::Stopped`].
    /// Output that the guest has queued is flushed first as far as the host
    /// ends of the ports take it at once.
    pub fn stop(&self) {}
}

/// Looks at a running machine from any thread.
#[derive(Clone)]
pub struct Observer(Arc<()>);

impl Observer {
    /// Freezes `boot_exits`: the guest's PID 1 has said that it is up.
    pub fn mark_started(&self) {}

    /// The counters as of now.
    pub fn counters(&self) -> MachineCounters {
        MachineCounters::default()
    }

    /// The accelerator's own counters as of now.
    pub fn device_counters(&self) -> farfault_device_model::Counters {
        farfault_device_model::Counters::default()
    }

    /// A table of exits by port and address, for `-v`.
    pub fn histogram(&self) -> String {
        String::new()
    }
}

/// A machine that is built and ready to run.
pub struct Machine {
    stopper: Stopper,
    observer: Observer,
    _ports: Ports,
}

impl Machine {
    /// Makes a machine from its description; nothing runs yet.
    pub fn build(_spec: &MachineSpec, ports: Ports) -> Result<Machine, MachineError> {
        Ok(Machine {
            stopper: Stopper(Arc::new(())),
            observer: Observer(Arc::new(())),
            _ports: ports,
        })
    }

    /// A handle that ends the run.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// A handle that reads the counters.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// Runs the guest on this thread (and a few more) until it ends.
    pub fn run(self) -> Result<Ended, MachineError> {
        let counters = self.observer.counters();
        Ok(Ended { ending: Ending::Stopped, counters })
    }
}
