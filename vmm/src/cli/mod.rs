// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: from words to an exit code.

mod dry;
mod options;
mod plan;
mod run;
mod values;

use crate::doctor;
use crate::exit::{self, Failure};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use options::{Action, Cli};
use plan::Plan;
use std::io::{self, Write};

/// Does what the command line asks for.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) if help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            eprint!("{help}");
            return exit::USAGE;
        }
        Err(error) if error.use_stderr() => {
            eprintln!("farfault: {}", options::complaint(&error));
            return exit::USAGE;
        }
        Err(help) => {
            // Help that nobody reads to its end is no failure.
            let _ = help.print();
            return 0;
        }
    };
    match act(&cli.action) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("farfault: {failure}");
            failure.code
        }
    }
}

fn act(action: &Action) -> Result<u8, Failure> {
    match action {
        Action::Run(args) => run::run(&args.vm, &Plan::run(&args.vm, args.command.clone())?),
        Action::Shell(args) => run::run(args, &Plan::shell(args)?),
        Action::Doctor(args) => {
            let examination = doctor::examine(args.image.as_deref(), args.qemu.as_deref());
            let printed = write!(io::stdout(), "{examination}");
            if examination.can_run() && printed.is_ok() { Ok(0) } else { Ok(exit::HOST_LACKS) }
        }
        Action::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "farfault", &mut io::stdout());
            Ok(0)
        }
    }
}
