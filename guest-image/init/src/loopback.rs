// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The loopback interface, which a kernel leaves down. It gives it its addresses itself
//! when it comes up.

use crate::failure::{Doing, Failure};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use std::os::fd::AsRawFd;

const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST_ACK: u16 = 1 | 4;
/// Of the first interface of every network namespace.
const LOOPBACK: u32 = 1;
const IFF_UP: u32 = 1;
/// Where the answer has its error number, negative or 0.
const ERROR: usize = 16;

pub fn bring_up() -> Result<(), Failure> {
    let action = "bring the loopback interface up";
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .doing(action)?;
    send(socket.as_raw_fd(), &request(), MsgFlags::empty()).doing(action)?;
    let mut answer = [0; 256];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).doing(action)?;
    match answer[..length].get(ERROR..).and_then(|rest| rest.first_chunk()) {
        Some(number) => match i32::from_ne_bytes(*number) {
            0 => Ok(()),
            negative => Err(Errno::from_raw(-negative)).doing(action),
        },
        None => Err(Errno::EPROTO).doing(action),
    }
}

/// A netlink header (length, kind, flags, sequence, port), and an `ifinfomsg` (family and
/// type, index, flags, which of them to change).
fn request() -> Vec<u8> {
    let mut request = 32u32.to_ne_bytes().to_vec();
    request.extend(RTM_NEWLINK.to_ne_bytes());
    request.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    for word in [1, 0, 0, LOOPBACK, IFF_UP, IFF_UP] {
        request.extend(u32::to_ne_bytes(word));
    }
    request
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_request_is_as_long_as_it_says() {
        let request = super::request();
        assert_eq!(request[..4], (request.len() as u32).to_ne_bytes());
    }
}
