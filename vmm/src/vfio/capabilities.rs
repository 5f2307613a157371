// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The capabilities of a function of the host, and which of them a guest is shown.

const POINTER: usize = 0x34;
const STATUS: usize = 0x06;
const STATUS_CAPABILITIES: u8 = 1 << 4;
const FIRST: usize = 0x40;
/// Where extended capabilities begin.
pub const EXTENDED: usize = 0x100;

pub const POWER: u8 = 0x01;
pub const MSI: u8 = 0x05;
pub const PCIE: u8 = 0x10;
pub const MSIX: u8 = 0x11;
pub const ADVANCED: u8 = 0x13;

const VITAL_PRODUCT_DATA: u8 = 0x03;
const PCI_X: u8 = 0x07;
const VENDOR: u8 = 0x09;
const SATA: u8 = 0x12;

/// What works for a function that is alone on a root bus. Others have to do with bridges, slots
/// and buses, or with BARs of another kind (enhanced allocation).
const SHOWN: [u8; 9] = [POWER, VITAL_PRODUCT_DATA, MSI, PCI_X, VENDOR, PCIE, MSIX, SATA, ADVANCED];

/// Error reporting, serial number, power budgeting, vendor-specific (both kinds), latency
/// tolerance. What is not among them moves BARs (resizable BAR), makes more functions (SR-IOV,
/// ARI), or wants an IOMMU that the guest has (ATS, PRI, PASID) or a bridge.
const SHOWN_EXTENDED: [u16; 6] = [0x0001, 0x0003, 0x0004, 0x000b, 0x0023, 0x0018];

/// Where one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    pub id: u8,
    pub at: usize,
}

/// Bytes that take the place of the host's.
#[derive(Debug, PartialEq, Eq)]
pub struct Patch {
    pub at: usize,
    pub bytes: Vec<u8>,
}

/// The capabilities that are shown, in the host's order and at the host's places.
pub fn shown(config: &[u8]) -> Vec<Capability> {
    if byte(config, STATUS) & STATUS_CAPABILITIES == 0 {
        return Vec::new();
    }
    let mut found: Vec<Capability> = Vec::new();
    let mut seen = Vec::new();
    let mut at = usize::from(byte(config, POINTER)) & !3;
    while at >= FIRST && !seen.contains(&at) {
        seen.push(at);
        let id = byte(config, at);
        // Of each kind the first counts.
        let new = found.iter().all(|other| other.id != id);
        if SHOWN.contains(&id) && (new || id == VENDOR) {
            found.push(Capability { id, at });
        }
        at = usize::from(byte(config, at + 1)) & !3;
    }
    found
}

/// What chains them up, without the others in between.
pub fn chain(shown: &[Capability]) -> Vec<Patch> {
    let nexts = shown.iter().map(|capability| capability.at as u8).chain([0]);
    let headers = shown.iter().zip(nexts.clone().skip(1));
    let headers = headers
        .map(|(capability, next)| Patch { at: capability.at, bytes: vec![capability.id, next] });
    let first = Patch { at: POINTER, bytes: nexts.take(1).collect() };
    std::iter::once(first).chain(headers).collect()
}

/// The headers of the extended capabilities, chained up without those that are not shown. The
/// place of the first one is fixed: if it is not shown, a capability of no kind is there.
pub fn extended_chain(config: &[u8]) -> Vec<Patch> {
    let mut found: Vec<(usize, u32)> = Vec::new();
    let mut seen = Vec::new();
    let mut at = EXTENDED;
    while at >= EXTENDED && at + 4 <= config.len() && !seen.contains(&at) {
        seen.push(at);
        let header = (0..4).rev().fold(0, |word, i| word << 8 | u32::from(byte(config, at + i)));
        if header == 0 || header == u32::MAX {
            break;
        }
        if SHOWN_EXTENDED.contains(&(header as u16)) {
            found.push((at, header & 0xf_ffff));
        } else if at == EXTENDED {
            found.push((at, 0));
        }
        at = (header >> 20) as usize & !3;
    }
    let nexts = found.iter().skip(1).map(|(at, _)| *at as u32).chain([0]);
    let headers = found.iter().zip(nexts);
    headers
        .map(|((at, kind), next)| Patch {
            at: *at,
            bytes: (kind | next << 20).to_le_bytes().into(),
        })
        .collect()
}

fn byte(config: &[u8], at: usize) -> u8 {
    config.get(at).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A space with these bytes in it.
    fn space(size: usize, bytes: &[(usize, &[u8])]) -> Vec<u8> {
        let mut config = vec![0; size];
        for (at, bytes) in bytes {
            config[*at..][..bytes.len()].copy_from_slice(bytes);
        }
        config
    }

    const HAS_LIST: (usize, &[u8]) = (STATUS, &[STATUS_CAPABILITIES]);

    #[test]
    fn what_is_not_known_is_left_out_of_the_chain() {
        let slot = 0x04;
        let lists: [(usize, &[u8]); 4] =
            [(POINTER, &[0x50]), (0x50, &[slot, 0x60]), (0x60, &[PCIE, 0xa0]), (0xa0, &[MSI, 0])];
        let config = space(256, &[&[HAS_LIST], &lists[..]].concat());
        let shown = shown(&config);
        assert_eq!(shown, [Capability { id: PCIE, at: 0x60 }, Capability { id: MSI, at: 0xa0 }]);
        let patches = chain(&shown).into_iter().map(|patch| (patch.at, patch.bytes));
        let expected = [(POINTER, vec![0x60]), (0x60, vec![PCIE, 0xa0]), (0xa0, vec![MSI, 0])];
        assert_eq!(patches.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_chain_without_end_ends() {
        let loops: [(usize, &[u8]); 3] =
            [(POINTER, &[0x40]), (0x40, &[POWER, 0xfc]), (0xfc, &[VENDOR, 0x40])];
        assert_eq!(shown(&space(256, &[&[HAS_LIST], &loops[..]].concat())).len(), 2);
        assert_eq!(shown(&space(256, &loops)), [], "it says that it has none");
        assert_eq!(chain(&[]), [Patch { at: POINTER, bytes: vec![0] }]);
        assert_eq!(shown(&[0xff; 256]), []);
        assert_eq!(extended_chain(&[0xff; 4096]), []);
    }

    #[test]
    fn a_first_extended_capability_that_is_hidden_leaves_its_place() {
        let (sriov, serial) = (0x0010, 0x0003);
        let header = |id: u32, next: u32| (id | 1 << 16 | next << 20).to_le_bytes();
        let (first, second, third) = (header(sriov, 0x140), header(serial, 0x160), header(0xe, 0));
        let bytes: [(usize, &[u8]); 3] = [(0x100, &first), (0x140, &second), (0x160, &third)];
        let patches = extended_chain(&space(4096, &bytes));
        let expected = [
            Patch { at: 0x100, bytes: (0x140u32 << 20).to_le_bytes().into() },
            Patch { at: 0x140, bytes: header(serial, 0).into() },
        ];
        assert_eq!(patches, expected);
        assert_eq!(extended_chain(&space(256, &[])), []);
    }
}
