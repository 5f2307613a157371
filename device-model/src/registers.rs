// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The register file: which register an access means, and what the driver set.
//!
//! Any offset and size may come from the guest. An access is right if it is
//! aligned to its size and covers a register, or one half of a 64-bit one;
//! every other is answered with all ones, or dropped, and reported.

use crate::dma::Permits;
use crate::gate::Setup;
use crate::ram::Dma;
use crate::refusal::{Refusal, RefusalCause};
use crate::ring::Ring;
use crate::shared::Shared;
use crate::walk::{Contexts, PAGE};
use farfault_abi::command::Command;
use farfault_abi::fault::Fault;
use farfault_abi::pci::{QUEUES, VECTORS};
use farfault_abi::regs::*;
use serde::{Deserialize, Serialize};

/// An access that is wrong in width, alignment or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAccess;

/// Registers that keep what is written to them.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Registers {
    context_base: u64,
    context_entries: u32,
    command_base: u64,
    command_entries: u32,
    fault_base: u64,
    fault_entries: u32,
}

/// What the device has to do after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing more.
    None,
    /// A new value for CTRL.
    Control(u32),
    ClearErrors(u32),
}

/// Part of a register: its offset, and the bits that an access means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    register: u32,
    shift: u32,
    bits: u32,
}

/// Finds the register for an access of `size` bytes at `offset`.
fn locate(offset: u64, size: usize) -> Result<Part, BadAccess> {
    let offset = u32::try_from(offset).map_err(|_| BadAccess)?;
    if !matches!(size, 4 | 8) || !offset.is_multiple_of(size as u32) {
        return Err(BadAccess);
    }
    let wide = is_wide(offset & !7);
    match (wide, size) {
        (true, 8) => Ok(Part { register: offset, shift: 0, bits: 64 }),
        (true, _) => Ok(Part { register: offset & !7, shift: offset % 8 * 8, bits: 32 }),
        (false, 4) => Ok(Part { register: offset, shift: 0, bits: 32 }),
        (false, _) => Err(BadAccess),
    }
}

fn is_wide(offset: u32) -> bool {
    matches!(offset, REG_FEATURES | REG_VRAM | REG_CONTEXT_BASE | REG_COMMAND_BASE | REG_FAULT_BASE)
        || (REG_COUNTERS..REG_COUNTERS + COUNTERS * 8).contains(&offset)
}

impl Part {
    fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits) << self.shift
    }
}

impl Registers {
    /// Reads `size` bytes at `offset`; some of what registers show is kept in `shared`.
    pub fn read(&self, shared: &Shared, offset: u64, size: usize) -> Result<u64, BadAccess> {
        let part = locate(offset, size)?;
        let enabled = || u32::from(shared.is_enabled());
        let value = match part.register {
            REG_ID => ID_MAGIC.into(),
            REG_VERSION => VERSION.into(),
            REG_FEATURES => {
                let atomics = if shared.config.atomics { FEATURE_ATOMICS } else { 0 };
                FEATURE_LEAF_2M | FEATURE_LEAF_1G | FEATURE_ACCESS_COUNTERS | atomics
            }
            REG_QUEUES => QUEUES.into(),
            REG_ENGINES => shared.config.engines.into(),
            REG_VA_BITS => VA_BITS.into(),
            REG_PASID_BITS => PASID_BITS.into(),
            REG_LOOKAHEAD => shared.config.lookahead.into(),
            REG_VECTORS => VECTORS.into(),
            REG_VRAM => shared.gate.look().vram.slice().map_or(0, |vram| vram.len() as u64),
            REG_CTRL => (enabled() * CTRL_ENABLE).into(),
            REG_STATUS => (enabled() * STATUS_READY).into(),
            REG_ERRORS => shared.errors().into(),
            REG_CONTEXT_BASE => self.context_base,
            REG_CONTEXT_ENTRIES => self.context_entries.into(),
            REG_COMMAND_BASE => self.command_base,
            REG_COMMAND_ENTRIES => self.command_entries.into(),
            REG_FAULT_BASE => self.fault_base,
            REG_FAULT_ENTRIES => self.fault_entries.into(),
            counter if counter >= REG_COUNTERS => {
                shared.counters.register((counter - REG_COUNTERS) / 8).ok_or(BadAccess)?
            }
            _ => return Err(BadAccess),
        };
        Ok((value & part.mask()) >> part.shift)
    }

    /// Writes `size` bytes at `offset`; base registers only if not `enabled`.
    pub fn write(
        &mut self,
        enabled: bool,
        offset: u64,
        size: usize,
        value: u64,
    ) -> Result<Effect, BadAccess> {
        let part = locate(offset, size)?;
        match part.register {
            REG_CTRL => return Ok(Effect::Control(value as u32)),
            REG_ERRORS => return Ok(Effect::ClearErrors(value as u32)),
            _ if enabled => return Err(BadAccess),
            REG_CONTEXT_BASE => insert(&mut self.context_base, part, value),
            REG_CONTEXT_ENTRIES => self.context_entries = value as u32,
            REG_COMMAND_BASE => insert(&mut self.command_base, part, value),
            REG_COMMAND_ENTRIES => self.command_entries = value as u32,
            REG_FAULT_BASE => insert(&mut self.fault_base, part, value),
            REG_FAULT_ENTRIES => self.fault_entries = value as u32,
            _ => return Err(BadAccess),
        }
        Ok(Effect::None)
    }

    /// What the base registers describe, if all of it is usable and in `memory`.
    pub fn setup(&self, memory: &Dma) -> Result<Setup, Refusal> {
        const CAUSE: RefusalCause = RefusalCause::Base;
        let ring = |base: u64, entries: u32, entry_size| {
            Ring::new(base, entries.into(), entry_size).ok_or(Refusal::at(CAUSE, base))
        };
        let commands = ring(self.command_base, self.command_entries, Command::SIZE)?;
        let faults = ring(self.fault_base, self.fault_entries, Fault::SIZE)?;
        let contexts = Contexts { base: self.context_base, entries: self.context_entries };
        if !contexts.base.is_multiple_of(PAGE) || !(1..=1 << PASID_BITS).contains(&contexts.entries)
        {
            return Err(Refusal::at(CAUSE, contexts.base));
        }
        memory
            .holds(contexts.base, contexts.bytes(), Permits::READ)
            .and_then(|()| memory.holds(commands.base(), commands.bytes(), Permits::ALL))
            .and_then(|()| memory.holds(faults.base(), faults.bytes(), Permits::ALL))
            .map_err(|unreachable| Refusal::unreachable(CAUSE, unreachable))?;
        Ok(Setup { contexts, commands, faults })
    }
}

fn insert(register: &mut u64, part: Part, value: u64) {
    *register = *register & !part.mask() | value << part.shift & part.mask();
}
