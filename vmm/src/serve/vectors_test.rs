// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When an eventfd is signalled.

use super::*;
use nix::sys::eventfd::{EfdFlags, EventFd};

fn set(start: u32, count: u32, action: IrqAction, data: IrqData<'_>) -> SetIrqs<'_> {
    SetIrqs { index: 2, start, count, action, data }
}

fn given(event: &EventFd) -> OwnedFd {
    nix::unistd::dup(event).unwrap()
}

#[test]
fn an_interrupt_waits_for_its_eventfd_and_for_its_mask() {
    let vectors = Vectors::new(4);
    let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    let trigger = |count| set(1, count, IrqAction::Trigger, IrqData::Events);
    vectors.signal(1);
    vectors.signal(9);
    vectors.set(&trigger(1), vec![given(&event)]).unwrap();
    assert_eq!(event.read().unwrap(), 1);
    vectors.signal(1);
    vectors.signal(2);
    assert_eq!(event.read().unwrap(), 1);

    vectors.set(&set(0, 4, IrqAction::Mask, IrqData::Chosen(&[0, 7, 0, 0])), vec![]).unwrap();
    vectors.signal(1);
    vectors.signal(1);
    assert!(event.read().is_err());
    vectors.set(&set(0, 4, IrqAction::Unmask, IrqData::All), vec![]).unwrap();
    assert_eq!(event.read().unwrap(), 1);

    // Taken away, with and without the rest.
    vectors.set(&trigger(1), vec![]).unwrap();
    vectors.signal(1);
    assert!(event.read().is_err());
    vectors.reset();
    vectors.set(&trigger(1), vec![given(&event)]).unwrap();
    assert!(event.read().is_err());
    vectors.set(&set(1, 1, IrqAction::Trigger, IrqData::All), vec![]).unwrap();
    assert_eq!(event.read().unwrap(), 1);
    vectors.set(&set(0, 0, IrqAction::Trigger, IrqData::All), vec![]).unwrap();
    vectors.signal(1);
    assert!(event.read().is_err());
    assert!(vectors.set(&set(1, 1, IrqAction::Mask, IrqData::Events), vec![]).is_err());
}

#[test]
fn what_does_not_read_holds_up_nobody() {
    let vectors = Vectors::new(1);
    let event = EventFd::new().unwrap();
    event.write(u64::MAX - 1).unwrap();
    let trigger = set(0, 1, IrqAction::Trigger, IrqData::Events);
    vectors.set(&trigger, vec![given(&event)]).unwrap();
    vectors.signal(0);
}
