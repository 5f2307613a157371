// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where the driver allocates, and what comes there.

use crate::round::Round;
use crate::work;
use farfault_guest_programs::ktap::Outcome;

/// A function that allocates, and an occasion.
pub struct Site {
    /// The function's name, and what tells it apart from others of the same function.
    pub name: &'static str,
    pub function: &'static str,
    /// What comes there.
    pub work: fn(&Round) -> Outcome,
    /// Below this one allocations do not fail.
    pub spared: &'static str,
    /// Whether some of its allocations can end in nothing but an error.
    pub refuses: bool,
}

/// What checks the DMA API cannot do without memory, and gives up for good.
const CHECKER: &str = "add_dma_entry";
/// What makes an interrupt's files in /proc. Where it had no memory for one, the kernel warns when
/// it takes them away (guest-driver/kernel-bugs.md).
const IRQ_FILES: &str = "register_irq_proc";

/// What makes frames for device memory. Where it has no memory for them, the kernel warns.
const MORE_MEMORY: &str = "add_pages";

const fn site(name: &'static str, function: &'static str, work: fn(&Round) -> Outcome) -> Site {
    Site { name, function, work, spared: CHECKER, refuses: false }
}

const fn plain(function: &'static str, work: fn(&Round) -> Outcome) -> Site {
    site(function, function, work)
}

/// Of the functions that allocate in the driver's source, each is here; the harness compares.
/// Those that run when the module is loaded go by the name of the first of them.
pub const SITES: &[Site] = &[
    plain("ff_ctx_create", work::open_device),
    plain("ff_ctx_begin", work::first_ioctl),
    plain("ff_service_init", work::first_ioctl),
    plain("ff_service_start", work::first_ioctl),
    plain("ff_mirror_follow", work::first_ioctl),
    site("ff_table_alloc/first_ioctl", "ff_table_alloc", work::first_ioctl),
    site("ff_table_alloc/prefetch", "ff_table_alloc", work::prefetch),
    site("ff_table_alloc/far_fault", "ff_table_alloc", work::far_fault),
    site("ff_table_alloc/register", "ff_table_alloc", work::register),
    plain("ff_scratch_alloc", work::prefetch),
    site("ff_scratch_alloc/advise", "ff_scratch_alloc", work::advise),
    site("ff_interval_add/prefetch", "ff_interval_add", work::prefetch),
    site("ff_interval_add/far_fault", "ff_interval_add", work::far_fault),
    site("ff_dma_make/prefetch", "ff_dma_make", work::prefetch),
    site("ff_dma_make/far_fault", "ff_dma_make", work::far_fault),
    Site { refuses: true, ..plain("ff_populate_replenish", work::prefetch_twice_in_want) },
    plain("ff_queue_alloc", work::create_queue),
    plain("ff_snapshot_range", work::snapshot),
    plain("ff_ioctl_register", work::register),
    plain("ff_pin_pages_get", work::register),
    Site { spared: "handle_mm_fault", ..plain("ff_pin_batch", work::register) },
    plain("ff_pin_map", work::register),
    plain("ff_pin_place", work::register),
    Site { refuses: true, ..plain("ff_move_alloc", work::migrate) },
    site("ff_move_alloc/touch", "ff_move_alloc", work::touch),
    plain("ff_move_folio", work::migrate),
    site("ff_move_folio/touch", "ff_move_folio", work::touch),
    plain("ff_prefer_set", work::prefer),
    plain("ff_resident_map", work::node_reads),
    plain("ff_dmirror_open", work::open_node),
    plain("ff_dmirror_mmap", work::map_node),
    plain("ff_device_alloc", work::bind),
    plain("ff_map_bars", work::bind),
    plain("ff_hardware_init", work::bind),
    plain("ff_commands_init", work::bind),
    plain("ff_copies_init", work::bind),
    plain("ff_copy_tables_init", work::bind),
    Site { spared: MORE_MEMORY, ..plain("ff_region_add", work::bind) },
    Site { spared: MORE_MEMORY, ..plain("ff_region_map", work::bind) },
    plain("ff_faults_init", work::bind),
    Site { spared: IRQ_FILES, ..plain("ff_irqs_init", work::bind) },
    Site { spared: IRQ_FILES, ..plain("ff_irq_request", work::bind) },
    plain("ff_debugfs_add", work::bind),
    plain("ff_counters_add", work::bind),
    plain("ff_device_counters_add", work::bind),
    plain("ff_selfcheck_add", work::bind),
    plain("ff_stall_add", work::bind),
    plain("ff_misc_register", work::bind),
    plain("ff_dmirror_register", work::bind),
    plain("ff_dmirror_register_all", work::bind),
];
