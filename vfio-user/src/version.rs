// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What client and server tell each other first (section "VFIO_USER_VERSION").

use crate::connection::MAX_FDS;
use crate::request::{MAX_TRANSFER, PAGE};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What is spoken here. The reply's minor version is at most the client's, and this is
/// the least there is.
const MAJOR: u16 = 0;
const MINOR: u16 = 0;

/// DMA maps that can be at a time (`max_dma_maps`).
pub const MAX_MAPS: u32 = 65535;

#[derive(Serialize)]
struct Offer {
    capabilities: Capabilities,
}

#[derive(Serialize)]
struct Capabilities {
    max_msg_fds: usize,
    max_data_xfer_size: u32,
    max_dma_maps: u32,
    pgsizes: u64,
    write_multiple: bool,
}

/// What a client says of itself. Nothing of it is needed here but that it can be read: of the
/// limits that it may name, none is exceeded by replies that it has asked for.
#[derive(Deserialize)]
struct Proposal {
    #[serde(default, rename = "capabilities")]
    _capabilities: serde_json::Map<String, serde_json::Value>,
}

/// What is answered to a client that speaks this major version and says `data` of itself.
pub fn negotiate(major: u16, data: &[u8]) -> Result<Vec<u8>, Errno> {
    if major != MAJOR {
        return Err(Errno::PROTONOSUPPORT);
    }
    let text = data.strip_suffix(&[0]).unwrap_or(data);
    if !text.is_empty() {
        serde_json::from_slice::<Proposal>(text).map_err(|_| Errno::INVAL)?;
    }
    let capabilities = Capabilities {
        max_msg_fds: MAX_FDS,
        max_data_xfer_size: MAX_TRANSFER,
        max_dma_maps: MAX_MAPS,
        pgsizes: PAGE,
        write_multiple: true,
    };
    let text = serde_json::to_vec(&Offer { capabilities }).map_err(|_| Errno::NOMEM)?;
    let mut reply = Vec::new();
    reply.extend(MAJOR.to_le_bytes());
    reply.extend(MINOR.to_le_bytes());
    reply.extend(text);
    reply.push(0);
    Ok(reply)
}
