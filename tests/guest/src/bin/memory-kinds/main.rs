// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `memory-kinds [TEST…]`: the device reads and writes memory of every kind that
//! a process has, and what it does shows where, and only where, it should.
//! Prints KTAP.

mod changes;
mod kinds;
mod sharing;

farfault_guest_programs::test_program![
    kinds::small_pages,
    kinds::huge_pages,
    kinds::shared_anonymous,
    kinds::memory_file,
    kinds::private_file,
    kinds::shared_file,
    kinds::stack,
    kinds::heap,
    kinds::constants_of_the_program,
    sharing::shared_file_is_read_back,
    sharing::private_file_is_left_alone,
    sharing::a_child_sees_shared_memory,
    sharing::device_and_cpu_add_to_one_word,
    sharing::reading_maps_the_zero_page,
    sharing::reading_keeps_pages_shared_with_a_child,
    sharing::writing_parts_them,
    changes::discarded_memory_is_zero,
    changes::moved_memory_is_found,
    changes::replaced_memory_is_seen,
    changes::truncated_file_comes_back_empty,
    changes::prefetched_memory_does_not_fault,
    changes::prefetched_for_reading_is_not_writable,
];
