// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The manual names every register, command, status and counter with its number.

use farfault_abi::describe::Constant;
use farfault_abi::{HARDWARE, UAPI};

const MANUAL: &str = include_str!("../../README.md");

#[test]
fn the_manual_is_complete_and_right() {
    let tables =
        ["REG_", "CMD_", "OP_", "STATUS_", "REASON_", "ERR_", "COUNTER_", "VECTOR_", "PTE_"];
    let constants: Vec<&Constant> =
        HARDWARE.iter().chain(UAPI).flat_map(|section| section.constants).collect();
    for constant in &constants {
        let Some(prefix) = tables.iter().find(|prefix| constant.name.starts_with(*prefix)) else {
            continue;
        };
        let number = match *prefix {
            "REG_" => format!("`{:#05x}`", constant.value),
            "ERR_" => format!("bit {}", constant.value.trailing_zeros()),
            "PTE_" if constant.value.is_power_of_two() => {
                format!("bit {}", constant.value.trailing_zeros())
            }
            "PTE_" => format!(
                "bits {}:{}",
                63 - constant.value.leading_zeros(),
                constant.value.trailing_zeros()
            ),
            _ => format!("| {} |", constant.value),
        };
        let name = format!("`{}`", constant.name);
        let told = MANUAL.lines().any(|line| line.contains(&name) && line.contains(&number));
        // Bits of CTRL, STATUS and the like stand in their register's text.
        let is_bit_of_register = ["STATUS_READY"].contains(&constant.name);
        assert!(told || is_bit_of_register, "the manual lacks {name} with {number}");
    }
    assert!(constants.len() > 100);
}
