// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `dmirror [TEST…]`: what the kernel's HMM selftest does not try on
//! `/dev/hmm_dmirror0` and `1`. Needs the driver's parameter `dmirror=1`. Prints KTAP.

mod contents;
mod processes;
mod refusals;
mod snapshots;
mod waits;

farfault_guest_programs::test_program![
    refusals::ranges_that_are_none,
    refusals::ranges_beyond_user_space,
    refusals::nothing_mapped,
    refusals::buffers_that_are_none,
    refusals::commands_for_device_memory,
    refusals::unknown_ioctls,
    refusals::hole_in_the_middle,
    refusals::read_only_page_in_the_middle,
    refusals::mapping_too_large,
    refusals::every_queue_taken,
    contents::lengths_around_the_buffer,
    contents::one_round_of_faults,
    contents::what_is_mapped_needs_no_fault,
    contents::a_mapping_of_the_node,
    contents::two_nodes,
    contents::threads_share_a_file,
    snapshots::every_kind_of_page,
    snapshots::large_pages,
    snapshots::nothing_is_faulted_in,
    snapshots::more_than_one_call,
    processes::ioctls_of_a_forked_child,
    processes::a_child_breaks_cow,
    processes::a_child_shares,
    processes::killed_in_a_command,
    processes::exit_in_a_command,
    processes::closed_in_a_command,
    waits::pages_that_come_late,
    waits::killed_while_a_fault_waits,
];
