// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Persistent memory of a guest of QEMU's: each of its files is an NVDIMM.
//!
//! An NVDIMM's place is known when QEMU starts, unlike a BAR's. Else no state could be taken
//! up: QEMU (11.1, `parse_ramblock()`) wants memory that is shared, and so not part of the
//! state, to be where it was, and looks before it reads where BARs are.

use crate::pmem::{Pmem, PmemError};
use std::fs::File;
use std::ops::Range;

const GIB: u64 = 1 << 30;
/// Above all memory that a guest may have.
const BASE: u64 = 128 * GIB;
/// No memory of QEMU's PC that is given a place is below this.
const LOWEST: u64 = 4 * GIB;

/// Persistent memory, and where it is in the guest.
#[derive(Debug)]
pub struct Nvdimms {
    pmem: Vec<Pmem>,
    ranges: Vec<Range<u64>>,
}

impl Nvdimms {
    /// Gives each a place.
    pub fn new(pmem: Vec<Pmem>) -> Nvdimms {
        let mut top = BASE;
        let place = |pmem: &Pmem| {
            let start = top.next_multiple_of(GIB);
            top = start + pmem.size();
            start..top
        };
        let ranges = pmem.iter().map(place).collect();
        Nvdimms { pmem, ranges }
    }

    pub fn pmem(&self) -> &[Pmem] {
        &self.pmem
    }

    /// Where each is.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Opens all files, and makes and extends them.
    pub fn open(&self) -> Result<Vec<File>, PmemError> {
        self.pmem.iter().map(Pmem::open).collect()
    }

    /// The names of all files, as QEMU's options take them.
    pub fn names(&self) -> Vec<String> {
        let name = |pmem: &Pmem| pmem.path().display().to_string().replace(',', ",,");
        self.pmem.iter().map(name).collect()
    }

    /// What makes room for them: more of QEMU's `-m` and `-machine`, where RAM has `ram` bytes.
    pub fn slots(&self, ram: u64) -> [String; 2] {
        let Some(last) = self.ranges.last() else { return Default::default() };
        let most = ram + (last.end - LOWEST).next_multiple_of(GIB);
        let memory = format!(",slots={},maxmem={}M", self.ranges.len(), most >> 20);
        [memory, ",nvdimm=on".to_owned()]
    }

    /// QEMU's `-object` and `-device` for each, where `names` are those of all files.
    pub fn arguments(&self, names: &[String]) -> Vec<(String, String)> {
        let arguments = self.ranges.iter().enumerate().map(|(index, Range { start, end })| {
            // Without a name it is the shape.
            let name = names.get(index).map_or("", String::as_str);
            let size = end - start;
            (
                format!("memory-backend-file,id=pmem{index},share=on,mem-path={name},size={size}"),
                format!("nvdimm,memdev=pmem{index},addr={start:#x}"),
            )
        });
        arguments.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn nvdimms(sizes: &[(&str, u64)]) -> Nvdimms {
        let file = |(path, size): &(&str, u64)| Pmem::File { path: path.into(), size: *size };
        Nvdimms::new(sizes.iter().map(file).collect())
    }

    #[test]
    fn each_is_a_device_with_a_place_of_its_own() {
        let nvdimms = nvdimms(&[("a,b", 1026 * MIB), ("c", 16 * MIB)]);
        let second = BASE + 2 * GIB;
        assert_eq!(nvdimms.ranges(), [BASE..BASE + 1026 * MIB, second..second + 16 * MIB]);
        assert_eq!(nvdimms.names(), ["a,,b", "c"]);
        let arguments = nvdimms.arguments(&nvdimms.names());
        let [(object, device), (_, other)] = &arguments[..] else { panic!("{arguments:?}") };
        let file = "memory-backend-file,id=pmem0,share=on,mem-path=a,,b,size=1075838976";
        assert_eq!(
            (object.as_str(), device.as_str()),
            (file, "nvdimm,memdev=pmem0,addr=0x2000000000")
        );
        assert_eq!(other, "nvdimm,memdev=pmem1,addr=0x2080000000");
        let room = ",slots=2,maxmem=131072M".to_owned();
        assert_eq!(nvdimms.slots(GIB), [room, ",nvdimm=on".to_owned()]);
    }

    #[test]
    fn without_any_the_machine_is_as_it_was() {
        let none = nvdimms(&[]);
        assert_eq!(none.slots(GIB), ["", ""]);
        assert!(none.arguments(&[]).is_empty());
    }

    /// The CPU has 40 bits, and QEMU keeps off the last 12 GiB of that.
    #[test]
    fn the_largest_memory_can_be_addressed() {
        let most = nvdimms(&[("f", 64 * GIB); 8]);
        assert!(most.ranges()[7].end < 1012 * GIB);
        const { assert!(crate::machine::MAX_MEMORY + 6 * GIB < BASE) };
    }
}
