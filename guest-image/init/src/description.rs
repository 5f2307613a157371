// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command description: what the host wants done, left in the initramfs.

use crate::failure::{self, Failure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Where the host leaves it.
pub const PATH: &str = "/farfault/command";

/// What to run, and how.
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
    pub role: Role,
    #[serde(default = "yes")]
    pub driver: bool,
    /// Parameters of farfault.ko.
    #[serde(default)]
    pub driver_params: String,
    /// Whether the host answers each mark when it has taken its snapshot.
    #[serde(default)]
    pub mark_ack: bool,
}

/// What a guest is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs a command with the device.
    Guest,
    /// Gives a user a shell, with the device.
    Shell,
    /// Runs a guest of its own.
    L1,
}

fn root() -> String {
    "/".to_owned()
}

fn yes() -> bool {
    true
}

impl Description {
    /// Reads the description at `path`.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Failure> {
        let path = path.as_ref();
        if !path.exists() {
            return Err(Failure::Incomplete);
        }
        Self::parse(&failure::read(path)?, path)
    }

    fn parse(json: &[u8], path: &Path) -> Result<Self, Failure> {
        let description: Self = serde_json::from_slice(json)
            .map_err(|error| Failure::Description { path: path.to_owned(), error })?;
        match description.argv.first().map(String::as_str) {
            None | Some("") => Err(Failure::EmptyCommand),
            Some(_) => Ok(description),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Description, String> {
        Description::parse(json.as_bytes(), Path::new(PATH)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_description_is_read() {
        let json = r#"{"argv":["saxpy","1000"],"env":{"K":"V"},"cwd":"/tmp","tty":true,
            "role":"l1","driver":false,"driver_params":"lookahead=8","mark_ack":true,"later":[1]}"#;
        let expected = Description {
            argv: vec!["saxpy".into(), "1000".into()],
            env: [("K".to_owned(), "V".to_owned())].into(),
            cwd: "/tmp".into(),
            tty: true,
            role: Role::L1,
            driver: false,
            driver_params: "lookahead=8".into(),
            mark_ack: true,
        };
        assert_eq!(parse(json), Ok(expected));
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let read = parse(r#"{"argv":["true"],"role":"guest"}"#);
        assert_eq!(read.as_ref().map(|d| d.cwd.as_str()), Ok("/"));
        assert_eq!(
            read.as_ref().map(|d| (d.tty, d.mark_ack, d.driver, d.role)),
            Ok((false, false, true, Role::Guest))
        );
    }

    #[test]
    fn what_is_no_description_is_refused_by_name() {
        let refusals =
            ["", "{}", r#"{"argv":"sh","role":"guest"}"#, r#"{"argv":["sh"],"role":"host"}"#];
        for json in refusals {
            let error = parse(json).unwrap_err();
            assert!(error.starts_with("/farfault/command is no command description: "), "{error}");
        }
    }

    #[test]
    fn a_description_names_a_program() {
        for argv in ["[]", r#"[""]"#] {
            let error = parse(&format!(r#"{{"argv":{argv},"role":"guest"}}"#)).unwrap_err();
            assert_eq!(error, "the command description names no program");
        }
    }
}
