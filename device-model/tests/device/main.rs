// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device model driven without a guest, step by step: a fake platform below
//! it and the reference driver above.

mod accesses;
mod atomics;
mod commands;
mod hostile;
mod invalidation;
mod iommu;
mod lifecycle;
mod manual;
mod random;
mod registers;
mod responses;
mod rings;
mod saved;
mod scheduling;
mod tables;
mod threads;
mod vram;
mod world;
