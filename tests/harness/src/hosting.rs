// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What carries the device to a guest. What a test finds must not depend on it.

use crate::script::marked;
use clap::ValueEnum;
use serde_json::Value;

/// Messages between QEMU and the device that are waited for.
const MESSAGES: [&str; 3] = ["vmm/register_reads", "vmm/config_reads", "vmm/config_writes"];

/// A way to run a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Hosting {
    /// Farfault's own VMM, on KVM or nested
    #[default]
    InProcess,
    /// QEMU, and the device over vfio-user
    VfioUser,
    /// The same behind QEMU's IOMMU
    VfioUserIommu,
    /// The same, passed on to a guest on the KVM of the guest there
    Chain,
}

impl Hosting {
    /// The subcommand of `farfault`, with the options that make it this one. Those of a chain depend
    /// on what the guest is to get (`chain.rs`).
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::InProcess => &["run"],
            Self::VfioUser => &["qemu"],
            Self::VfioUserIommu => &["qemu", "--iommu"],
            Self::Chain => &[],
        }
    }

    /// Accesses for which a CPU of the guest has waited, between the mark `mark` and the one before.
    pub fn waits(self, stats: &Value, mark: &str) -> Result<u64, String> {
        let counters: &[&str] = match self {
            Self::InProcess => &["vmm/mmio_exits", "vmm/pio_exits"],
            Self::VfioUser | Self::VfioUserIommu => &MESSAGES,
            Self::Chain => {
                &[MESSAGES[0], MESSAGES[1], MESSAGES[2], "inner/mmio_exits", "inner/pio_exits"]
            }
        };
        counters.iter().map(|counter| marked(stats, mark, counter)).sum()
    }

    /// Doorbells, for which none waits.
    pub fn doorbells(self, stats: &Value, mark: &str) -> Result<u64, String> {
        let counter = match self {
            Self::InProcess => "vmm/ioeventfd_doorbells",
            Self::VfioUser | Self::VfioUserIommu | Self::Chain => "vmm/doorbells",
        };
        marked(stats, mark, counter)
    }

    /// The counter of what an IOMMU is told when something is unmapped.
    pub fn unmaps(self) -> &'static str {
        match self {
            Self::InProcess => "vmm/iommu_invalidations",
            Self::VfioUser | Self::VfioUserIommu | Self::Chain => "vmm/dma_unmaps",
        }
    }
}
