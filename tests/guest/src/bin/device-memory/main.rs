// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `device-memory [TEST…]`: pages move to the device's own memory and back, and hold what they
//! held. Prints KTAP; the device must have some memory, but less than 64 MiB.

mod ends;
mod huge;
mod moves;
mod often;
mod place;
mod preferences;
mod refusals;
mod room;
mod sharing;

farfault_guest_programs::test_program![
    moves::what_is_moved_stays_the_same,
    moves::it_comes_back_when_asked,
    moves::holes_stay_holes,
    moves::the_device_works_in_its_memory,
    moves::a_page_can_be_found_there_again,
    moves::what_was_never_touched_is_zeroes,
    huge::a_huge_page_moves_as_one,
    huge::a_huge_page_comes_back_in_parts,
    huge::a_huge_page_is_touched_in_the_middle,
    huge::a_huge_page_is_given_up_in_part,
    huge::a_huge_page_goes_elsewhere,
    sharing::parent_and_child_have_their_own,
    sharing::the_device_writes_what_a_child_shares,
    sharing::both_have_a_huge_page,
    room::no_room_in_one_piece,
    room::more_than_there_is,
    preferences::a_fault_moves_what_is_preferred_there,
    preferences::fresh_memory_begins_there,
    preferences::what_is_not_preferred_stays,
    preferences::advice_outlives_a_mapping,
    preferences::more_than_there_is_room_for,
    preferences::a_device_forgets_at_the_end,
    preferences::what_goes_to_and_fro_rests,
    preferences::what_nobody_advises_on,
    preferences::what_is_only_read_stays,
    often::what_is_used_often_goes_there,
    often::a_huge_page_goes_as_one,
    often::a_reset_is_outlived,
    refusals::arguments,
    refusals::a_hole,
    refusals::files,
    refusals::what_is_there_already,
    ends::an_end_gives_it_back,
    ends::a_kill_gives_it_back,
    ends::a_reset_loses_nothing,
    ends::unbinding_brings_it_back,
];
