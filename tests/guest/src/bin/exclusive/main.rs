// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `exclusive [TEST…]`: atomic operations of a device that needs a page for itself, while CPUs
//! and other processes want the page, too. Prints KTAP; the device is one with `atomics=off` and
//! some memory of its own. FARFAULT_INCREMENTS says how often each side
//! counts (20000).

mod counting;
mod kinds;
mod pace;
mod tickets;
mod words;

farfault_guest_programs::test_program![
    counting::cpu_and_device_count_together,
    counting::both_count_as_fast_as_they_can,
    counting::many_count_together,
    counting::words_of_one_page,
    kinds::a_page_is_taken_and_given_back,
    kinds::a_page_of_the_device_is_its_own,
    kinds::what_is_preferred_there_goes_there,
    kinds::a_part_of_a_huge_page,
    kinds::a_file_of_ones_own,
    kinds::what_is_shared_cannot_be_had,
    kinds::what_cannot_be_written,
    kinds::parent_and_child_have_their_own,
    kinds::an_end_gives_it_back,
    tickets::each_item_arrives_once,
];
