// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rows of memory that another device's driver maps, with pages and without.

use crate::calls::{self, MAP_SHARED, PROT_READ, READ_WRITE, Source, Span};
use crate::environment::Environment;
use crate::model::{Kind, PAGE};
use crate::row::{Made, Row};
use crate::rows::anonymous::written;
use farfault_guest_programs::raw_queue::{self, RawQueue};
use std::fs::File;
use std::os::fd::AsFd;

pub const ROWS: &[Row] = &[
    Row::new("device-pages", "a packet socket's ring (VM_MIXEDMAP)", Kind::Device, ring).shared(),
    Row::new("doorbells", "our device's own doorbells (VM_IO)", Kind::Pageless, doorbells).shared(),
    Row::new("dev-mem", "/dev/mem, no RAM (VM_PFNMAP)", Kind::Pageless, physical).shared(),
];

fn ring(_: &Environment, row: &Row, length: u64) -> Made {
    let socket = calls::packet_ring(length / PAGE)?;
    let span = calls::map(length, row.leaf, READ_WRITE, MAP_SHARED, Source::File(&socket))?;
    written(row.at(span))
}

/// A page of registers for each of many queues, one beside the other. Not to be
/// read by the CPU: that would be work for the device.
fn doorbells(_: &Environment, row: &Row, length: u64) -> Made {
    let device = raw_queue::open()?;
    let span = calls::reserve(length, PAGE)?;
    for page in 0..length / PAGE {
        let queue = RawQueue::new(&device, 2)?;
        let place = Span { start: span.start + page * PAGE, length: PAGE };
        let doorbell = Source::At(device.as_fd(), queue.doorbell_offset);
        calls::map_over(place, READ_WRITE, MAP_SHARED, doorbell)?;
        // It goes with the process.
        std::mem::forget(queue);
    }
    Ok(row.at(span).kept_from_devices())
}

/// Where old machines have a frame buffer, there is no RAM, and nothing answers.
const HOLE: u64 = 0xa_0000;

fn physical(_: &Environment, row: &Row, length: u64) -> Made {
    let memory = File::options().read(true).write(true).open("/dev/mem")?;
    let source = Source::At(memory.as_fd(), HOLE);
    let span = calls::map(length, row.leaf, PROT_READ, MAP_SHARED, source)?;
    Ok(row.at(span).kept_from_devices())
}
