// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The messages of the console's control queues (virtio 1.3, 5.3.6.2).

/// What the driver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromDriver {
    /// The driver is there, or has failed.
    DeviceReady(bool),
    /// A port is set up, or could not be.
    PortReady(u32, bool),
    /// A program has opened a port, or closed it.
    PortOpen(u32, bool),
}

impl FromDriver {
    /// Reads a message; none of those that this device does not know of.
    pub fn parse(bytes: &[u8]) -> Option<FromDriver> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (event, rest) = rest.split_first_chunk()?;
        let id = u32::from_le_bytes(*id);
        let yes = u16::from_le_bytes(*rest.first_chunk()?) == 1;
        match u16::from_le_bytes(*event) {
            0 => Some(FromDriver::DeviceReady(yes)),
            3 => Some(FromDriver::PortReady(id, yes)),
            6 => Some(FromDriver::PortOpen(id, yes)),
            _ => None,
        }
    }
}

/// A port exists.
pub fn port_add(id: u32) -> Vec<u8> {
    message(id, 1, 1)
}

/// The other end of a port is there, or is not any more.
pub fn port_open(id: u32, open: bool) -> Vec<u8> {
    message(id, 6, u16::from(open))
}

/// What a port is called.
pub fn port_name(id: u32, name: &str) -> Vec<u8> {
    let mut bytes = message(id, 7, 1);
    bytes.extend(name.as_bytes());
    bytes
}

/// A message without what follows it.
pub fn message(id: u32, event: u16, value: u16) -> Vec<u8> {
    [id.to_le_bytes().as_slice(), &event.to_le_bytes(), &value.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_driver_are_read() {
        let parse = |bytes: &[u8]| FromDriver::parse(bytes).expect("a message");
        assert_eq!(parse(&[0, 0, 0, 0, 0, 0, 1, 0]), FromDriver::DeviceReady(true));
        assert_eq!(parse(&[2, 0, 0, 0, 3, 0, 1, 0]), FromDriver::PortReady(2, true));
        assert_eq!(parse(&[3, 0, 0, 0, 6, 0, 0, 0, 9]), FromDriver::PortOpen(3, false));
    }

    #[test]
    fn short_and_unknown_messages_are_none() {
        assert_eq!(FromDriver::parse(&[]), None);
        assert_eq!(FromDriver::parse(&[0, 0, 0, 0, 0, 0, 1]), None);
        assert_eq!(FromDriver::parse(&[0, 0, 0, 0, 1, 0, 1, 0]), None);
        assert_eq!(FromDriver::parse(&[0xff; 8]), None);
    }

    #[test]
    fn a_name_follows_its_message_without_a_zero() {
        assert_eq!(port_name(1, "ab"), [1, 0, 0, 0, 7, 0, 1, 0, b'a', b'b']);
    }
}
