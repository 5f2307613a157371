// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Stock kernels of Debian releases before the image's, as far back as the archive has
//! them: each boots, without the driver, and runs a command.

use crate::machines::{Boot, boot_all, ends_of};
use farfault_tests::check::Check;
use farfault_tests::run::Farfault;
use farfault_tests::unit::Unit;
use std::path::PathBuf;
use std::process::Command;

const RELEASES: [&str; 3] = ["trixie", "bookworm", "bullseye"];
const CODE: i32 = 37;

/// A kernel, and how a guest is given it.
struct Kernel {
    release: &'static str,
    uname: String,
    folder: PathBuf,
    options: String,
}

pub fn units() -> Vec<Unit> {
    vec![Unit::new("older-kernels", run)]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let mut checks = Vec::new();
    let mut kernels = Vec::new();
    for release in RELEASES {
        match fetch(release) {
            Ok(kernel) => kernels.push(kernel),
            Err(why) => checks.push(Check::skipped(release, why)),
        }
    }
    if kernels.is_empty() {
        return Err(format!("the archive serves none of {}", RELEASES.join(", ")));
    }
    let boots: Vec<Boot> = kernels
        .iter()
        .map(|kernel| Boot {
            name: kernel.release,
            options: &kernel.options,
            script: "uname -r; (exit 37)",
            code: CODE,
            says: &kernel.uname,
            fresh: true,
        })
        .collect();
    let files: Vec<String> = kernels
        .iter()
        .map(|kernel| format!("--file={}:/old/{}", kernel.folder.display(), kernel.release))
        .collect();
    let finished = boot_all(farfault, &boots, &files)?;
    checks.extend(ends_of(&finished, &boots));
    Ok(checks)
}

/// The newest kernel of a release, or why the archive has none.
fn fetch(release: &'static str) -> Result<Kernel, String> {
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guest-image/stock-kernel");
    let output = Command::new(recipe).arg(release).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let reason = said.lines().rev().find(|line| line.starts_with("E: "));
        return Err(reason.or(said.lines().last()).unwrap_or("not a word").to_owned());
    }
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end());
    let uname = std::fs::read_to_string(folder.join("release"))
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    let uname = uname.trim_end().to_owned();
    let options = format!(
        "--kernel=/old/{release}/vmlinuz --no-driver --file=/old/{release}/modules:/lib/modules/{uname}"
    );
    Ok(Kernel { release, uname, folder, options })
}
