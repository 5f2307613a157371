// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `refusals [TEST…]`: a guest program that does everything wrong, and sees to
//! it that it gets the right refusal and that all else lives on. Prints KTAP.

mod addresses;
mod ioctls;
mod operands;
mod processes;
mod registrations;
mod rig;
mod rings;

farfault_guest_programs::test_program![
    addresses::never_mapped_address,
    addresses::address_beyond_user_space,
    addresses::memory_without_access,
    addresses::read_only_memory_written,
    addresses::hole_in_the_middle,
    addresses::file_shorter_than_its_mapping,
    addresses::unmapped_in_flight,
    addresses::refused_while_another_queue_works,
    operands::unknown_opcodes,
    operands::unknown_flags_and_reserved_fields,
    operands::misaligned_operands,
    operands::overlapping_operands,
    operands::ranges_that_wrap,
    operands::nothing_to_do,
    rings::wild_tail,
    rings::wild_completion,
    rings::misaligned_completion,
    rings::ring_without_access,
    rings::new_queue_after_a_halt,
    ioctls::queue_create_arguments,
    ioctls::queue_destroy_arguments,
    ioctls::wait_arguments,
    ioctls::prefetch_arguments,
    ioctls::no_device_memory,
    ioctls::unknown_ioctl,
    ioctls::deadline_passes,
    ioctls::signal_ends_a_wait,
    ioctls::every_queue_taken,
    ioctls::doorbell_of_another,
    processes::ioctls_of_a_forked_child,
    processes::killed_while_faulting,
    processes::killed_while_waiting,
    processes::exec_while_working,
    processes::exit_while_working,
    processes::fork_parts_parent_and_child,
    processes::closed_while_working,
    registrations::register_arguments,
    registrations::unregister_arguments,
    registrations::registered_buffer_is_reached,
    registrations::registered_huge_pages,
    registrations::registered_twice,
    registrations::more_than_may_be_locked,
    registrations::closed_with_buffers_registered,
    registrations::killed_with_buffers_registered,
    registrations::killed_while_registering,
    registrations::registering_by_a_forked_child,
];
