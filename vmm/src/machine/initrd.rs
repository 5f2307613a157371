// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Puts the initial RAM disk into guest memory, and sees to it that there is room
//! for it: packed, unpacked, and beside the kernel.

use super::error::MachineError;
use super::layout;
use super::spec::{Initrd, MachineSpec};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// The highest address for an initrd that any kernel accepts.
const INITRD_MAX: u64 = 0x7fff_ffff;
const PAGE: u64 = 4096;

/// Kernels lie from here on, and use what is below like any other memory.
const KERNEL: u64 = 16 << 20;
/// What a kernel allocates for itself until its init runs, beside 64 bytes for a page.
const KERNEL_NEEDS: u64 = 20 << 20;
const PAGES_PER_PAGE_STRUCTS: u64 = PAGE / 64;

/// Places the archives one after the other as high as kernels accept them,
/// far from where a kernel decompresses.
pub fn load(
    memory: &GuestMemoryMmap,
    spec: &MachineSpec,
    kernel_end: u64,
) -> Result<Range<u64>, MachineError> {
    let (packed, unpacked) = sizes(&spec.initrd)?;
    // A kernel looks for the next archive at the next multiple of 4.
    let size: u64 = packed.iter().map(|size| size.next_multiple_of(4)).sum();
    if size == 0 {
        return Ok(0..0);
    }
    let top = spec.memory.min(layout::LOW_RAM_END).min(INITRD_MAX + 1);
    let placed = kernel_end.saturating_add(size).saturating_add(PAGE);
    let need = placed.max(room(kernel_end, size, unpacked.saturating_add(spec.orders)));
    let start = top.checked_sub(size).map(|start| start & !(PAGE - 1));
    let fits = |start: &u64| *start >= kernel_end && need <= spec.memory;
    let start = start.filter(fits).ok_or(MachineError::TooSmall {
        what: "this kernel with its initrd and files, unpacked",
        have: spec.memory,
        need,
    })?;
    let mut next = start;
    for (archive, size) in spec.initrd.iter().zip(packed) {
        place(memory, archive, size, next)?;
        next += size.next_multiple_of(4);
    }
    Ok(start..start + size)
}

/// Memory in which a kernel that ends at `kernel_end` has room for an initrd of `packed`
/// bytes until it is unpacked to `unpacked`.
fn room(kernel_end: u64, packed: u64, unpacked: u64) -> u64 {
    let kernel = kernel_end.saturating_sub(KERNEL);
    let all = [kernel, packed, unpacked, KERNEL_NEEDS].into_iter().fold(0, u64::saturating_add);
    all.saturating_add(all.div_ceil(PAGES_PER_PAGE_STRUCTS - 1))
}

/// What each archive takes, and what all of them take unpacked.
fn sizes(initrd: &[Initrd]) -> Result<(Vec<u64>, u64), MachineError> {
    let (mut packed, mut content) = (Vec::new(), 0u64);
    for archive in initrd {
        let (length, head) = match archive {
            Initrd::Bytes(bytes) => (bytes.len() as u64, Vec::new()),
            Initrd::File(path) => head(path).map_err(|source| unreadable(path, source))?,
        };
        packed.push(length);
        content = content.saturating_add(unpacked(&head).unwrap_or(0).max(length));
    }
    Ok((packed, content))
}

/// A file's length and its first bytes.
fn head(path: &Path) -> std::io::Result<(u64, Vec<u8>)> {
    let file = File::open(path)?;
    let mut head = Vec::new();
    let length = file.metadata()?.len();
    file.take(18).read_to_end(&mut head)?;
    Ok((length, head))
}

/// The content size in the header of a zstd frame (RFC 8878, 3.1.1.1), if it is one and has it.
fn unpacked(head: &[u8]) -> Option<u64> {
    let [descriptor, rest @ ..] = head.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])? else {
        return None;
    };
    let single_segment = usize::from(descriptor >> 5 & 1);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let length = [single_segment, 2, 4, 8][usize::from(descriptor >> 6)];
    let field = rest.get(1 - single_segment + dictionary..)?.get(..length)?;
    let mut bytes = [0; 8];
    bytes.get_mut(..length)?.copy_from_slice(field);
    let size = u64::from_le_bytes(bytes);
    match length {
        0 => None,
        2 => Some(size + 256),
        _ => Some(size),
    }
}

fn place(
    memory: &GuestMemoryMmap,
    archive: &Initrd,
    size: u64,
    address: u64,
) -> Result<(), MachineError> {
    let outside = |_| MachineError::Internal("the initrd lies outside memory");
    match archive {
        Initrd::Bytes(bytes) => memory.write_slice(bytes, GuestAddress(address)).map_err(outside),
        Initrd::File(path) => {
            let mut file = File::open(path).map_err(|source| unreadable(path, source))?;
            memory
                .read_exact_volatile_from(GuestAddress(address), &mut file, size as usize)
                .map_err(|error| unreadable(path, std::io::Error::other(error)))
        }
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> MachineError {
    MachineError::Read { what: "initrd", path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zstd_frame_says_how_large_its_content_is() {
        // Window descriptor and four bytes; one segment and two, less 256; one segment and eight.
        let four = b"\x28\xb5\x2f\xfd\x84\x48\x00\xec\xda\x01rest";
        assert_eq!(unpacked(four), Some(31_124_480));
        assert_eq!(unpacked(b"\x28\xb5\x2f\xfd\x60\x01\x00rest"), Some(257));
        assert_eq!(unpacked(b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\x01\0\0\0rest"), Some(1 << 32));
        for other in [&b"070701"[..], b"", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x84\x48\x00"] {
            assert_eq!(unpacked(other), None, "{other:?}");
        }
    }

    #[test]
    fn room_is_for_kernel_archive_and_content() {
        const MIB: u64 = 1 << 20;
        // A stock image in the smallest machine, and one with a file of 300 MiB.
        assert!(room(72 * MIB, 19 * MIB, 30 * MIB) <= 128 * MIB);
        let with_file = room(72 * MIB, 319 * MIB, 330 * MIB);
        assert!((720 * MIB..760 * MIB).contains(&with_file), "{}", with_file / MIB);
        assert!(room(u64::MAX, u64::MAX, u64::MAX) > 1 << 60);
    }
}
