// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Boots virtual machines and reads what they print.
fn main() {}
