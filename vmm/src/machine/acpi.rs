// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ACPI tables of a hardware-reduced machine: no PIC, PIT, RTC, keyboard
//! controller or VGA, and the kernel is told so. A kernel that is not told
//! looks for each, and waits for a clock that is not there 40,000 exits long.

use super::error::MachineError;
use super::functions::IntxLine;
use super::layout;
use crate::devices::{panic, power, serial};
use crate::pci::ECAM_SIZE;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Memory32Fixed, Name,
    Package, Path, ResourceTemplate, Scope,
};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace as Space, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};
use std::ops::Range;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const OEM: [u8; 6] = *b"FRFALT";
const TABLE: [u8; 8] = *b"FARFAULT";
const REVISION: u32 = 1;

/// FADT boot architecture flags: no VGA, no PCI Express power management, no
/// CMOS clock; and, by their absence, no ISA devices and no keyboard controller.
const BOOT_ARCHITECTURE: u16 = 1 << 2 | 1 << 4 | 1 << 5;

/// DMA remapping table: a structure that describes a unit, and its flag that the
/// unit is in front of all PCI devices.
const DMAR_UNIT: u16 = 0;
const DMAR_UNIT_SIZE: u16 = 16;
const DMAR_ALL_PCI: u8 = 1;
/// Bits of a DMA address, less one.
const DMAR_WIDTH: u8 = 47;

/// Writes the tables for `vcpus` vCPUs, a 64-bit PCI window, an IOMMU, and devices that
/// interrupt by a pin; returns where the first of them is.
pub fn write(
    memory: &GuestMemoryMmap,
    vcpus: u8,
    window_64: Option<Range<u64>>,
    iommu: bool,
    lines: &[IntxLine],
) -> Result<u64, MachineError> {
    let mut next = layout::ACPI.start + Rsdp::len() as u64;
    let mut place = |table: &dyn Aml| {
        next = next.next_multiple_of(16);
        let address = next;
        next += put(memory, address, table)?;
        Ok::<u64, MachineError>(address)
    };
    let dsdt = place(&dsdt(window_64, lines))?;
    let mut tables = vec![place(&fadt(dsdt))?, place(&madt(vcpus))?, place(&mcfg())?];
    if iommu {
        tables.push(place(&dmar())?);
    }
    let mut xsdt = XSDT::new(OEM, TABLE, REVISION);
    tables.iter().for_each(|address| xsdt.add_entry(*address));
    let xsdt = place(&xsdt)?;
    put(memory, layout::ACPI.start, &Rsdp::new(OEM, xsdt))?;
    Ok(layout::ACPI.start)
}

fn put(memory: &GuestMemoryMmap, address: u64, table: &dyn Aml) -> Result<u64, MachineError> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    let length = bytes.len() as u64;
    if address + length > layout::ACPI.end {
        return Err(MachineError::Internal("the ACPI tables outgrow their place"));
    }
    memory
        .write_slice(&bytes, GuestAddress(address))
        .map_err(|_| MachineError::Internal("the ACPI tables lie outside memory"))?;
    Ok(length)
}

fn fadt(dsdt: u64) -> impl Aml {
    let register = |offset: u16| {
        let address = u64::from(power::BASE + offset);
        GAS::new(Space::SystemIo, 8, 0, AccessSize::ByteAccess, address)
    };
    let mut fadt = FADTBuilder::new(OEM, TABLE, REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Wbinvd)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton);
    fadt.iapc_boot_arch = BOOT_ARCHITECTURE.into();
    fadt.reset_reg = register(power::RESET);
    fadt.reset_value = power::RESET_VALUE;
    fadt.sleep_control_reg = register(power::SLEEP_CONTROL);
    fadt.sleep_status_reg = register(power::SLEEP_STATUS);
    fadt.finalize()
}

fn madt(vcpus: u8) -> impl Aml {
    let apic = LocalInterruptController::Address(layout::LOCAL_APIC);
    let mut madt = MADT::new(OEM, TABLE, REVISION, apic);
    for id in 0..vcpus {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, layout::IO_APIC, 0));
    madt
}

fn mcfg() -> impl Aml {
    let mut mcfg = MCFG::new(OEM, TABLE, REVISION);
    mcfg.add_ecam(layout::ECAM, 0, 0, 0);
    mcfg
}

/// VT-d 8.1 and 8.3. The console is a PCI device, too, but a virtio device whose
/// driver is not told to translate addresses uses physical ones and asks nobody.
fn dmar() -> impl Aml {
    let mut dmar = Sdt::new(*b"DMAR", 36, 1, OEM, TABLE, REVISION);
    dmar.append_slice(&[DMAR_WIDTH, 0]);
    dmar.append_slice(&[0; 10]);
    dmar.append_slice(&DMAR_UNIT.to_le_bytes());
    dmar.append_slice(&DMAR_UNIT_SIZE.to_le_bytes());
    // A page of registers, in PCI segment 0.
    dmar.append_slice(&[DMAR_ALL_PCI, 0, 0, 0]);
    dmar.append_slice(&layout::IOMMU.to_le_bytes());
    dmar
}

fn dsdt(window_64: Option<Range<u64>>, lines: &[IntxLine]) -> impl Aml {
    let mut dsdt = Sdt::new(*b"DSDT", 36, 6, OEM, TABLE, REVISION);
    let off = power::SLEEP_TYPE_OFF;
    Name::new("_S5_".into(), &Package::new(vec![&off, &off, &0u8, &0u8])).to_aml_bytes(&mut dsdt);
    let devices = [host_bridge(window_64, lines), board(), com1(), panic_port()].concat();
    dsdt.append_slice(&Scope::raw(Path::new("\\_SB_"), devices));
    dsdt.update_checksum();
    dsdt
}

fn device(name: &str, hid: &dyn Aml, resources: Vec<&dyn Aml>, more: &[&dyn Aml]) -> Vec<u8> {
    let hid = Name::new("_HID".into(), hid);
    let resources = Name::new("_CRS".into(), &ResourceTemplate::new(resources));
    let children = [&[&hid as &dyn Aml, &resources], more].concat();
    let mut bytes = Vec::new();
    Device::new(name.into(), children).to_aml_bytes(&mut bytes);
    bytes
}

fn host_bridge(window_64: Option<Range<u64>>, lines: &[IntxLine]) -> Vec<u8> {
    let uncached = || AddressSpaceCacheable::NotCacheable;
    let Range { start, end } = layout::PCI_WINDOW_32;
    let bus = AddressSpace::new_bus_number(0u16, 0);
    let low = AddressSpace::new_memory(uncached(), true, start as u32, (end - 1) as u32, None);
    let high = window_64.map(|window| {
        AddressSpace::new_memory(uncached(), true, window.start, window.end - 1, None)
    });
    let mut windows: Vec<&dyn Aml> = vec![&bus, &low];
    windows.extend(high.as_ref().map(|window| window as &dyn Aml));
    let routes: Vec<Route> = lines.iter().flat_map(routes).collect();
    let routes = Package::new(routes.iter().map(|route| route as &dyn Aml).collect());
    let more: [&dyn Aml; 5] = [
        &Name::new("_CID".into(), &EISAName::new("PNP0A03")),
        &Name::new("_UID".into(), &0u8),
        &Name::new("_SEG".into(), &0u8),
        &Name::new("_BBN".into(), &0u8),
        &Name::new("_PRT".into(), &routes),
    ];
    let more = if lines.is_empty() { &more[..4] } else { &more };
    device("PCI0", &EISAName::new("PNP0A08"), windows, more)
}

/// A pin of a PCI device (INTA to INTD, from 0 on), and the pin of the I/O APIC that it is
/// connected to.
struct Route {
    device: u8,
    pin: u8,
    gsi: u32,
}

/// Its function has one pin, whichever that is.
fn routes(line: &IntxLine) -> impl Iterator<Item = Route> {
    let IntxLine { device, pin: gsi } = *line;
    (0..4).map(move |pin| Route { device, pin, gsi })
}

impl Aml for Route {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        // All functions of the device.
        let address = u32::from(self.device) << 16 | 0xffff;
        // No link device that could be asked: the pin is a number.
        Package::new(vec![&address, &self.pin, &0u8, &self.gsi]).to_aml_bytes(sink);
    }
}

/// A kernel uses ECAM only where a device of the board claims it.
fn board() -> Vec<u8> {
    let ecam = Memory32Fixed::new(true, layout::ECAM as u32, ECAM_SIZE as u32);
    let id = Name::new("_UID".into(), &0u8);
    device("MBRD", &EISAName::new("PNP0C02"), vec![&ecam], &[&id])
}

fn com1() -> Vec<u8> {
    let ports = IO::new(serial::BASE, serial::BASE, 1, serial::COUNT as u8);
    let interrupt = Interrupt::new(true, true, false, false, serial::IRQ);
    let id = Name::new("_UID".into(), &0u8);
    device("COM1", &EISAName::new("PNP0501"), vec![&ports, &interrupt], &[&id])
}

/// What Linux's pvpanic driver looks for.
fn panic_port() -> Vec<u8> {
    let port = IO::new(panic::PORT, panic::PORT, 1, 1);
    device("PEVT", &"QEMU0001", vec![&port], &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the tables as a kernel does and returns them by signature.
    fn tables(vcpus: u8, iommu: bool) -> Vec<(String, Vec<u8>)> {
        tables_with(vcpus, iommu, &[])
    }

    fn tables_with(vcpus: u8, iommu: bool, lines: &[IntxLine]) -> Vec<(String, Vec<u8>)> {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let rsdp = write(&memory, vcpus, Some(64 << 30..128 << 30), iommu, lines).unwrap();
        let mut bytes = [0; 36];
        memory.read_slice(&mut bytes, GuestAddress(rsdp)).unwrap();
        assert_eq!(&bytes[..8], b"RSD PTR ");
        assert_eq!(sum(&bytes[..20]), 0);
        assert_eq!(sum(&bytes), 0);
        let xsdt = table(&memory, u64::from_le_bytes(bytes[24..32].try_into().unwrap()));
        let entries = xsdt[36..].chunks(8).map(|e| u64::from_le_bytes(e.try_into().unwrap()));
        let mut tables: Vec<_> = entries.map(|address| table(&memory, address)).collect();
        let fadt = tables.iter().find(|table| table.starts_with(b"FACP")).unwrap();
        let dsdt = u64::from_le_bytes(fadt[140..148].try_into().unwrap());
        tables.push(table(&memory, dsdt));
        let signature = |table: &Vec<u8>| String::from_utf8(table[..4].to_vec()).unwrap();
        tables.into_iter().map(|table| (signature(&table), table)).collect()
    }

    fn table(memory: &GuestMemoryMmap, address: u64) -> Vec<u8> {
        let length: u32 = memory.read_obj(GuestAddress(address + 4)).unwrap();
        let mut bytes = vec![0; length as usize];
        memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        assert_eq!(sum(&bytes), 0, "checksum of {:?}", &bytes[..4]);
        bytes
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn every_table_is_found_with_its_checksum_right() {
        let tables = tables(2, false);
        let names: Vec<_> = tables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["FACP", "APIC", "MCFG", "DSDT"]);
    }

    #[test]
    fn each_vcpu_has_a_local_apic() {
        for vcpus in [1, 16] {
            let tables = tables(vcpus, false);
            let madt = &tables.iter().find(|(name, _)| name == "APIC").unwrap().1;
            // 44 bytes of header, 8 for each local APIC, 12 for the I/O APIC.
            assert_eq!(madt.len(), 44 + 8 * usize::from(vcpus) + 12);
            let ids: Vec<_> = madt[44..].chunks(8).take(vcpus.into()).map(|apic| apic[3]).collect();
            assert_eq!(ids, (0..vcpus).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_fadt_says_what_is_not_there() {
        let tables = tables(1, false);
        let fadt = &tables[0].1;
        let flags = u32::from_le_bytes(fadt[112..116].try_into().unwrap());
        assert_ne!(flags & 1 << 20, 0, "hardware-reduced");
        assert_ne!(flags & 1 << 10, 0, "reset register");
        let boot = u16::from_le_bytes(fadt[109..111].try_into().unwrap());
        assert_ne!(boot & 1 << 5, 0, "no CMOS clock");
        assert_eq!(boot & 1 << 1, 0, "no keyboard controller");
    }

    #[test]
    fn an_iommu_is_in_front_of_all_pci_devices() {
        let tables = tables(1, true);
        let names: Vec<_> = tables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["FACP", "APIC", "MCFG", "DMAR", "DSDT"]);
        let dmar = &tables[3].1;
        // 36 bytes of header, 12 of the table's own, 16 for the unit.
        assert_eq!(dmar.len(), 36 + 12 + 16);
        assert_eq!((dmar[36], dmar[37]), (47, 0), "48 bits, no interrupt remapping");
        assert_eq!(dmar[48..52], [0, 0, 16, 0], "a unit of 16 bytes");
        assert_eq!(dmar[52..56], [1, 0, 0, 0], "all of PCI segment 0");
        assert_eq!(dmar[56..], layout::IOMMU.to_le_bytes());
    }

    /// ACPI 6.5, 6.2.13.
    #[test]
    fn devices_with_a_pin_are_routed_to_the_io_apic() {
        let routed = |lines: &[IntxLine]| {
            let tables = tables_with(1, false, lines);
            let dsdt = &tables.iter().find(|(name, _)| name == "DSDT").unwrap().1;
            let at = dsdt.windows(4).position(|bytes| bytes == b"_PRT")?;
            Some(dsdt[at + 4..].to_vec())
        };
        assert_eq!(routed(&[]), None);
        let table = routed(&[IntxLine { device: 3, pin: 17 }]).expect("a table");
        // Packages of four: any function of device 3, INTA to INTD, no link, pin 17.
        let route =
            |pin: &[u8]| [&[0x12, 12, 4, 0x0c, 0xff, 0xff, 3, 0], pin, &[0, 0x0a, 17]].concat();
        let routes = [route(&[0]), route(&[1]), route(&[0x0a, 2]), route(&[0x0a, 3])];
        let found = routes.iter().map(|route| route[3..].to_vec());
        for route in found {
            assert!(table.windows(route.len()).any(|bytes| bytes == route), "{table:x?}");
        }
    }

    #[test]
    fn ecam_is_limited_to_bus_0() {
        let tables = tables(1, false);
        let mcfg = &tables.iter().find(|(name, _)| name == "MCFG").unwrap().1;
        assert_eq!(mcfg[44..52], layout::ECAM.to_le_bytes());
        assert_eq!(mcfg[54..56], [0, 0]);
    }
}
