// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Puts kernel, initrd, command line and boot parameters into guest memory,
//! as the 64-bit boot protocol of Linux/x86 wants them.

use super::error::MachineError;
use super::initrd;
use super::layout;
use super::spec::MachineSpec;
use crate::pci::ECAM_SIZE;
use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::loader::{BzImage, Elf, KernelLoader, KernelLoaderResult};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use vm_memory::{ByteValued, Bytes, GuestAddress, GuestMemoryMmap};

/// What this machine's kernels are told first: where the console is, that a
/// panic ends the run, that a restart goes through ACPI's reset register (on a
/// hardware-reduced machine a kernel looks for EFI otherwise), that there is one
/// serial port, and that the initramfs may have more than half of memory: in the
/// smallest machine it needs it, until its own archive is freed.
const BASE_COMMAND_LINE: &str =
    "console=ttyS0 panic=-1 reboot=a 8250.nr_uarts=1 initramfs_options=size=90%";

/// Where a bzImage has its header.
const SETUP_HEADER: u64 = 0x1f1;
const BOOT_FLAG: u16 = 0xaa55;
const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"HdrS");
const PROTOCOL: u16 = 0x020c;
const LOADER_UNDEFINED: u8 = 0xff;
/// Where the 64-bit entry point of a bzImage is.
const BZIMAGE_ENTRY_64: u64 = 0x200;
const LOADED_HIGH_AND_64_BIT: u16 = 1;

const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
const E820_ACPI: u32 = 3;
/// Persistent memory that a kernel finds without any other table.
const E820_PMEM: u32 = 12;

/// A kernel in memory.
struct Loaded {
    entry: u64,
    /// First address that neither the file nor its decompression touches.
    end: u64,
    header: setup_header,
}

/// Loads everything and returns the address to begin at.
pub fn load(memory: &GuestMemoryMmap, spec: &MachineSpec, rsdp: u64) -> Result<u64, MachineError> {
    let mut loaded = load_kernel(memory, spec)?;
    let initrd = initrd::load(memory, spec, loaded.end)?;
    write_command_line(memory, &spec.cmdline)?;
    loaded.header.type_of_loader = LOADER_UNDEFINED;
    loaded.header.cmd_line_ptr = layout::COMMAND_LINE as u32;
    loaded.header.ramdisk_image = initrd.start as u32;
    loaded.header.ramdisk_size = (initrd.end - initrd.start) as u32;
    let mut params = boot_params { hdr: loaded.header, ..Default::default() };
    params.acpi_rsdp_addr = rsdp;
    let map = memory_map(spec);
    params.e820_entries = map.len() as u8;
    for (entry, (range, kind)) in params.e820_table.iter_mut().zip(map) {
        let size = range.end - range.start;
        *entry = boot_e820_entry { addr: range.start, size, r#type: kind };
    }
    let params = BootParams::new(&params, GuestAddress(layout::ZERO_PAGE));
    LinuxBootConfigurator::write_bootparams(&params, memory)
        .map_err(|_| MachineError::Internal("the zero page lies outside memory"))?;
    Ok(loaded.entry)
}

fn load_kernel(memory: &GuestMemoryMmap, spec: &MachineSpec) -> Result<Loaded, MachineError> {
    let path = &spec.kernel;
    let unreadable = |source| MachineError::Read { what: "kernel", path: path.clone(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut start = [0; 0x206];
    let is_long_enough = file.read_exact(&mut start).is_ok();
    if is_long_enough && start.starts_with(b"\x7fELF\x02\x01") && start[18..20] == [62, 0] {
        return load_elf(memory, spec, &mut file);
    }
    if is_long_enough && start[0x202..] == HEADER_MAGIC.to_le_bytes() {
        return load_bzimage(memory, spec, &mut file);
    }
    // Reading a directory fails with a reason; anything else was just not one.
    if length > 0 && !is_long_enough && file.rewind().is_ok() {
        file.read(&mut start).map_err(unreadable)?;
    }
    Err(MachineError::NotAKernel(path.clone()))
}

fn load_elf(
    memory: &GuestMemoryMmap,
    spec: &MachineSpec,
    file: &mut File,
) -> Result<Loaded, MachineError> {
    let need = elf_end(file).ok_or_else(|| MachineError::NotAKernel(spec.kernel.clone()))?;
    fits("this kernel", spec, need)?;
    let high = Some(GuestAddress(layout::HIGH_MEMORY));
    let result = Elf::load(memory, None, file, high);
    let KernelLoaderResult { kernel_load, kernel_end, .. } = damaged(&spec.kernel, result)?;
    let header = setup_header {
        boot_flag: BOOT_FLAG,
        header: HEADER_MAGIC,
        version: PROTOCOL,
        kernel_alignment: 0x100_0000,
        ..Default::default()
    };
    Ok(Loaded { entry: kernel_load.0, end: kernel_end, header })
}

/// Where an ELF file's segments end in memory.
fn elf_end(file: &mut File) -> Option<u64> {
    let mut header = [0; 64];
    file.rewind().ok()?;
    file.read_exact(&mut header).ok()?;
    let offset = u64::from_le_bytes(header[32..40].try_into().ok()?);
    let count = u16::from_le_bytes(header[56..58].try_into().ok()?);
    file.seek(SeekFrom::Start(offset)).ok()?;
    let mut end = None;
    for _ in 0..count {
        let mut segment = [0; 56];
        file.read_exact(&mut segment).ok()?;
        let address = u64::from_le_bytes(segment[24..32].try_into().ok()?);
        let size = u64::from_le_bytes(segment[40..48].try_into().ok()?);
        if segment.starts_with(&1u32.to_le_bytes()) {
            end = end.max(Some(address.checked_add(size)?));
        }
    }
    end
}

fn load_bzimage(
    memory: &GuestMemoryMmap,
    spec: &MachineSpec,
    file: &mut File,
) -> Result<Loaded, MachineError> {
    let high = Some(GuestAddress(layout::HIGH_MEMORY));
    let mut header = setup_header::default();
    let unreadable =
        |source| MachineError::Read { what: "kernel", path: spec.kernel.clone(), source };
    file.seek(SeekFrom::Start(SETUP_HEADER)).map_err(unreadable)?;
    file.read_exact(header.as_mut_slice()).map_err(unreadable)?;
    // The kernel decompresses itself to its preferred address.
    let (preferred, needed) = (header.pref_address, header.init_size);
    let end = preferred.checked_add(needed.into()).unwrap_or(0);
    let length = file.metadata().map_err(unreadable)?.len();
    fits("this kernel", spec, end.max(layout::HIGH_MEMORY + length))?;
    let result = damaged(&spec.kernel, BzImage::load(memory, None, file, high))?;
    let header = result.setup_header.unwrap_or_default();
    if header.version < PROTOCOL || header.xloadflags & LOADED_HIGH_AND_64_BIT == 0 {
        let reason = "it has no 64-bit entry point".to_string();
        return Err(MachineError::DamagedKernel { path: spec.kernel.clone(), reason });
    }
    let entry = result.kernel_load.0 + BZIMAGE_ENTRY_64;
    Ok(Loaded { entry, end: end.max(result.kernel_end), header })
}

fn damaged(
    path: &Path,
    result: linux_loader::loader::Result<KernelLoaderResult>,
) -> Result<KernelLoaderResult, MachineError> {
    result.map_err(|error| {
        // Only the innermost of the loader's nested messages says something.
        let text = error.to_string();
        let reason = text.rsplit(": ").next().unwrap_or_default().to_string();
        MachineError::DamagedKernel { path: path.to_path_buf(), reason }
    })
}

fn fits(what: &'static str, spec: &MachineSpec, need: u64) -> Result<(), MachineError> {
    if need <= spec.memory.min(layout::LOW_RAM_END) {
        return Ok(());
    }
    Err(MachineError::TooSmall { what, have: spec.memory, need })
}

fn write_command_line(memory: &GuestMemoryMmap, added: &str) -> Result<(), MachineError> {
    let line = format!("{BASE_COMMAND_LINE} {added}\0");
    if line.len() > layout::COMMAND_LINE_SIZE {
        let limit = layout::COMMAND_LINE_SIZE - 1;
        return Err(MachineError::CommandLine(line.len() - 1, limit));
    }
    memory
        .write_slice(line.as_bytes(), GuestAddress(layout::COMMAND_LINE))
        .map_err(|_| MachineError::Internal("the command line lies outside memory"))
}

/// The map of memory that firmware would give.
fn memory_map(spec: &MachineSpec) -> Vec<(Range<u64>, u32)> {
    let mut map = vec![
        (0..layout::LOW_MEMORY_END, E820_RAM),
        (layout::ACPI, E820_ACPI),
        (layout::ECAM..layout::ECAM + ECAM_SIZE, E820_RESERVED),
    ];
    for range in layout::ram(spec.memory) {
        map.push((range.start.max(layout::HIGH_MEMORY)..range.end, E820_RAM));
    }
    map.extend(spec.pmem_ranges().into_iter().map(|range| (range, E820_PMEM)));
    map.sort_by_key(|(range, _)| range.start);
    map
}

#[cfg(test)]
#[path = "kernel_test.rs"]
mod tests;
