// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line. People use scripts/test, which makes the image, too.

use clap::Parser;
use clap::error::ErrorKind;
use farfault_tests::hosting::Hosting;
use farfault_tests::shard::Shard;
use farfault_tests::unit::GUEST;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Runs tests in virtual machines.
#[derive(Debug, Parser)]
#[command(name = "farfault-guest-tests")]
pub struct Arguments {
    /// What to run: names of units or scenarios, or parts of names [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Print the names of what would be run, and run nothing
    #[arg(long)]
    pub list: bool,
    /// Of these suites of scripts/test, in this order
    #[arg(long, value_name = "SUITE,…", value_delimiter = ',', default_value = GUEST)]
    #[arg(requires = "list")]
    pub suites: Vec<String>,
    /// Only the part I of N parts that take about as long as each other
    #[arg(long, value_name = "I/N", requires = "list")]
    pub shard: Option<Shard>,
    /// Run units that are about what is in a guest on this hosting, and no others [default: all, and
    /// those on the fastest]
    #[arg(long)]
    pub hosting: Option<Hosting>,
    /// Run N units at once [default: one for each CPU, as far as there is memory]
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Keep what each run leaves behind in this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Add what came of each unit to this file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
}

impl Arguments {
    /// Those of the process; what is wrong with them in one line.
    pub fn read() -> Result<Self, String> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp => error.exit(),
            _ => {
                let report = error.to_string();
                let first = report.lines().map(str::trim).take_while(|line| !line.is_empty());
                first.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
            }
        })
    }

    /// The file for results, if there is to be one.
    pub fn results_file(&self) -> Result<Option<File>, String> {
        let open = |path: &PathBuf| {
            let opened = File::options().create(true).append(true).open(path);
            opened.map_err(|error| format!("{}: {error}", path.display()))
        };
        self.results.as_ref().map(open).transpose()
    }
}
