// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registers in BAR 0.
//!
//! A register is read or written whole with its own width; a 64-bit register
//! also in two 32-bit halves. Any other access reads all ones, writes nothing,
//! and sets [`ERR_ACCESS`].

use crate::describe::{HeaderSection, constants};

constants! { CONSTANTS;
    /// 32-bit, read only: [`ID_MAGIC`].
    REG_ID: u32 = 0x000;
    /// 32-bit, read only: major version in the upper half, minor in the lower.
    REG_VERSION: u32 = 0x004;
    /// 64-bit, read only: FEATURE bits.
    REG_FEATURES: u32 = 0x008;
    /// 32-bit, read only: number of user-mode queues.
    REG_QUEUES: u32 = 0x010;
    /// 32-bit, read only: number of engines, which run queues side by side.
    REG_ENGINES: u32 = 0x014;
    /// 32-bit, read only: bits of a virtual address.
    REG_VA_BITS: u32 = 0x018;
    /// 32-bit, read only: bits of a PASID.
    REG_PASID_BITS: u32 = 0x01c;
    /// 32-bit, read only: most pages one fault group asks for.
    REG_LOOKAHEAD: u32 = 0x020;
    /// 32-bit, read only: number of MSI-X vectors.
    REG_VECTORS: u32 = 0x024;
    /// 64-bit, read only: bytes of device memory, which a reset makes zeroes.
    REG_VRAM: u32 = 0x028;
    /// 32-bit, read-write: CTRL bits.
    REG_CTRL: u32 = 0x040;
    /// 32-bit, read only: STATUS bits.
    REG_STATUS: u32 = 0x044;
    /// 32-bit, write 1 to clear: ERR bits, each sticky.
    REG_ERRORS: u32 = 0x048;
    /// 64-bit, writable while disabled: DMA address of the context table, 4 KiB aligned.
    REG_CONTEXT_BASE: u32 = 0x050;
    /// 32-bit, writable while disabled: entries of the context table, up to 2^PASID_BITS.
    REG_CONTEXT_ENTRIES: u32 = 0x058;
    /// 64-bit, writable while disabled: DMA address of the command queue's ring header, 128-byte aligned.
    REG_COMMAND_BASE: u32 = 0x060;
    /// 32-bit, writable while disabled: entries of the command queue, a power of two.
    REG_COMMAND_ENTRIES: u32 = 0x068;
    /// 64-bit, writable while disabled: DMA address of the fault queue's ring header, 128-byte aligned.
    REG_FAULT_BASE: u32 = 0x070;
    /// 32-bit, writable while disabled: entries of the fault queue, a power of two.
    REG_FAULT_ENTRIES: u32 = 0x078;
    /// First of the 64-bit, read-only counters; counter n is 8 * n bytes further.
    REG_COUNTERS: u32 = 0x100;

    /// What [`REG_ID`] reads: "FFLT".
    ID_MAGIC: u32 = 0x544c_4646;
    /// What [`REG_VERSION`] reads.
    VERSION: u32 = 0x0002_0003;
    /// 2 MiB leaves.
    FEATURE_LEAF_2M: u64 = 1 << 0;
    /// 1 GiB leaves.
    FEATURE_LEAF_1G: u64 = 1 << 1;
    /// Atomic operations are atomic to CPUs, wherever the memory is (AtomicOps of PCI Express).
    /// Without it they are atomic to other engines only, and need [`PTE_ATOMIC`](crate::pte::PTE_ATOMIC).
    FEATURE_ATOMICS: u64 = 1 << 2;
    /// Access counters (CMD_COUNT_ACCESSES).
    FEATURE_ACCESS_COUNTERS: u64 = 1 << 3;
    /// Bits of a virtual address.
    VA_BITS: u32 = 48;
    /// Bits of a PASID.
    PASID_BITS: u32 = 16;
    /// The device works. Setting it makes the device read the base registers; clearing it stops all
    /// memory access, disables all queues, and forgets all translations and held faults.
    CTRL_ENABLE: u32 = 1 << 0;
    /// The device accepted its base registers and works.
    STATUS_READY: u32 = 1 << 0;
    /// A register was accessed with a wrong width or alignment, or written when it may not be.
    ERR_ACCESS: u32 = 1 << 0;
    /// A base or entries register held no usable value when the device was enabled.
    ERR_BASE: u32 = 1 << 1;
    /// A command had an unknown opcode or an operand out of range, and was skipped.
    ERR_COMMAND: u32 = 1 << 2;
    /// The command queue or a WAIT address cannot be reached, or its tail is wild.
    ERR_COMMAND_RING: u32 = 1 << 3;
    /// The fault queue cannot be reached, or its head is wild.
    ERR_FAULT_RING: u32 = 1 << 4;
    /// A fault record had to be held back because the fault queue was full.
    ERR_FAULT_OVERFLOW: u32 = 1 << 5;
    /// A doorbell was rung for a queue that is not enabled.
    ERR_DOORBELL: u32 = 1 << 6;
    /// A page table or the context table was malformed or pointed outside memory.
    ERR_TABLE: u32 = 1 << 7;
    /// A memory access was refused because bus mastering is off.
    ERR_BUS_MASTER: u32 = 1 << 8;

    /// Counter: page requests posted.
    COUNTER_PAGE_REQUESTS: u32 = 0;
    /// Counter: page requests posted for pages ahead.
    COUNTER_LOOKAHEADS: u32 = 1;
    /// Counter: fault groups posted.
    COUNTER_FAULT_GROUPS: u32 = 2;
    /// Counter: fault groups that had to wait for room or were cut short by a full queue.
    COUNTER_FAULT_OVERFLOWS: u32 = 3;
    /// Counter: user-mode queues halted.
    COUNTER_QUEUES_HALTED: u32 = 4;
    /// Counter: page responses that resumed a queue.
    COUNTER_RESPONSES_RESUME: u32 = 5;
    /// Counter: page responses that failed a command.
    COUNTER_RESPONSES_FAIL: u32 = 6;
    /// Counter: page responses for a group that no longer waits.
    COUNTER_RESPONSES_STALE: u32 = 7;
    /// Counter: commands of the driver carried out.
    COUNTER_COMMANDS: u32 = 8;
    /// Counter: commands of the driver skipped as wrong.
    COUNTER_COMMANDS_BAD: u32 = 9;
    /// Counter: invalidations carried out.
    COUNTER_INVALIDATIONS: u32 = 10;
    /// Counter: WAIT commands carried out.
    COUNTER_WAITS: u32 = 11;
    /// Counter: translations found in a TLB.
    COUNTER_TLB_HITS: u32 = 12;
    /// Counter: translations not found in a TLB.
    COUNTER_TLB_MISSES: u32 = 13;
    /// Counter: page-table walks, look-ahead included.
    COUNTER_WALKS: u32 = 14;
    /// Counter: walks ended by a malformed or unreachable table.
    COUNTER_TABLE_FAULTS: u32 = 15;
    /// Counter: sections opened.
    COUNTER_SECTIONS: u32 = 16;
    /// Counter: descriptors completed with status OK.
    COUNTER_DESCRIPTORS: u32 = 17;
    /// Counter: descriptors completed with another status.
    COUNTER_DESCRIPTORS_FAILED: u32 = 18;
    /// Counter: bytes read through page tables by commands.
    COUNTER_BYTES_READ: u32 = 19;
    /// Counter: bytes written through page tables by commands.
    COUNTER_BYTES_WRITTEN: u32 = 20;
    /// Counter: doorbells of user-mode queues.
    COUNTER_DOORBELLS: u32 = 21;
    /// Counter: doorbells without an enabled queue.
    COUNTER_DOORBELLS_WILD: u32 = 22;
    /// Counter: interrupts on VECTOR_FAULT.
    COUNTER_MSIX_FAULT: u32 = 23;
    /// Counter: interrupts on VECTOR_COMMAND.
    COUNTER_MSIX_COMMAND: u32 = 24;
    /// Counter: interrupts on completion vectors.
    COUNTER_MSIX_QUEUE: u32 = 25;
    /// Counter: register accesses of wrong width, alignment or time.
    COUNTER_BAD_ACCESSES: u32 = 26;
    /// Counter: of the bytes read, those in device memory.
    COUNTER_DEVICE_BYTES_READ: u32 = 27;
    /// Counter: of the bytes written, those in device memory.
    COUNTER_DEVICE_BYTES_WRITTEN: u32 = 28;
    /// Counter: records that tell of accesses.
    COUNTER_ACCESS_RECORDS: u32 = 29;
    /// Counter: those that found no room, and are lost.
    COUNTER_ACCESS_RECORDS_LOST: u32 = 30;
    /// Number of counters.
    COUNTERS: u32 = 31;
}

pub(crate) const SECTION: HeaderSection =
    HeaderSection { title: "Registers (BAR 0)", constants: CONSTANTS, structures: &[] };
