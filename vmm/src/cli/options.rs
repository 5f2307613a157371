// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: what the user may say.

use super::values::{self, GdbPort, PmemFile, UserFile};
use crate::exit;
use crate::machine::MAX_VCPUS;
use crate::vfio::PciAddress;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// A test bed for shared virtual memory that needs no accelerator.
///
/// Boots a Linux guest with a synthetic PCI accelerator whose page faults the
/// guest's driver services with hmm_range_fault(), and runs programs there
/// that hand it ordinary pointers.
#[derive(Debug, Parser)]
#[command(name = "farfault", version, after_help = exit::HELP, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Run a command in a guest: its output is ours, and so is its exit code
    #[command(override_usage = "farfault run [OPTIONS] -- CMD [ARGS]...",
              after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
    Run(RunArgs),
    /// Give a terminal in a guest (Ctrl-] ends it)
    #[command(after_help = exit::HELP)]
    Shell(VmArgs),
    /// Run a command in a guest on QEMU (10.1 or newer), which needs no KVM: as run, but for --accel
    #[command(override_usage = "farfault qemu [OPTIONS] [-- CMD [ARGS]...]",
              after_help = exit::HELP, mut_arg("vfio", |option| option.hide(true)))]
    Qemu(QemuArgs),
    /// Offer the accelerator to QEMU (10.1 or newer) at a socket, until a signal comes; print the
    /// options that QEMU needs
    #[command(after_help = exit::HELP)]
    Serve(ServeArgs),
    /// List the kept states of machines, the one that was used last first, or remove some
    #[command(after_help = exit::HELP)]
    States(StatesArgs),
    /// Print a kernel's log from standard input, with file and line number behind each function
    #[command(after_help = exit::HELP)]
    Decode(DecodeArgs),
    /// Say what this host offers, and what to do about what is missing
    Doctor(DoctorArgs),
    /// Run what a request says, in the first guest of nested mode
    #[command(hide = true)]
    Inner {
        /// Its file
        request: PathBuf,
    },
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

const EXAMPLES: &str = "\
Examples:
  farfault run -- saxpy 1000000
  farfault run --stats --file ./book.txt -- wordcount /book.txt
  farfault run --cpus 4 --memory 2G --device engines=4,lookahead=64 -- stress
  farfault run --file ./my-test:/bin/my-test --timeout 60 -- my-test
  while read x; do farfault run -n -- echo $x; done <list
  farfault run --dry-run -- true";

/// `farfault run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The machine and its surroundings
    #[command(flatten)]
    pub vm: VmArgs,
    /// The program to run in the guest, with its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// `farfault qemu`.
#[derive(Debug, Args)]
pub struct QemuArgs {
    /// The machine and its surroundings
    #[command(flatten)]
    pub vm: VmArgs,
    /// The program to run in the guest, with its arguments; without one, a terminal
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// What `run`, `shell` and `qemu` have in common.
#[derive(Clone, Debug, Args, Deserialize, PartialEq, Serialize)]
pub struct VmArgs {
    /// Guest kernel: bzImage or ELF [default: the image's]
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    pub kernel: Option<PathBuf>,
    /// Guest initrd [default: the image's]
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    pub initrd: Option<PathBuf>,
    /// Image directory made by guest-image/build [default: $FARFAULT_IMAGE, else the one beside this
    /// program, else the newest of the cache]
    #[arg(long, value_name = "DIR", help_heading = "Guest")]
    pub image: Option<PathBuf>,
    /// Words added to the kernel's command line
    #[arg(long, value_name = "WORDS", help_heading = "Guest", allow_hyphen_values = true)]
    pub cmdline_append: Option<String>,
    /// Load no driver: for a kernel that the image's is not built for
    #[arg(long, help_heading = "Guest", conflicts_with = "driver_params")]
    pub no_driver: bool,
    /// Parameters of the guest driver, as modprobe takes them
    #[arg(long, value_name = "WORDS", help_heading = "Guest")]
    pub driver_params: Option<String>,
    /// Guest memory, 128M to 64G
    #[arg(long, short, value_name = "SIZE", default_value = "512M", value_parser = values::memory,
          help_heading = "Machine")]
    pub memory: u64,
    /// Virtual CPUs, 1 to 16
    #[arg(long, short, value_name = "N", default_value_t = 1, help_heading = "Machine",
          value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_VCPUS)))]
    pub cpus: u8,
    /// Persistent memory kept in a file of the host, which is made or extended if it is smaller
    /// than SIZE: /dev/pmem0 in the guest, the next one /dev/pmem1 (repeatable)
    #[arg(long, value_name = "FILE[,size=SIZE]", help_heading = "Machine")]
    pub pmem: Vec<PmemFile>,
    /// The accelerator: engines=N, lookahead=PAGES, tlb=ENTRIES, vram=SIZE, atomics=off,
    /// failing_copies=N, stuck_copy=N
    #[arg(long, value_name = "KEY=VALUE,…", help_heading = "Machine")]
    #[arg(default_value = "", hide_default_value = true)]
    pub device: String,
    /// Put the accelerator behind an IOMMU (VT-d) that translates its DMA addresses
    #[arg(long, help_heading = "Machine")]
    pub iommu: bool,
    /// Give the guest a PCI device of this host that is bound to vfio-pci. One that is an
    /// accelerator takes the place of the emulated one. Needs KVM (repeatable)
    #[arg(long, value_name = "SEGMENT:BUS:DEV.FN", help_heading = "Machine",
          conflicts_with_all = ["iommu", "in_first_guest"])]
    pub vfio: Vec<PciAddress>,
    /// What emulates the CPU; auto tries KVM, and falls back to nested, or with qemu to tcg
    #[arg(long, value_enum, default_value_t = Accel::Auto, help_heading = "Machine")]
    pub accel: Accel,
    /// Boot, and take up no kept state
    #[arg(long, help_heading = "Machine")]
    pub fresh: bool,
    /// Have a shell in the guest run COMMAND first. Where states are kept that is done once, and
    /// later runs go on behind it
    #[arg(long, value_name = "COMMAND", help_heading = "Command", allow_hyphen_values = true)]
    pub prepare: Option<String>,
    /// Let gdb attach to the guest's kernel at a TCP port of this host (target remote :PORT); with
    /// "wait" the guest waits for that before its first instruction. It has 4 breakpoints and
    /// watchpoints in all. It is booted, with nokaslr; no state of it is kept, and no time limit
    /// holds. If gdb leaves, it goes on; if gdb kills it, the exit code is 121
    #[arg(
        long,
        value_name = "PORT[,wait]",
        help_heading = "Machine",
        conflicts_with = "in_first_guest"
    )]
    pub gdb: Option<GdbPort>,
    /// QEMU for nested mode and for qemu [default: the image's tools tree, else the host's]
    #[arg(long, value_name = "FILE", help_heading = "Machine")]
    pub qemu: Option<PathBuf>,
    /// Put a file or directory into the guest, at /NAME or at GUEST (repeatable)
    #[arg(long = "file", value_name = "HOST[:GUEST]", help_heading = "Command")]
    pub files: Vec<UserFile>,
    /// Set a variable for the command (repeatable)
    #[arg(long = "env", short, value_name = "KEY=VALUE", value_parser = values::variable,
          help_heading = "Command")]
    pub env: Vec<(String, String)>,
    /// Directory in which the command starts
    #[arg(long, value_name = "DIR", default_value = "/", help_heading = "Command")]
    pub cwd: String,
    /// Give the command no input: it would take all there is on standard input, as ssh does
    #[arg(long, short, help_heading = "Command")]
    pub no_input: bool,
    /// End the guest after so many seconds, with exit code 124
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, help_heading = "Command")]
    pub timeout: Option<Duration>,
    /// How long a guest may take until its first process runs
    #[arg(long, value_name = "SECONDS", default_value = "180", value_parser = values::seconds,
          help_heading = "Command")]
    pub boot_timeout: Duration,
    /// Attach this terminal to the guest's serial console, and let the kernel talk
    #[arg(long, help_heading = "Output")]
    pub console: bool,
    /// Show on standard error what the guest writes to its serial console
    #[arg(long, help_heading = "Output")]
    pub serial: bool,
    /// Print what was counted, as a table on standard error
    #[arg(long, help_heading = "Output")]
    pub stats: bool,
    /// Write what was counted to FILE, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub stats_json: Option<PathBuf>,
    /// Run PROGRAM on this host at each mark, with the mark's name, while the guest waits. Needs
    /// KVM, or farfault qemu
    #[arg(
        long,
        value_name = "PROGRAM",
        help_heading = "Output",
        conflicts_with = "in_first_guest"
    )]
    pub on_mark: Option<PathBuf>,
    /// Print what would be started, and start nothing
    #[arg(long, help_heading = "Output")]
    pub dry_run: bool,
    /// Explain what is done; twice: the guest's serial log as well
    #[arg(long, short, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
    /// No progress lines even on a terminal
    #[arg(long, short, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,
    /// Persistent memory that is physical memory here
    #[arg(skip)]
    pub pmem_at: Vec<Range<u64>>,
    /// Run the command in the first guest of nested mode itself
    #[arg(long, hide = true)]
    pub in_first_guest: bool,
}

/// What emulates the CPU.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Accel {
    /// KVM where a probe guest runs on it
    Auto,
    /// KVM, untried
    Kvm,
    /// A first guest under QEMU's TCG, and KVM inside it
    Nested,
    /// QEMU's own emulation (farfault qemu)
    Tcg,
}

/// `farfault serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Socket of a device, which is made with mode 0600 (repeatable: a device each)
    #[arg(long = "socket", value_name = "PATH", required = true)]
    pub sockets: Vec<PathBuf>,
    /// The accelerator: engines=N, lookahead=PAGES, tlb=ENTRIES, vram=SIZE, atomics=off,
    /// failing_copies=N, stuck_copy=N
    #[arg(long, value_name = "KEY=VALUE,…", default_value = "", hide_default_value = true)]
    pub device: String,
    /// Descriptor to which a newline is written when clients can come
    #[arg(long, value_name = "N")]
    pub ready_fd: Option<u32>,
}

/// `farfault states`.
#[derive(Debug, Args)]
pub struct StatesArgs {
    /// Remove the state of this name (repeatable)
    #[arg(long, value_name = "NAME")]
    pub remove: Vec<String>,
    /// Remove all states
    #[arg(long)]
    pub remove_all: bool,
}

/// `farfault decode`: of `farfault run` what says which code the guest ran.
#[derive(Debug, Args)]
pub struct DecodeArgs {
    /// Image directory of the guest [default: as of run]
    #[arg(long, value_name = "DIR")]
    pub image: Option<PathBuf>,
    /// Its kernel, if not the image's: ELF
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// A module that is not the image's (repeatable)
    #[arg(long = "file", value_name = "HOST[:GUEST]")]
    pub files: Vec<UserFile>,
}

/// `farfault doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Image directory to look at
    #[arg(long, value_name = "DIR")]
    pub image: Option<PathBuf>,
    /// QEMU to look at
    #[arg(long, value_name = "FILE")]
    pub qemu: Option<PathBuf>,
    /// Boot a guest on KVM, keep its state, go on from that, and say whether all is as it must
    /// be: exit code 0, 70 if it is not, 69 if KVM cannot be used
    #[arg(long)]
    pub self_test: bool,
}

/// The one line that a refused command line gets. clap's own report is a
/// paragraph; what it says first is what was wrong.
pub fn complaint(error: &clap::Error) -> String {
    let report = error.to_string();
    let first: Vec<&str> = report
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty() && !line.starts_with("Usage:"))
        .collect();
    let text = first.join(" ");
    format!("{} (try --help)", text.strip_prefix("error: ").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        let words = std::iter::once("farfault").chain(line.split_whitespace());
        Cli::try_parse_from(words).map_err(|error| complaint(&error))
    }

    fn run(line: &str) -> RunArgs {
        match parse(line).expect("a good command line").action {
            Action::Run(args) => args,
            other => panic!("not run: {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let args = run("run --memory 1G --cpus 4 -- sh -c exit --stats");
        assert_eq!(args.command, ["sh", "-c", "exit", "--stats"]);
        assert_eq!((args.vm.memory, args.vm.cpus, args.vm.stats), (1 << 30, 4, false));
        assert_eq!(run("run sh -c true").command, ["sh", "-c", "true"]);
    }

    #[test]
    fn qemu_takes_what_run_does_and_needs_no_command() {
        let qemu = |line: &str| match parse(line).expect("a good command line").action {
            Action::Qemu(args) => args,
            other => panic!("not qemu: {other:?}"),
        };
        let options = "--memory 1G --iommu --file a:/b -n --accel kvm";
        let args = qemu(&format!("qemu {options} -- sh --stats"));
        assert_eq!(args.vm, run(&format!("run {options} -- sh --stats")).vm);
        assert_eq!(args.command, ["sh", "--stats"]);
        assert!(qemu("qemu --accel tcg").command.is_empty());
    }

    #[test]
    fn options_repeat_where_that_makes_sense() {
        let args = run("run --file a:/b --file c --env A=1 --env B=2 -vv -- true");
        assert_eq!((args.vm.files.len(), args.vm.env.len(), args.vm.verbose), (2, 2, 2));
    }

    #[test]
    fn a_bad_line_gets_one_line() {
        let cases = [
            ("run --bogus -- true", "unexpected argument '--bogus' found"),
            ("run", "the following required arguments were not provided: <CMD>..."),
            ("run --memory 1X -- true", "invalid value '1X' for '--memory <SIZE>'"),
            ("run --cpus 17 -- true", "invalid value '17' for '--cpus <N>'"),
            ("run --cpus 0 -- true", "invalid value '0' for '--cpus <N>'"),
            ("run --accel xen -- true", "invalid value 'xen' for '--accel <ACCEL>'"),
            ("run --file a:b -- true", "invalid value 'a:b' for '--file <HOST[:GUEST]>'"),
            ("run --timeout never -- true", "invalid value 'never' for '--timeout <SECONDS>'"),
            ("run --gdb 0 -- true", "invalid value '0' for '--gdb <PORT[,wait]>'"),
            ("run --gdb gdb -- true", "invalid value 'gdb' for '--gdb <PORT[,wait]>'"),
            ("run --vfio nvme0 -- true", "invalid value 'nvme0' for '--vfio <SEGMENT:BUS:DEV.FN>'"),
            (
                "run --vfio 01:00.0 --iommu -- true",
                "the argument '--vfio <SEGMENT:BUS:DEV.FN>' cannot be used with '--iommu'",
            ),
            ("fly", "unrecognized subcommand 'fly'"),
        ];
        for (line, expected) in cases {
            let complaint = parse(line).expect_err(line);
            assert!(complaint.starts_with(expected), "{line}: {complaint}");
            assert!(complaint.ends_with("(try --help)"), "{complaint}");
            assert_eq!(complaint.lines().count(), 1, "{complaint}");
        }
    }
}
