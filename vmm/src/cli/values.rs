// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The small languages inside options: sizes, `KEY=VALUE`, `HOST:GUEST`, and
//! `key=value,…` read by serde.

use crate::exit::Failure;
use crate::machine::{MAX_MEMORY, MIN_MEMORY};
use farfault_device_model::DeviceConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Reads a memory size: a number of MiB, or a number with K, M or G.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a size; write for example 512M or 2G");
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (text.get(..text.len() - 1), 10),
        Some(b'm' | b'M') => (text.get(..text.len() - 1), 20),
        Some(b'g' | b'G') => (text.get(..text.len() - 1), 30),
        _ => (Some(text), 20),
    };
    let number: u64 = digits
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(wrong)?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Reads the memory size of a machine.
pub fn memory(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if !(MIN_MEMORY..=MAX_MEMORY).contains(&bytes) {
        return Err(format!("a guest has {} MiB to {} GiB", MIN_MEMORY >> 20, MAX_MEMORY >> 30));
    }
    if bytes % (2 << 20) != 0 {
        return Err("a guest's memory is a multiple of 2 MiB".to_owned());
    }
    Ok(bytes)
}

/// Longer than anybody waits; a point in time so far away can still be told.
const MAX_SECONDS: f64 = 1e9;

/// Reads a number of seconds, whole or with a fraction.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= MAX_SECONDS)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| {
            format!("'{text}' is not a number of seconds above 0, at most {MAX_SECONDS}")
        })
}

/// Reads `KEY=VALUE` of the guest's environment.
pub fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}

/// Where init mounts something over what the initramfs has.
const MOUNT_POINTS: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// A file or directory of the host, and its absolute path in the guest.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct UserFile {
    pub host: PathBuf,
    pub guest: String,
}

impl FromStr for UserFile {
    type Err = String;

    fn from_str(text: &str) -> Result<UserFile, String> {
        let (host, guest) = match text.rsplit_once(":/") {
            Some((host, guest)) => (PathBuf::from(host), format!("/{guest}")),
            None if text.contains(':') => {
                return Err(format!("the path in the guest in '{text}' does not begin with '/'"));
            }
            None => {
                let host = PathBuf::from(text);
                let name = host.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let guest = format!("/{name}");
                (host, guest)
            }
        };
        if host.as_os_str().is_empty() {
            return Err(format!("no file of the host is named in '{text}'"));
        }
        if guest.split('/').any(|part| part == "..") || guest.trim_matches('/').is_empty() {
            return Err(format!("'{guest}' in '{text}' is not a file's path in the guest"));
        }
        let first = guest.split('/').find(|part| !part.is_empty() && *part != ".");
        if let Some(top) = first.filter(|top| MOUNT_POINTS.contains(top)) {
            return Err(format!("nobody would see '{guest}': the guest mounts its own /{top}"));
        }
        Ok(UserFile { host, guest })
    }
}

/// A file of the host that is to be the guest's persistent memory.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PmemFile {
    pub path: PathBuf,
    /// How much memory it shall be; all of the file if that is not said.
    pub size: Option<u64>,
}

impl FromStr for PmemFile {
    type Err = String;

    fn from_str(text: &str) -> Result<PmemFile, String> {
        let (path, size) = match text.rsplit_once(",size=") {
            Some((path, text)) => (path, Some(size(text)?)),
            None => (text, None),
        };
        if path.is_empty() {
            return Err(format!("no file of the host is named in '{text}'"));
        }
        Ok(PmemFile { path: path.into(), size })
    }
}

/// Where a debugger may attach.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct GdbPort {
    pub number: NonZeroU16,
    /// Whether the guest waits for it.
    pub wait: bool,
}

impl FromStr for GdbPort {
    type Err = String;

    fn from_str(text: &str) -> Result<GdbPort, String> {
        let (number, wait) = match text.strip_suffix(",wait") {
            Some(number) => (number, true),
            None => (text, false),
        };
        let number = number.parse().map_err(|_| {
            format!("'{text}' is not a TCP port, from 1 to 65535, nor one with ',wait' behind it")
        })?;
        Ok(GdbPort { number, wait })
    }
}

/// Reads what `--device` says of the accelerator.
pub fn device(text: &str) -> Result<DeviceConfig, Failure> {
    let wrong = |why| Failure::usage(format!("--device {text}: {why}"));
    let device: DeviceConfig = keyed(text).map_err(wrong)?;
    device.validate().map_err(|error| wrong(error.to_string()))?;
    Ok(device)
}

/// Reads `key=value,…` into any serde struct; a value is a number, a truth
/// value or a word, a size may carry K, M or G.
pub fn keyed<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let mut fields = serde_json::Map::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (key, value) =
            part.split_once('=').ok_or_else(|| format!("'{part}' is not key=value"))?;
        let value = match value {
            "on" | "true" => true.into(),
            "off" | "false" => false.into(),
            _ => match value.parse::<u64>() {
                Ok(number) => number.into(),
                Err(_) if value.starts_with(|first: char| first.is_ascii_digit()) => {
                    size(value)?.into()
                }
                Err(_) => value.into(),
            },
        };
        if fields.insert(key.to_owned(), value).is_some() {
            return Err(format!("'{key}' is given twice"));
        }
    }
    serde_json::from_value(fields.into()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_mib_unless_they_say_otherwise() {
        assert_eq!(size("512"), Ok(512 << 20));
        assert_eq!(size("131072K"), Ok(128 << 20));
        assert_eq!(size("2g"), Ok(2 << 30));
        for wrong in
            ["", "G", "-1", "+1", "1T", "1.5G", "99999999999999999999", "18446744073709551615G"]
        {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_guests_memory_has_bounds() {
        assert_eq!(memory("128M"), Ok(128 << 20));
        assert_eq!(memory("64G"), Ok(64 << 30));
        for wrong in ["64M", "126M", "65G", "129M", "512K"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_are_above_zero() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for wrong in ["0", "-1", "soon", "NaN", "inf", "1e19", "1e300"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn variables_keep_later_equal_signs() {
        assert_eq!(variable("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(variable("A").is_err());
        assert!(variable("=A").is_err());
    }

    #[test]
    fn files_have_a_place_in_the_guest() {
        let file = |host: &str, guest: &str| UserFile { host: host.into(), guest: guest.into() };
        assert_eq!("/etc/hosts".parse(), Ok(file("/etc/hosts", "/hosts")));
        assert_eq!("a/b:/c/d".parse(), Ok(file("a/b", "/c/d")));
        for wrong in
            ["", ":/x", "a:b", "a:/", "a:/../b", "/", "..", "a:/tmp/b", "a://./run", "/x/proc"]
        {
            assert!(wrong.parse::<UserFile>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn persistent_memory_has_a_file_and_perhaps_a_size() {
        let file = |path: &str, size| PmemFile { path: path.into(), size };
        assert_eq!("a,b".parse(), Ok(file("a,b", None)));
        assert_eq!("a,b,size=1G".parse(), Ok(file("a,b", Some(1 << 30))));
        for wrong in ["", ",size=1G", "a,size=", "a,size=big"] {
            assert!(wrong.parse::<PmemFile>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_debugger_has_a_port_and_perhaps_all_the_time_it_wants() {
        let port = |number, wait| GdbPort { number: NonZeroU16::new(number).unwrap(), wait };
        assert_eq!("1234".parse(), Ok(port(1234, false)));
        assert_eq!("1,wait".parse(), Ok(port(1, true)));
        for wrong in ["", "0", "0,wait", "65536", "-1", "gdb", ",wait", "1234,", "1234,waits"] {
            assert!(wrong.parse::<GdbPort>().is_err(), "{wrong}");
        }
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        engines: u32,
        #[serde(default)]
        memory: u64,
        #[serde(default)]
        huge: bool,
    }

    #[test]
    fn keyed_options_are_read_by_serde() {
        let sample = Sample { engines: 2, memory: 1 << 30, huge: true };
        assert_eq!(keyed("engines=2,memory=1G,huge=on"), Ok(sample));
        for wrong in ["engines", "engines=x", "engines=2,engines=3", "engines=2,wheels=4", ""] {
            assert!(keyed::<Sample>(wrong).is_err(), "{wrong}");
        }
    }
}
