// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a guest that is ready is to do, and how it is told: a line of JSON, and the archive
//! behind it. The same bytes go through a first guest to the second.

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The command and its files for a guest's init.
#[derive(Clone, Debug)]
pub struct Orders {
    /// What is to be done before, if anything: an archive like the other.
    pub prepare: Option<Arc<[u8]>>,
    pub archive: Arc<[u8]>,
    pub terms: Terms,
}

/// What a session in a first guest, which began before there was a command, has to know of it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Terms {
    /// How long the run may take.
    pub run_limit: Option<Duration>,
    pub verbose: u8,
    /// Whether the serial log is shown.
    pub serial: bool,
}

/// The line before the archive.
#[derive(Debug, Deserialize, Serialize)]
pub struct Header {
    /// The bytes of the archive.
    pub orders: u64,
    /// Whether the guest is to be ready for more after these.
    #[serde(default)]
    pub prepares: bool,
    #[serde(default)]
    pub terms: Terms,
    wake: Wake,
}

/// What a guest that has been asleep needs: the time, and entropy of its own.
#[derive(Debug, Deserialize, Serialize)]
struct Wake {
    /// Nanoseconds since 1970.
    realtime: u64,
    seed: String,
}

impl Header {
    pub fn new(archive: &[u8], terms: Terms, prepares: bool) -> io::Result<Header> {
        Ok(Header { orders: archive.len() as u64, prepares, terms, wake: Wake::now()? })
    }
}

impl Wake {
    fn now() -> io::Result<Wake> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let realtime = since.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let mut bytes = [0; 32];
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        let mut seed = String::new();
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(seed, "{byte:02x}");
        }
        Ok(Wake { realtime, seed })
    }
}

/// The line that wakes a guest which has its orders already.
pub fn wake() -> io::Result<serde_json::Value> {
    Ok(serde_json::json!({ "wake": Wake::now()? }))
}
