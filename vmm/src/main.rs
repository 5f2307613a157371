// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `farfault`: see the library of the same name.

fn main() {
    farfault::main();
}
