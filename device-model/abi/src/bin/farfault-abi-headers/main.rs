// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Makes the C side of the ABI from the tables in `farfault-abi`.
//!
//! `farfault-abi-headers write DIR` writes the two headers of the guest driver,
//! `check DIR` says whether they are as they would be written, and `probe` prints a
//! C program that prints every constant, size and offset as C sees them, for
//! `values` to be compared with.

mod header;
mod probe;
mod spelling;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: farfault-abi-headers write DIR | check DIR | probe | values";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["write", dir] => write(Path::new(dir)),
        ["check", dir] => check(Path::new(dir)),
        ["probe"] => {
            print!("{}", probe::program());
            Ok(())
        }
        ["values"] => {
            print!("{}", probe::values());
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("farfault-abi-headers: {message}");
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &Path) -> Result<(), String> {
    for (name, text) in header::all() {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(())
}

fn check(dir: &Path) -> Result<(), String> {
    for (name, wanted) in header::all() {
        let path = dir.join(name);
        let found = std::fs::read_to_string(&path)
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        if let Some(line) = first_difference(&found, &wanted) {
            return Err(format!(
                "{}:{line} differs from what device-model/abi says; \
                 run `farfault-abi-headers write {}`",
                path.display(),
                dir.display()
            ));
        }
    }
    Ok(())
}

/// Number of the first line in which the two differ.
fn first_difference(found: &str, wanted: &str) -> Option<usize> {
    if found == wanted {
        return None;
    }
    let same = found.lines().zip(wanted.lines()).take_while(|(a, b)| a == b).count();
    Some(same + 1)
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn a_difference_is_found_in_its_line() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
    }
}
