// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pinned pages, as the kernel counts them.

use crate::Failure;
use crate::kernel_files::{number_of, read, write};

/// Pages that `pin_user_pages` has pinned in the whole system and that were not let go yet.
pub fn in_system() -> Result<u64, Failure> {
    // CPUs count for themselves and add that up now and then, or when told to.
    write("/proc/sys/vm/stat_refresh", "1")?;
    let text = read("/proc/vmstat")?;
    let acquired = number_of("nr_foll_pin_acquired", &text)?;
    Ok(acquired.saturating_sub(number_of("nr_foll_pin_released", &text)?))
}

/// Pages charged to this process as pinned: `VmPin`.
pub fn of_process() -> Result<u64, Failure> {
    Ok(number_of("VmPin:", &read("/proc/self/status")?)? / 4)
}
