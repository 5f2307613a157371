// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bodies of replies.

use crate::served::{IrqInfo, RegionInfo};

const DEVICE_FLAG_RESET: u32 = 1;
const DEVICE_FLAG_PCI: u32 = 1 << 1;
const REGION_FLAG_READ: u32 = 1;
const REGION_FLAG_WRITE: u32 = 1 << 1;
const IRQ_FLAG_EVENTFD: u32 = 1;
const IRQ_FLAG_NORESIZE: u32 = 1 << 3;

/// Regions of a PCI device: 6 BARs, ROM, configuration space, VGA.
pub const REGIONS: u32 = 9;
/// Kinds of interrupts of a PCI device: INTx, MSI, MSI-X, error, request.
pub const IRQS: u32 = 5;

/// Of DEVICE_GET_INFO.
pub fn device_info() -> Vec<u8> {
    words(&[16, DEVICE_FLAG_RESET | DEVICE_FLAG_PCI, REGIONS, IRQS])
}

/// Of DEVICE_GET_REGION_INFO. No region can be mapped: QEMU posts writes only to a device
/// without such regions, and a doorbell that is not posted costs it a round trip.
pub fn region_info(index: u32, region: RegionInfo) -> Vec<u8> {
    let flags = if region.size == 0 { 0 } else { REGION_FLAG_READ | REGION_FLAG_WRITE };
    let mut reply = words(&[32, flags, index, 0]);
    reply.extend(region.size.to_le_bytes());
    reply.extend([0; 8]);
    reply
}

/// Of DEVICE_GET_IRQ_INFO.
pub fn irq_info(index: u32, irqs: IrqInfo) -> Vec<u8> {
    let flags = if irqs.count == 0 { 0 } else { IRQ_FLAG_EVENTFD | IRQ_FLAG_NORESIZE };
    words(&[16, flags, index, irqs.count])
}

/// Of REGION_READ and REGION_WRITE, before the data.
pub fn place(offset: u64, region: u32, count: u32) -> Vec<u8> {
    let mut reply = offset.to_le_bytes().to_vec();
    reply.extend(words(&[region, count]));
    reply
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
