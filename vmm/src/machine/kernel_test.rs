// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernels and initrds, good and bad, and where they end up.

use super::*;
use crate::machine::error::Blame;
use crate::machine::spec::Initrd;
use crate::pmem::Pmem;
use std::fs;
use std::path::PathBuf;
use tempfile::NamedTempFile;

const MIB: u64 = 1 << 20;

fn scratch(bytes: &[u8]) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, bytes).unwrap();
    file
}

fn spec(kernel: impl Into<PathBuf>) -> MachineSpec {
    MachineSpec {
        kernel: kernel.into(),
        cmdline: "quiet".into(),
        memory: 128 * MIB,
        ..MachineSpec::default()
    }
}

fn memory() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 128 << 20)]).unwrap()
}

/// An ELF file whose one segment, of `bytes`, goes to `address` and takes
/// `size` there.
fn elf(machine: u16, address: u64, size: u64, bytes: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend(2u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.extend(address.to_le_bytes());
    file.extend(64u64.to_le_bytes());
    file.extend([0; 12]);
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes());
    file.extend(7u32.to_le_bytes());
    for word in [1024, address, address, bytes.len() as u64, size, 4096] {
        file.extend(word.to_le_bytes());
    }
    file.resize(1024, 0);
    file.extend(bytes);
    file
}

/// A kernel that takes `size` bytes.
fn elf_of(size: u64) -> NamedTempFile {
    scratch(&elf(62, 16 * MIB, size, b"kernel"))
}

/// Loads a kernel with an initrd; the boot parameters, and the initrd that they name.
fn load_initrd(memory: &GuestMemoryMmap, initrd: Vec<Initrd>) -> (boot_params, Vec<u8>) {
    let file = elf_of(MIB);
    load(memory, &MachineSpec { initrd, ..spec(file.path()) }, 0xe_0000).unwrap();
    let params: boot_params = memory.read_obj(GuestAddress(layout::ZERO_PAGE)).unwrap();
    let mut bytes = vec![0; params.hdr.ramdisk_size as usize];
    memory.read_slice(&mut bytes, GuestAddress(params.hdr.ramdisk_image.into())).unwrap();
    (params, bytes)
}

/// A bzImage with one setup sector, to be decompressed into `size` bytes at
/// 16 MiB.
fn bzimage(xloadflags: u16, size: u32) -> Vec<u8> {
    let mut file = vec![0; 2048];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]);
    put(0x202, b"HdrS");
    put(0x206, &0x020fu16.to_le_bytes());
    put(0x211, &[1]);
    put(0x214, &0x10_0000u32.to_le_bytes());
    put(0x236, &xloadflags.to_le_bytes());
    put(0x258, &(16 * MIB).to_le_bytes());
    put(0x260, &size.to_le_bytes());
    put(1024, b"code");
    file
}

#[test]
fn an_elf_kernel_is_entered_where_it_says() {
    let file = elf_of(MIB);
    let memory = memory();
    assert_eq!(load(&memory, &spec(file.path()), 0xe_0000).unwrap(), 16 * MIB);
    let mut bytes = [0; 6];
    memory.read_slice(&mut bytes, GuestAddress(16 * MIB)).unwrap();
    assert_eq!(&bytes, b"kernel");
}

#[test]
fn a_bzimage_is_entered_at_its_64_bit_entry() {
    let file = scratch(&bzimage(1, MIB as u32));
    let memory = memory();
    assert_eq!(load(&memory, &spec(file.path()), 0xe_0000).unwrap(), MIB + 0x200);
    let code: [u8; 4] = memory.read_obj(GuestAddress(MIB)).unwrap();
    assert_eq!(&code, b"code");
}

#[test]
fn boot_parameters_name_everything() {
    let memory = memory();
    let pieces = [b"12345".as_slice(), b"abc"].map(|piece| Initrd::Bytes(piece.to_vec()));
    let (params, initrd) = load_initrd(&memory, pieces.into());
    let rsdp = params.acpi_rsdp_addr;
    assert_eq!((rsdp, initrd.as_slice()), (0xe_0000, b"12345\0\0\0abc\0".as_slice()));
    let mut line = [0; 64];
    memory.read_slice(&mut line, GuestAddress(layout::COMMAND_LINE)).unwrap();
    assert!(line.starts_with(b"console=ttyS0 "));
}

#[test]
fn an_initrd_from_a_file_is_the_same() {
    let file = scratch(b"archive");
    let (_, initrd) = load_initrd(&memory(), vec![Initrd::File(file.path().to_owned())]);
    assert_eq!(initrd, b"archive\0");
}

#[test]
fn the_memory_map_keeps_clear_of_the_hole() {
    let mut spec = spec("kernel");
    spec.memory = 4 << 30;
    spec.pmem = vec![Pmem::File { path: "a".into(), size: 96 * MIB }];
    let map = memory_map(&spec);
    assert!(map.windows(2).all(|pair| pair[0].0.end <= pair[1].0.start), "{map:x?}");
    let ram: u64 =
        map.iter().filter(|(_, kind)| *kind == E820_RAM).map(|(r, _)| r.end - r.start).sum();
    assert_eq!(ram, (4 << 30) - (MIB - layout::LOW_MEMORY_END));
    let pmem = (5 << 30..(5 << 30) + 96 * MIB, E820_PMEM);
    assert_eq!(map.last(), Some(&pmem));
}

fn error(spec: &MachineSpec) -> MachineError {
    load(&memory(), spec, 0).unwrap_err()
}

#[test]
fn a_missing_kernel_is_named() {
    let error = error(&spec("/no/such/kernel"));
    assert_eq!(error.blame(), Blame::User);
    assert_eq!(
        error.to_string(),
        "cannot read the kernel /no/such/kernel: No such file or directory (os error 2)"
    );
}

#[test]
fn a_directory_is_not_read() {
    let error = error(&spec(std::env::temp_dir()));
    assert!(error.to_string().contains("Is a directory"), "{error}");
}

#[test]
fn what_is_not_a_kernel_is_refused() {
    let shell_script = [b"#!/bin/sh\n".to_vec(), vec![b' '; 4096]].concat();
    let other_machine = elf(183, 16 * MIB, MIB, b"arm64");
    for (name, bytes) in [
        ("empty", vec![]),
        ("short", b"\x7fELF".to_vec()),
        ("script", shell_script),
        ("arm64", other_machine),
    ] {
        let file = scratch(&bytes);
        let error = error(&spec(file.path()));
        assert!(matches!(error, MachineError::NotAKernel(_)), "{name}: {error}");
        assert_eq!(error.blame(), Blame::User);
    }
}

#[test]
fn a_kernel_cut_short_is_damaged() {
    let mut bytes = elf(62, 16 * MIB, MIB, &[1; 4096]);
    bytes.truncate(2000);
    let file = scratch(&bytes);
    let error = error(&spec(file.path()));
    assert!(matches!(error, MachineError::DamagedKernel { .. }));
    assert!(error.to_string().ends_with(" is damaged: Unable to read kernel image"), "{error}");
}

#[test]
fn a_bzimage_without_64_bit_entry_is_refused() {
    let file = scratch(&bzimage(0, MIB as u32));
    assert!(error(&spec(file.path())).to_string().ends_with("it has no 64-bit entry point"));
}

#[test]
fn a_kernel_larger_than_memory_says_how_much_it_needs() {
    let too_little = "128 MiB of memory are too little: this kernel needs 216 MiB (--memory 216M)";
    for file in [elf_of(200 * MIB), scratch(&bzimage(1, (200 * MIB) as u32))] {
        assert_eq!(error(&spec(file.path())).to_string(), too_little);
    }
}

#[test]
fn an_elf_segment_that_wraps_around_is_refused() {
    let file = scratch(&elf(62, u64::MAX - 100, 4096, b"kernel"));
    assert!(matches!(error(&spec(file.path())), MachineError::NotAKernel(_)));
}

#[test]
fn an_initrd_that_does_not_fit_says_so() {
    let file = elf_of(100 * MIB);
    let initrd = vec![Initrd::Bytes(vec![0; 13 << 20])];
    let error = error(&MachineSpec { initrd, ..spec(file.path()) });
    assert!(matches!(
        error,
        MachineError::TooSmall { what: "this kernel with its initrd and files, unpacked", .. }
    ));
}

#[test]
fn an_initrd_that_fits_only_packed_says_how_much_it_needs() {
    let file = elf_of(40 * MIB);
    let initrd = vec![Initrd::Bytes(vec![0; 40 << 20])];
    let error = error(&MachineSpec { initrd, ..spec(file.path()) });
    assert_eq!(error.blame(), Blame::User);
    assert_eq!(
        error.to_string(),
        "128 MiB of memory are too little: this kernel with its initrd and files, unpacked \
         needs 143 MiB (--memory 144M)"
    );
}

#[test]
fn a_missing_initrd_is_named() {
    let file = elf_of(MIB);
    let initrd = vec![Initrd::File("/no/such/initrd".into())];
    let error = error(&MachineSpec { initrd, ..spec(file.path()) });
    assert_eq!(
        error.to_string(),
        "cannot read the initrd /no/such/initrd: No such file or directory (os error 2)"
    );
}

#[test]
fn a_command_line_longer_than_linux_takes_is_refused() {
    let file = elf_of(MIB);
    let mut spec = spec(file.path());
    spec.cmdline = "x".repeat(2048);
    assert!(matches!(error(&spec), MachineError::CommandLine(_, 2047)));
}
