// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a function is on the host, as `lspci -D` has it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Segment, bus, device and function.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct PciAddress {
    segment: u32,
    bus: u8,
    device: u8,
    function: u8,
}

impl FromStr for PciAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<PciAddress, String> {
        read(text).ok_or_else(|| {
            format!("'{text}' is no PCI address: SEGMENT:BUS:DEVICE.FUNCTION, 0000:01:00.0 say")
        })
    }
}

fn read(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.rsplit_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    let (segment, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
    let hex = |text: &str, last: u32| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u32::from_str_radix(text, 16).ok().filter(|value| digits && *value <= last)
    };
    Some(PciAddress {
        segment: hex(segment, u32::MAX)?,
        bus: hex(bus, 0xff)? as u8,
        device: hex(device, 0x1f)? as u8,
        function: hex(function, 7)? as u8,
    })
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PciAddress { segment, bus, device, function } = self;
        write!(f, "{segment:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for (text, written) in [
            ("0000:01:00.0", "0000:01:00.0"),
            ("a1:1F.7", "0000:a1:1f.7"),
            ("10000:e1:00.0", "10000:e1:00.0"),
        ] {
            let address: PciAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), written);
        }
        for wrong in
            ["", "nvme0", "01:00", "01.0", "01:20.0", "01:00.8", "100:00.0", "+1:00.0", "01:00.0 "]
        {
            assert!(wrong.parse::<PciAddress>().is_err(), "{wrong}");
        }
    }
}
