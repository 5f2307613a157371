// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: from words to an exit code.

mod decode;
mod dry;
mod hostings;
mod options;
mod plan;
mod qemu;
mod request;
mod run;
mod self_test;
mod serve;
mod states;
mod stats_file;
mod values;

use crate::doctor;
use crate::exit::{self, Failure};
use crate::output::{print, tell};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use options::{Action, Cli};
use request::Request;

/// Does what the command line asks for.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) if help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            tell(&help.to_string());
            return exit::USAGE;
        }
        Err(error) if error.use_stderr() => {
            tell(&format!("farfault: {}", options::complaint(&error)));
            return exit::USAGE;
        }
        Err(help) => return code(print(&help.to_string()).map(|()| 0)),
    };
    code(act(cli.action))
}

/// The exit code of what was done; an error is told.
fn code(done: Result<u8, Failure>) -> u8 {
    done.unwrap_or_else(|failure| {
        tell(&format!("farfault: {failure}"));
        failure.code
    })
}

fn act(action: Action) -> Result<u8, Failure> {
    match action {
        Action::Run(args) => run::run(&Request { vm: args.vm, command: Some(args.command) }),
        Action::Shell(vm) => run::run(&Request { vm, command: None }),
        Action::Qemu(args) => qemu::run(&args),
        Action::Inner { request } => run::run_inside(&Request::read(&request)?),
        Action::Serve(args) => serve::serve(&args),
        Action::Decode(args) => decode::decode(&args).map(|()| 0),
        Action::States(args) => states::states(&args).map(|()| 0),
        Action::Doctor(args) if args.self_test => self_test::self_test(args.image.as_deref()),
        Action::Doctor(args) => {
            let examination = doctor::examine(args.image.as_deref(), args.qemu.as_deref());
            print(&examination.to_string())?;
            Ok(if examination.can_run() { 0 } else { exit::HOST_LACKS })
        }
        Action::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "farfault", &mut script);
            print(&String::from_utf8_lossy(&script)).map(|()| 0)
        }
    }
}
