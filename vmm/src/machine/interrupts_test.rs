// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When KVM is given the table of routes.

use kvm_ioctls::Error;
use vmm_sys_util::eventfd::EventFd;

use super::{Line, Message, Routes};

/// What a host has refused once it may take the next time.
#[test]
fn a_refused_table_is_given_again() {
    let event = EventFd::new(0).expect("an eventfd");
    let message = Message { address: 0xfee0_0000, data: 0x41 };
    let mut routes = Routes { lines: vec![Line { event, message }], stale: true };
    let mut given = 0;
    for answer in [Err(Error::new(12)), Ok(()), Ok(())] {
        routes.settle(|_| {
            given += 1;
            answer
        });
    }
    assert_eq!((given, routes.stale), (2, false));
}
