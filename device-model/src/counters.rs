// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the device counts; the meaning of each is in `farfault_abi::regs`.

use farfault_abi::fault::{FAULT_LOOKAHEAD, FAULT_PAGE_REQUEST, Fault};
use farfault_abi::regs;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($field:ident = $index:ident,)*) => {
        /// A reading of all counters.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Counters {
            $( #[doc = concat!("See `farfault_abi::regs::", stringify!($index), "`.")] pub $field: u64, )*
        }

        /// The counters themselves. They order nothing, so everything is relaxed.
        #[derive(Debug, Default)]
        pub struct Live {
            $( pub $field: AtomicU64, )*
        }

        impl Live {
            pub fn read(&self) -> Counters {
                Counters { $( $field: self.$field.load(Relaxed), )* }
            }

            /// Goes on from an earlier reading.
            pub fn set(&self, counters: &Counters) {
                $( self.$field.store(counters.$field, Relaxed); )*
            }

            /// The counter at `index` of the register file.
            pub fn register(&self, index: u32) -> Option<u64> {
                match index {
                    $( regs::$index => Some(self.$field.load(Relaxed)), )*
                    _ => None,
                }
            }
        }

        const _: () = assert!(0 $( + { let _ = regs::$index; 1 } )* == regs::COUNTERS);
    };
}

counters! {
    page_requests = COUNTER_PAGE_REQUESTS,
    lookaheads = COUNTER_LOOKAHEADS,
    fault_groups = COUNTER_FAULT_GROUPS,
    fault_overflows = COUNTER_FAULT_OVERFLOWS,
    queues_halted = COUNTER_QUEUES_HALTED,
    responses_resume = COUNTER_RESPONSES_RESUME,
    responses_fail = COUNTER_RESPONSES_FAIL,
    responses_stale = COUNTER_RESPONSES_STALE,
    commands = COUNTER_COMMANDS,
    commands_bad = COUNTER_COMMANDS_BAD,
    invalidations = COUNTER_INVALIDATIONS,
    waits = COUNTER_WAITS,
    tlb_hits = COUNTER_TLB_HITS,
    tlb_misses = COUNTER_TLB_MISSES,
    walks = COUNTER_WALKS,
    table_faults = COUNTER_TABLE_FAULTS,
    sections = COUNTER_SECTIONS,
    descriptors = COUNTER_DESCRIPTORS,
    descriptors_failed = COUNTER_DESCRIPTORS_FAILED,
    bytes_read = COUNTER_BYTES_READ,
    bytes_written = COUNTER_BYTES_WRITTEN,
    doorbells = COUNTER_DOORBELLS,
    doorbells_wild = COUNTER_DOORBELLS_WILD,
    msix_fault = COUNTER_MSIX_FAULT,
    msix_command = COUNTER_MSIX_COMMAND,
    msix_queue = COUNTER_MSIX_QUEUE,
    bad_accesses = COUNTER_BAD_ACCESSES,
    device_bytes_read = COUNTER_DEVICE_BYTES_READ,
    device_bytes_written = COUNTER_DEVICE_BYTES_WRITTEN,
    access_records = COUNTER_ACCESS_RECORDS,
    access_records_lost = COUNTER_ACCESS_RECORDS_LOST,
}

macro_rules! tally {
    ($($field:ident,)*) => {
        /// What an engine counts for itself, folded in now and then.
        #[derive(Debug, Default)]
        #[allow(missing_docs)]
        pub struct Tally {
            $( pub $field: u64, )*
        }

        impl Live {
            /// Adds what `tally` holds and empties it.
            pub fn fold(&self, tally: &mut Tally) {
                $( if tally.$field != 0 {
                    self.$field.fetch_add(std::mem::take(&mut tally.$field), Relaxed);
                } )*
            }
        }
    };
}

tally! {
    sections, descriptors, descriptors_failed,
    tlb_hits, tlb_misses, walks, table_faults,
    bytes_read, bytes_written, device_bytes_read, device_bytes_written,
}

impl Live {
    /// Counts a group that was posted.
    pub fn count_group(&self, records: &[Fault]) {
        let requests = records.iter().filter(|r| u32::from(r.kind) == FAULT_PAGE_REQUEST);
        let ahead = requests.clone().filter(|r| u32::from(r.flags) & FAULT_LOOKAHEAD != 0);
        let requests = requests.count() as u64;
        self.page_requests.fetch_add(requests, Relaxed);
        self.lookaheads.fetch_add(ahead.count() as u64, Relaxed);
        self.fault_groups.fetch_add(u64::from(requests > 0), Relaxed);
    }
}

pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
