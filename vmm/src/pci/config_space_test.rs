// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The configuration space as a guest reads and writes it.

use super::config_space::{ConfigSpace, Endpoint};
use super::test_doubles::{IDENTITY, bars, config, page};
use proptest::prelude::*;
use std::sync::Arc;
use vm_memory::{Bytes, VolatileMemory};

fn read_u32(config: &ConfigSpace, offset: usize) -> u32 {
    let mut bytes = [0; 4];
    config.read(offset, &mut bytes);
    u32::from_le_bytes(bytes)
}

fn read_u16(config: &ConfigSpace, offset: usize) -> u16 {
    let mut bytes = [0; 2];
    config.read(offset, &mut bytes);
    u16::from_le_bytes(bytes)
}

/// The capability with an identifier, found as a driver finds it.
fn capability(config: &ConfigSpace, id: u8) -> usize {
    assert_ne!(read_u16(config, 0x06) & 1 << 4, 0, "no capability list");
    let mut at = (read_u16(config, 0x34) & 0xff) as usize;
    for _ in 0..48 {
        let [found, next] = read_u16(config, at).to_le_bytes();
        if found == id {
            return at;
        }
        assert_ne!(next, 0, "capability {id:#x} is not there");
        at = next.into();
    }
    panic!("the capability list has no end");
}

#[test]
fn the_header_says_who_it_is() {
    let config = config();
    assert_eq!(read_u32(&config, 0x00), 0x5678_1234);
    assert_eq!(read_u32(&config, 0x08), 0x12_0000 << 8 | 3);
    assert_eq!(read_u32(&config, 0x2c), 0x0001_1234);
    assert_eq!(read_u32(&config, 0x0c) >> 16 & 0xff, 0, "header type 0, one function");
    assert_eq!(read_u32(&config, 0x3c) >> 8 & 0xff, 0, "no interrupt pin");
}

#[test]
fn identity_is_read_only() {
    let mut config = config();
    for offset in [0x00, 0x08, 0x2c, 0x34, 0x30] {
        let before = read_u32(&config, offset);
        config.write(offset, &[0xff; 4]);
        assert_eq!(read_u32(&config, offset), before, "{offset:#x}");
    }
}

#[test]
fn all_ones_size_a_bar() {
    let mut config = config();
    for (register, size) in [(0x10, 0x4000u64), (0x20, 8 << 30)] {
        config.write(register, &u32::MAX.to_le_bytes());
        config.write(register + 4, &u32::MAX.to_le_bytes());
        let low = read_u32(&config, register);
        let high = u64::from(read_u32(&config, register + 4));
        assert_eq!(low & 0xf, 0x4);
        assert_eq!(!(high << 32 | u64::from(low & !0xf)) + 1, size);
    }
}

#[test]
fn a_bar_is_decoded_only_while_memory_is_enabled() {
    let (mut config, bars) = (config(), bars());
    config.place(0, 0xc000_0000);
    assert_eq!(config.decoded(&bars[0]), None);
    config.write(0x04, &[0b10, 0]);
    assert_eq!(config.decoded(&bars[0]), Some(0xc000_0000));
    config.write(0x10, &0xd000_1234u32.to_le_bytes());
    assert_eq!(config.decoded(&bars[0]), Some(0xd000_0000), "bits below the size stay clear");
    config.write(0x20, &0xffff_ffffu32.to_le_bytes());
    config.write(0x24, &0x0000_0012u32.to_le_bytes());
    assert_eq!(config.decoded(&bars[1]), Some(0x12_0000_0000));
}

#[test]
fn only_known_command_bits_are_kept() {
    let mut config = config();
    config.write(0x04, &[0xff; 4]);
    assert_eq!(read_u16(&config, 0x04), 0x0546);
    assert_eq!(read_u16(&config, 0x06), 1 << 4);
    assert!(config.bus_master());
}

#[test]
fn msix_and_pcie_capabilities_are_found() {
    let mut config = config();
    let msix = capability(&config, 0x11);
    assert_eq!(read_u16(&config, msix + 2), 2, "three vectors");
    assert_eq!(read_u32(&config, msix + 4), 0x2000, "table in BAR 0");
    assert_eq!(read_u32(&config, msix + 8), 0x3000, "pending bits in BAR 0");
    config.write(msix + 2, &[0xff, 0xff]);
    assert_eq!(read_u16(&config, msix + 2), 0xc002);
    assert_eq!(config.msix_control(), (true, true));
    let pcie = capability(&config, 0x10);
    assert_ne!(read_u32(&config, pcie + 4) & 1 << 28, 0, "function-level reset");
}

#[test]
fn a_function_level_reset_is_asked_for_by_its_bit_alone() {
    let mut config = config();
    let control = capability(&config, 0x10) + 8;
    assert!(!config.write(control, &[0xff, 0x7f]));
    assert!(config.write(control, &[0, 0x80]));
    assert!(config.write(control + 1, &[0x80]));
    assert!(config.write(control, &[0, 0x80, 0, 0]));
    assert!(!config.write(control - 2, &[0x80, 0x80]));
    assert_eq!(read_u16(&config, control) & 0x8000, 0, "reads as zero");
}

#[test]
fn a_reset_clears_what_the_guest_has_set() {
    let mut config = config();
    config.write(0x04, &[0x06, 0]);
    config.write(0x10, &0xd000_0000u32.to_le_bytes());
    config.write(0x3c, &[11]);
    config.write(capability(&config, 0x11) + 2, &[0, 0xc0]);
    config.reset();
    assert_eq!(read_u16(&config, 0x04), 0);
    assert_eq!(read_u32(&config, 0x10), 4);
    assert_eq!(read_u32(&config, 0x3c) & 0xff, 0);
    assert_eq!(config.msix_control(), (false, false));
    assert_eq!(read_u16(&config, capability(&config, 0x11) + 2), 2);
    assert_eq!(read_u32(&config, 0x00), 0x5678_1234);
}

/// PCI Express Base Specification, "PCI Express Capability Structure"; PCI Power Management
/// Specification, "PCI Power Management Register Block".
#[test]
fn an_endpoint_behind_a_port_has_a_link_and_power_states() {
    let mut config = ConfigSpace::new(page(), &IDENTITY, bars());
    config.add_pcie(Endpoint::Linked);
    config.add_power();
    config.add_msix(3);
    let pcie = capability(&config, 0x10);
    assert_eq!(read_u16(&config, pcie + 2), 2, "version 2, endpoint");
    assert_eq!(read_u32(&config, pcie + 0x0c), 0x11);
    assert_eq!(read_u16(&config, pcie + 0x12), 0x11);
    let power = capability(&config, 0x01);
    assert_eq!((read_u16(&config, power + 2), read_u16(&config, power + 4)), (3, 8));
    config.write(power + 4, &[0xff, 0xff]);
    assert_eq!(read_u16(&config, power + 4), 0x0b, "D3hot");
    config.reset();
    assert_eq!(read_u16(&config, power + 4), 8, "D0");
    assert_eq!(read_u16(&config, capability(&config, 0x11) + 2), 2);
}

#[test]
fn the_guest_reads_the_same_from_the_page() {
    let page = page();
    let mut config = ConfigSpace::new(Arc::clone(&page), &IDENTITY, bars());
    config.write(0x10, &0xd000_0000u32.to_le_bytes());
    let seen: u32 = page.as_volatile_slice().read_obj(0x10).unwrap();
    assert_eq!(seen, 0xd000_0004);
}

#[test]
fn outside_the_space_is_nothing() {
    let mut config = config();
    let mut bytes = [0; 8];
    config.read(4092, &mut bytes);
    assert_eq!(bytes, [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    config.read(usize::MAX - 1, &mut bytes);
    assert_eq!(bytes, [0xff; 8]);
    assert!(!config.write(4092, &[0xff; 8]));
    assert!(!config.write(usize::MAX, &[0xff; 8]));
}

proptest! {
    /// Whatever is written, wherever: identity, sizes and lists stay.
    #[test]
    fn no_write_changes_what_is_fixed(
        writes in prop::collection::vec((0usize..4200, prop::collection::vec(any::<u8>(), 1..9)), 1..50)
    ) {
        let mut config = config();
        for (offset, bytes) in &writes {
            config.write(*offset, bytes);
        }
        prop_assert_eq!(read_u32(&config, 0), 0x5678_1234);
        prop_assert_eq!(read_u32(&config, 0x10) & 0x3fff, 4);
        prop_assert_eq!(read_u32(&config, 0x20), 0x4);
        prop_assert_eq!(capability(&config, 0x10), 0x40);
        prop_assert_eq!(read_u16(&config, capability(&config, 0x11) + 2) & 0x7ff, 2);
    }
}
