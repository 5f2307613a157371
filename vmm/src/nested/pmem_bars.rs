// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Persistent memory on its way through the first guest: each of its files is
//! the memory BAR of one or more PCI functions there, and the farfault inside
//! maps those BARs as it would map the file.
//!
//! A BAR's size is a power of two, so a file becomes as many BARs as its size
//! has bits set, the largest first: none reaches beyond the end of the file.

use crate::pmem::{Pmem, PmemError};
use std::fs::File;
use std::path::PathBuf;

/// The first device number on the first guest's bus that nothing else takes.
const FIRST_DEVICE: usize = 0x10;
/// Functions of a device.
const FUNCTIONS: usize = 8;

/// The BARs, in the order in which they lie on the bus.
#[derive(Debug)]
pub struct PmemBars {
    pmem: Vec<Pmem>,
    bars: Vec<PmemBar>,
}

/// A part of a file.
#[derive(Debug, PartialEq)]
struct PmemBar {
    /// Which of all files.
    file: usize,
    /// Which piece of persistent memory that belongs to.
    pmem: usize,
    offset: u64,
    size: u64,
}

impl PmemBars {
    /// BARs for persistent memory.
    pub fn new(pmem: Vec<Pmem>) -> PmemBars {
        let files = pmem
            .iter()
            .enumerate()
            .flat_map(|(index, pmem)| pmem.parts.iter().map(move |(_, size)| (index, *size)));
        let bars = files.enumerate().flat_map(|(file, (pmem, size))| {
            powers(size).map(move |(offset, size)| PmemBar { file, pmem, offset, size })
        });
        let bars = bars.collect();
        PmemBars { pmem, bars }
    }

    /// Whether there is no persistent memory.
    pub fn is_empty(&self) -> bool {
        self.bars.is_empty()
    }

    /// Opens all files, and makes and extends them.
    pub fn open(&self) -> Result<Vec<File>, PmemError> {
        let opened: Vec<Vec<File>> = self.pmem.iter().map(Pmem::open).collect::<Result<_, _>>()?;
        Ok(opened.into_iter().flatten().collect())
    }

    /// The names of all files, as QEMU's options take them.
    pub fn names(&self) -> Vec<String> {
        let paths = self.pmem.iter().flat_map(|pmem| &pmem.parts);
        paths.map(|(path, _)| path.display().to_string().replace(',', ",,")).collect()
    }

    /// QEMU's `-object` and `-device` for each, where `names` are those of all
    /// files.
    pub fn arguments(&self, names: &[String]) -> Vec<(String, String)> {
        let arguments = self.bars.iter().enumerate().map(|(index, bar)| {
            let name = names.get(bar.file).map_or("", String::as_str);
            let PmemBar { offset, size, .. } = bar;
            let (device, function) = place(index);
            (
                format!(
                    "memory-backend-file,id=pmem{index},share=on,mem-path={name},\
                     offset={offset},size={size}"
                ),
                format!(
                    "ivshmem-plain,memdev=pmem{index},addr={device:x}.{function},multifunction=on"
                ),
            )
        });
        arguments.collect()
    }

    /// For each piece of persistent memory, the BARs that it is made of, as the
    /// farfault in the first guest is told.
    pub fn inner_parts(&self) -> Vec<Vec<PathBuf>> {
        let of = |pmem| {
            let mine = self.bars.iter().enumerate().filter(move |(_, bar)| bar.pmem == pmem);
            mine.map(|(index, _)| bar(index).into()).collect()
        };
        (0..self.pmem.len()).map(of).collect()
    }
}

fn place(index: usize) -> (usize, usize) {
    (FIRST_DEVICE + index / FUNCTIONS, index % FUNCTIONS)
}

/// The memory BAR of an ivshmem function, as the first guest's kernel shows it.
fn bar(index: usize) -> String {
    let (device, function) = place(index);
    format!("/sys/bus/pci/devices/0000:00:{device:02x}.{function}/resource2_wc")
}

/// Where the powers of two that add up to `size` begin, and how large they are.
fn powers(size: u64) -> impl Iterator<Item = (u64, u64)> {
    let set = (0..u64::BITS).rev().map(|bit| 1 << bit).filter(move |power| size & power != 0);
    set.scan(0, |offset, power| {
        let start = *offset;
        *offset += power;
        Some((start, power))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn pmem(path: &str, size: u64) -> Pmem {
        Pmem { parts: vec![(path.into(), size)] }
    }

    #[test]
    fn a_size_is_the_sum_of_its_powers() {
        let all: Vec<_> = powers(96 * MIB + 2 * MIB).collect();
        assert_eq!(all, [(0, 64 * MIB), (64 * MIB, 32 * MIB), (96 * MIB, 2 * MIB)]);
    }

    #[test]
    fn the_largest_memory_has_room_on_the_bus() {
        let most = (64 << 30) - 2 * MIB;
        let bars = PmemBars::new((0..8).map(|_| pmem("f", most)).collect());
        let (device, _) = place(bars.bars.len() - 1);
        assert!(device < 0x1f, "{device:x}");
    }

    #[test]
    fn qemu_and_the_inner_program_mean_the_same_functions() {
        let bars = PmemBars::new(vec![pmem("a,b", 96 * MIB), pmem("c", 16 * MIB)]);
        assert_eq!(bars.names(), ["a,,b", "c"]);
        let arguments = bars.arguments(&bars.names());
        assert_eq!(arguments.len(), 3);
        assert!(arguments[1].0.contains("mem-path=a,,b,offset=67108864,size=33554432"));
        assert!(arguments[2].1.contains("addr=10.2"));
        let names = |numbers: &[usize]| {
            numbers.iter().map(|index| bar(*index).into()).collect::<Vec<PathBuf>>()
        };
        assert_eq!(bars.inner_parts(), [names(&[0, 1]), names(&[2])]);
        assert_eq!(bar(9), "/sys/bus/pci/devices/0000:00:11.1/resource2_wc");
    }
}
