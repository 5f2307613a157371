// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Moving memory to the device and back, by a context that maps nothing itself.

use crate::calls::Span;
use crate::model::PAGE;
use farfault_client::raw::Kernel;
use farfault_client::raw::uapi::Migrate;
use farfault_guest_programs::ktap::{Outcome, Skip};
use farfault_guest_programs::raw_queue;
use nix::Result as Called;
use nix::errno::Errno;
use std::thread;

/// How often to ask: mm does not let go of what somebody has in hand for a moment.
const TRIES: u32 = 100;

/// Whether there is somewhere to move to.
pub fn is_there() -> Outcome {
    if raw_queue::open()?.info()?.vram == 0 {
        return Err(Skip("the device has no memory of its own".to_owned()).into());
    }
    Ok(())
}

/// Moves what can be moved of a span; how many pages that were.
pub fn move_to(span: Span, target: u32) -> Called<u64> {
    let device = raw_queue::open().map_err(|_| Errno::ENODEV)?;
    let mut moved = 0;
    for _ in 0..TRIES {
        let Span { start: address, length } = span;
        let mut request = Migrate { address, length, target, reserved: 0, moved: 0 };
        device.migrate(&mut request)?;
        moved += request.moved;
        if moved >= length / PAGE {
            break;
        }
        thread::yield_now();
    }
    Ok(moved)
}
