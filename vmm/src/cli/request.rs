// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a run is asked for, on this host and in the first guest of nested mode
//! alike: that one reads it from a file, so that no option is lost on the way.

use super::options::VmArgs;
use crate::exit::Failure;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::Path;

/// A guest that somebody wants.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Request {
    /// The machine and its surroundings.
    pub vm: VmArgs,
    /// The program to run with its arguments; if there is none, a terminal.
    pub command: Option<Vec<String>>,
}

impl Request {
    /// Reads the request that the program outside has left.
    pub fn read(path: &Path) -> Result<Request, Failure> {
        let file = File::open(path).map_err(Failure::usage)?;
        serde_json::from_reader(file)
            .map_err(|error| Failure::usage(format!("{} is no request: {error}", path.display())))
    }
}
