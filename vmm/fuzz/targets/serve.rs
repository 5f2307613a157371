// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A client of `farfault serve` and its guest that do anything: see `src/serve/wild`.
#![no_main]

use farfault::World;
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new().expect("a world"));
}

fuzz_target!(|input: &[u8]| {
    WORLD.with_borrow_mut(|world| world.play(input).expect("played"));
});
