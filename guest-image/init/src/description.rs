// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the host leaves in files: how the guest is to be prepared, and the command
//! that it is to run then.

use crate::failure::{self, Failure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;

/// What init does before it is ready for a command, left in the initramfs.
#[derive(Debug, Deserialize, PartialEq)]
pub struct Preparation {
    pub role: Role,
    #[serde(default = "yes")]
    pub driver: bool,
    /// Parameters of farfault.ko.
    #[serde(default)]
    pub driver_params: String,
    /// Whether the machine gets the device only when it has orders.
    #[serde(default)]
    pub late_device: bool,
    /// Whether the host answers each mark when it has taken its snapshot.
    #[serde(default)]
    pub mark_ack: bool,
}

/// What to run, and how: a file of the orders.
#[derive(Debug, Deserialize, PartialEq)]
pub struct Description {
    pub argv: Vec<String>,
    /// Variables added to the usual ones.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default = "root")]
    pub cwd: String,
    #[serde(default)]
    pub tty: bool,
    /// Whether the ports themselves are its standard streams: it is one that opens none.
    #[serde(default)]
    pub direct: bool,
}

/// What a guest is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs a command with the device.
    Guest,
    /// Runs a guest of its own.
    L1,
}

fn root() -> String {
    "/".to_owned()
}

fn yes() -> bool {
    true
}

impl Preparation {
    pub const PATH: &str = "/farfault/preparation";

    /// Reads the one that the host has left.
    pub fn read() -> Result<Self, Failure> {
        let path = Path::new(Self::PATH);
        if !path.exists() {
            return Err(Failure::Incomplete);
        }
        parse(&failure::read(path)?, path)
    }
}

impl Description {
    pub const PATH: &str = "/farfault/command";

    /// Reads the one that came with the orders.
    pub fn read() -> Result<Self, Failure> {
        Self::parse(&failure::read(Self::PATH)?)
    }

    fn parse(json: &[u8]) -> Result<Self, Failure> {
        let description: Self = parse(json, Path::new(Self::PATH))?;
        match description.argv.first().map(String::as_str) {
            None | Some("") => Err(Failure::EmptyCommand),
            Some(_) => Ok(description),
        }
    }
}

fn parse<T: DeserializeOwned>(json: &[u8], path: &Path) -> Result<T, Failure> {
    serde_json::from_slice(json)
        .map_err(|error| Failure::Description { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(json: &str) -> Result<Description, String> {
        Description::parse(json.as_bytes()).map_err(|error| error.to_string())
    }

    fn preparation(json: &str) -> Result<Preparation, String> {
        parse(json.as_bytes(), Path::new(Preparation::PATH))
            .map_err(|error: Failure| error.to_string())
    }

    #[test]
    fn full_descriptions_are_read() {
        let json = r#"{"argv":["saxpy","1000"],"env":{"K":"V"},"cwd":"/tmp","tty":true,
            "direct":true,"later":[1]}"#;
        let expected = Description {
            argv: vec!["saxpy".into(), "1000".into()],
            env: [("K".to_owned(), "V".to_owned())].into(),
            cwd: "/tmp".into(),
            tty: true,
            direct: true,
        };
        assert_eq!(command(json), Ok(expected));
        let json = r#"{"role":"l1","driver":false,"driver_params":"lookahead=8","late_device":true,
            "mark_ack":true}"#;
        let expected = Preparation {
            role: Role::L1,
            driver: false,
            driver_params: "lookahead=8".into(),
            late_device: true,
            mark_ack: true,
        };
        assert_eq!(preparation(json), Ok(expected));
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let read = command(r#"{"argv":["true"]}"#).unwrap();
        assert_eq!((read.cwd.as_str(), read.tty), ("/", false));
        let read = preparation(r#"{"role":"guest"}"#).unwrap();
        assert_eq!((read.role, read.driver, read.driver_params.as_str()), (Role::Guest, true, ""));
        assert!(!read.late_device && !read.mark_ack);
    }

    #[test]
    fn what_is_no_description_is_refused_by_name() {
        for json in ["", "{}", r#"{"argv":"sh"}"#] {
            let error = command(json).unwrap_err();
            assert!(error.starts_with("/farfault/command is no description: "), "{error}");
        }
        let error = preparation(r#"{"role":"host"}"#).unwrap_err();
        assert!(error.starts_with("/farfault/preparation is no description: "), "{error}");
    }

    #[test]
    fn a_description_names_a_program() {
        for argv in ["[]", r#"[""]"#] {
            let error = command(&format!(r#"{{"argv":{argv}}}"#)).unwrap_err();
            assert_eq!(error, "the command description names no program");
        }
    }
}
