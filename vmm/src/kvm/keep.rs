// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine of this process stands still, and is written down.

use crate::machine::{Handle, SaveError, SavedMachine};
use crate::starts::{KeepError, Still};
use crate::states::StateError;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(2);
/// How often a device may be found at work that should be idle.
const TRIES: u32 = 2500;

impl Still for Handle {
    fn stand_still(
        self: Box<Self>,
        path: &Path,
        then: Box<dyn FnOnce() -> Result<(), StateError> + '_>,
    ) -> Result<(), KeepError> {
        let mut tries = 0;
        let standing = loop {
            match Handle::stand_still(&self) {
                Err(SaveError::Busy(_)) if tries < TRIES => thread::sleep(PAUSE),
                result => break result.map_err(|error| KeepError::Machine(error.into()))?,
            }
            tries += 1;
        };
        write(path, &standing.machine).map_err(|error| StateError::file("write", path, error))?;
        Ok(then()?)
    }
}

fn write(path: &Path, machine: &SavedMachine) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer(&mut file, machine)?;
    file.flush()
}

/// Reads what was written.
pub fn read(file: &File) -> io::Result<SavedMachine> {
    Ok(serde_json::from_reader(BufReader::new(file))?)
}
