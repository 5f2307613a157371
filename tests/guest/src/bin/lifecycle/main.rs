// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `lifecycle [TEST…]`: what becomes of contexts when the driver is unbound and when the
//! device is reset, lost or suspended, and how many of them there may be. Prints KTAP.
//! Hibernation needs swap that is large enough.
#![allow(unsafe_code, reason = "gives the device work that is not waited for")]

mod limits;
mod loss;
mod unbind;

farfault_guest_programs::test_program![
    limits::queues_of_a_context,
    limits::queues_of_a_user,
    limits::contexts_of_a_user,
    unbind::unbound_while_a_page_never_comes,
    unbind::unbound_while_a_process_is_stopped,
    loss::reset,
    loss::reset_while_it_works,
    loss::off_the_bus,
    loss::hibernated,
];
