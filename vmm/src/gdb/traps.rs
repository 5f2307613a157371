// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The four traps of an x86 processor, DR0 to DR3: each for an instruction, or for data.

use gdbstub::target::ext::breakpoints::WatchKind;

const COUNT: usize = 4;
/// DR7 with no trap: a bit that is always set, and exactness, which processors have anyway.
const NONE: u64 = 0x600;
/// In DR6: an instruction was executed in single step.
const SINGLE_STEP: u64 = 1 << 14;

/// What a trap is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// The instruction at an address, whether it was asked for as a hardware breakpoint or not.
    Code { address: u64, hardware: bool },
    /// Accesses to so many bytes.
    Data { address: u64, bytes: u64, kind: WatchKind },
}

/// Why a CPU stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Trap(Trap),
    Stepped,
}

/// All traps of a machine. Its CPUs have the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traps([Option<Trap>; COUNT]);

impl Traps {
    /// Sets one, if a processor can have it and one is free.
    pub fn add(&mut self, trap: Trap) -> bool {
        if !trap.is_possible() {
            return false;
        }
        let free = self.0.iter_mut().find(|place| place.is_none());
        free.is_some_and(|place| place.replace(trap).is_none())
    }

    /// Whether it was there.
    pub fn remove(&mut self, trap: Trap) -> bool {
        let place = self.0.iter_mut().find(|place| **place == Some(trap));
        place.is_some_and(|place| place.take().is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    pub fn is_full(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// DR0 to DR7.
    pub fn debug_registers(&self) -> [u64; 8] {
        let mut registers = [0; 8];
        registers[7] = NONE;
        for (index, trap) in self.0.iter().enumerate() {
            let Some(trap) = trap else { continue };
            let (address, condition) = trap.place();
            registers[index] = address;
            registers[7] |= 2 << (2 * index) | condition << (16 + 4 * index);
        }
        registers
    }

    /// What a CPU's DR6 says, if it is about one of these or about a step that was wanted.
    pub fn reason(&self, dr6: u64, steps: bool) -> Option<Reason> {
        let met = self.0.iter().enumerate().find(|(index, _)| dr6 >> index & 1 == 1);
        match met {
            Some((_, Some(trap))) => Some(Reason::Trap(*trap)),
            _ if steps && dr6 & SINGLE_STEP != 0 => Some(Reason::Stepped),
            _ => None,
        }
    }
}

impl Trap {
    fn is_possible(self) -> bool {
        match self {
            Trap::Code { .. } => true,
            // No processor traps on loads alone.
            Trap::Data { kind: WatchKind::Read, .. } => false,
            Trap::Data { address, bytes, .. } => {
                matches!(bytes, 1 | 2 | 4 | 8) && address.is_multiple_of(bytes)
            }
        }
    }

    /// The address, and the four bits in DR7 that say what it traps on.
    fn place(self) -> (u64, u64) {
        match self {
            Trap::Code { address, .. } => (address, 0),
            Trap::Data { address, bytes, kind } => {
                let length = if bytes == 8 { 2 } else { bytes - 1 };
                let access = if kind == WatchKind::Write { 1 } else { 3 };
                (address, length << 2 | access)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: Trap = Trap::Code { address: 0xffff_ffff_8100_0010, hardware: true };

    fn data(address: u64, bytes: u64, kind: WatchKind) -> Trap {
        Trap::Data { address, bytes, kind }
    }

    #[test]
    fn registers_are_as_the_processors_manual_has_them() {
        let mut traps = Traps::default();
        assert_eq!(traps.debug_registers(), [0, 0, 0, 0, 0, 0, 0, 0x600]);
        assert!(traps.add(CODE));
        assert!(traps.add(data(0x1008, 8, WatchKind::Write)));
        assert!(traps.add(data(0x2004, 4, WatchKind::ReadWrite)));
        let [first, second, third, .., dr7] = traps.debug_registers();
        assert_eq!((first, second, third), (0xffff_ffff_8100_0010, 0x1008, 0x2004));
        assert_eq!(dr7, 0x600 | 0b10_1010 | 0b1001 << 20 | 0b1111 << 24);
    }

    #[test]
    fn there_are_four_and_each_can_be_taken_away() {
        let mut traps = Traps::default();
        for address in 0..4 {
            assert!(!traps.is_full());
            assert!(traps.add(Trap::Code { address, hardware: false }));
        }
        assert!(traps.is_full() && !traps.add(CODE) && !traps.remove(CODE));
        assert!(traps.remove(Trap::Code { address: 1, hardware: false }));
        assert!(traps.add(CODE));
        assert_eq!(traps.debug_registers()[1], 0xffff_ffff_8100_0010);
    }

    #[test]
    fn what_no_processor_can_do_is_refused() {
        let mut traps = Traps::default();
        for (address, bytes) in [(0, 3), (4, 8), (1, 2), (0, 0), (0, 16)] {
            assert!(!traps.add(data(address, bytes, WatchKind::Write)), "{address} {bytes}");
        }
        assert!(!traps.add(data(0, 8, WatchKind::Read)));
        assert!(traps.is_empty());
    }

    #[test]
    fn a_hit_is_ours_only_if_we_have_asked_for_it() {
        let mut traps = Traps::default();
        assert_eq!(traps.reason(0x0fff | 1, false), None);
        traps.add(data(0, 1, WatchKind::Write));
        traps.add(CODE);
        assert_eq!(traps.reason(0xffff_0ff2, true), Some(Reason::Trap(CODE)));
        assert_eq!(traps.reason(0xffff_4ff0, true), Some(Reason::Stepped));
        // The guest steps itself.
        assert_eq!(traps.reason(0xffff_4ff0, false), None);
        assert_eq!(traps.reason(0xffff_0ff8, true), None);
    }
}
