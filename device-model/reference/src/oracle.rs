// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a command should do, byte by byte, written without a thought for speed
//! or for the device's insides: tests compare the two.

use crate::machine::{FakeMachine, PAGE};
use crate::space::AddressSpace;
use farfault_abi::descriptor::*;
use std::collections::BTreeMap;

const VA_END: u64 = 1 << 48;

/// A process's memory, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oracle {
    pages: BTreeMap<u64, Page>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    bytes: Vec<u8>,
    writable: bool,
}

/// Why a command ends: a status and the address that it speaks of.
type Stop = (u32, u64);

impl Oracle {
    /// Copies all 4 KiB pages of a process.
    pub fn new(machine: &FakeMachine, space: &AddressSpace) -> Self {
        let page = |va: u64| {
            let mut bytes = vec![0; PAGE as usize];
            space.read(machine, va, &mut bytes);
            (va / PAGE, Page { bytes, writable: space.permits(va, true) })
        };
        Self { pages: space.pages().map(page).collect() }
    }

    /// The memory of `address`, if there is any.
    pub fn byte(&self, address: u64) -> Option<u8> {
        let page = self.pages.get(&(address / PAGE))?;
        page.bytes.get((address % PAGE) as usize).copied()
    }

    /// Leaves the page of `address` out of comparisons.
    pub fn forget(&mut self, address: u64) {
        self.pages.remove(&(address / PAGE));
    }

    fn get(&self, address: u64) -> Result<u8, Stop> {
        self.byte(address).ok_or((STATUS_FAULT, address))
    }

    fn place(&mut self, address: u64) -> Result<&mut u8, Stop> {
        let page = self.pages.get_mut(&(address / PAGE)).filter(|page| page.writable);
        let byte = page.and_then(|page| page.bytes.get_mut((address % PAGE) as usize));
        byte.ok_or((STATUS_FAULT, address))
    }

    fn bytes<const N: usize>(&self, address: u64) -> Result<[u8; N], Stop> {
        let mut bytes = [0; N];
        for (i, byte) in (0..).zip(&mut bytes) {
            *byte = self.get(address + i)?;
        }
        Ok(bytes)
    }

    fn put(&mut self, address: u64, bytes: &[u8]) -> Result<(), Stop> {
        for (i, byte) in (0..).zip(bytes) {
            *self.place(address + i)? = *byte;
        }
        Ok(())
    }

    /// Carries out a descriptor and gives the record that it should get; the
    /// record is also written, if there is memory for it.
    pub fn carry_out(&mut self, descriptor: &Descriptor) -> Completion {
        let mut record = Completion { fence: descriptor.fence, ..Completion::default() };
        if let Err((status, address)) = self.execute(descriptor, &mut record) {
            record.status = status;
            record.fault_address = address;
        }
        if descriptor.completion != 0 {
            let _ = self.put(descriptor.completion, &record.to_bytes());
        }
        record
    }

    fn execute(&mut self, descriptor: &Descriptor, record: &mut Completion) -> Result<(), Stop> {
        let Descriptor { source, destination, length, operand, operand2, .. } = *descriptor;
        if u32::from(descriptor.flags) & !DESC_IRQ != 0
            || descriptor.reserved0 != 0
            || descriptor.reserved1 != 0
        {
            return Err((STATUS_BAD_OPERAND, 0));
        }
        match u32::from(descriptor.opcode) {
            OP_NOP => {}
            OP_FENCE | OP_FETCH_ADD => {
                aligned(destination, 8)?;
                range(destination, 8)?;
                let add = u32::from(descriptor.opcode) == OP_FETCH_ADD;
                let old = if add { u64::from_le_bytes(self.bytes(destination)?) } else { 0 };
                self.put(destination, &old.wrapping_add(operand).to_le_bytes())?;
                (record.done, record.result) = (8, old);
            }
            OP_COPY => {
                apart(source, destination, length)?;
                for i in 0..length {
                    let byte = self.get(source + i)?;
                    *self.place(destination + i)? = byte;
                    record.done += 1;
                }
            }
            OP_FILL => {
                range(destination, length)?;
                for i in 0..length {
                    *self.place(destination + i)? = operand.to_le_bytes()[i as usize % 8];
                    record.done += 1;
                }
            }
            OP_COMPARE => {
                range(source, length)?;
                range(destination, length)?;
                for i in 0..length {
                    if self.get(source + i)? != self.get(destination + i)? {
                        break;
                    }
                    record.done += 1;
                    record.result += 1;
                }
            }
            OP_WORD_COUNT => {
                range(source, length)?;
                let mut last = b' ';
                for i in 0..length {
                    let byte = self.get(source + i)?;
                    let white = |b| b == b' ' || (9..=13).contains(&b);
                    record.result += u64::from(white(last) && !white(byte));
                    record.done += 1;
                    last = byte;
                }
            }
            OP_HISTOGRAM => {
                aligned(destination, 8)?;
                range(source, length)?;
                range(destination, 2048)?;
                let mut counts = [0u64; 256];
                for i in 0..length {
                    counts[usize::from(self.get(source + i)?)] += 1;
                    record.done += 1;
                }
                self.put(destination, counts.map(u64::to_le_bytes).as_flattened())?;
            }
            OP_SAXPY => self.saxpy(descriptor, record)?,
            OP_CHASE => {
                let mut node = source;
                while node != 0 && record.done < length {
                    let (value, next) = (node.wrapping_add(operand2), node.wrapping_add(operand));
                    for field in [value, next] {
                        if field > VA_END - 8 {
                            return Err((STATUS_BAD_ADDRESS, field));
                        }
                    }
                    let value = u64::from_le_bytes(self.bytes(value)?);
                    node = u64::from_le_bytes(self.bytes(next)?);
                    record.result = record.result.wrapping_add(value);
                    record.done += 1;
                }
            }
            _ => return Err((STATUS_BAD_OPCODE, 0)),
        }
        Ok(())
    }

    fn saxpy(&mut self, descriptor: &Descriptor, record: &mut Completion) -> Result<(), Stop> {
        let Descriptor { source, destination, length, operand, .. } = *descriptor;
        aligned(source, 4)?;
        aligned(destination, 4)?;
        let bytes = length.checked_mul(4).ok_or((STATUS_BAD_ADDRESS, source))?;
        apart(source, destination, bytes)?;
        let a = f32::from_bits(operand as u32);
        for i in 0..length {
            let element = |base| Ok(f32::from_le_bytes(self.bytes(base + 4 * i)?));
            let (x, y) = (element(source)?, element(destination)?);
            let product = a * x;
            self.put(destination + 4 * i, &(product + y).to_le_bytes())?;
            record.done += 1;
        }
        Ok(())
    }
}

fn aligned(address: u64, to: u64) -> Result<(), Stop> {
    if address.is_multiple_of(to) { Ok(()) } else { Err((STATUS_BAD_OPERAND, 0)) }
}

fn range(address: u64, length: u64) -> Result<(), Stop> {
    let end = u128::from(address) + u128::from(length);
    if length == 0 || end <= u128::from(VA_END) {
        Ok(())
    } else {
        Err((STATUS_BAD_ADDRESS, address))
    }
}

fn apart(one: u64, other: u64, length: u64) -> Result<(), Stop> {
    range(one, length)?;
    range(other, length)?;
    let shared = one != other && one < other + length && other < one + length;
    if shared { Err((STATUS_BAD_OPERAND, 0)) } else { Ok(()) }
}
