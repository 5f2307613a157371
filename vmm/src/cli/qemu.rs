// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `farfault qemu`.

use super::dry;
use super::options::{Accel, QemuArgs, VmArgs};
use super::plan::{Plan, machine_failure};
use super::request::Request;
use super::run::{account, give_out, progress, recorder, session, tell_decoded};
use super::stats_file::StatsFile;
use crate::exit::{Failure, HOST_LACKS};
use crate::output::print;
use crate::probe;
use crate::served::{Emulator, ServedError};
use crate::session::RunEnd;
use crate::stats::Sample;

/// Runs the guest that is asked for on QEMU, or prints what would be started.
pub fn run(args: &QemuArgs) -> Result<u8, Failure> {
    let QemuArgs { vm: args, command } = args;
    let command = Some(command).filter(|command| !command.is_empty()).cloned();
    let plan = Plan::new(&Request { vm: args.clone(), command })?.with_late_device();
    let stats = args.stats_json.as_deref().map(StatsFile::open).transpose()?;
    let served = plan.served(emulator(args)?)?;
    if args.dry_run {
        served.check().map_err(failure)?;
        return print(&dry::served(&served)).map(|()| 0);
    }
    if args.verbose > 0 {
        let words = dry::quoted(&served.words());
        let version = served.qemu.version().map_err(Failure::host_lacks)?;
        progress(args, &format!("QEMU {version} as {words}"));
    }
    let mut session = session(args, &plan, false)?;
    let mut recorder = recorder("qemu", args);
    let mut counted = Sample::default();
    let run = served.run(&mut session, &mut recorder, &mut counted);
    let result = run.map_err(failure)?;
    drop(session);
    tell_decoded(&plan, &account(args, &result, ""));
    give_out(args, &recorder.report(counted), stats)?;
    // A QEMU that never came to run the guest is this host's, and not ours.
    let never_ran = !result.started && matches!(result.end, RunEnd::Failed(_));
    Ok(if never_ran { HOST_LACKS } else { result.end.code() })
}

/// What shall emulate the CPU.
fn emulator(args: &VmArgs) -> Result<Emulator, Failure> {
    if args.in_first_guest || args.accel == Accel::Nested {
        return Err(Failure::usage("farfault qemu has no first guest: --accel nested is for run"));
    }
    if let Some(address) = args.vfio.first() {
        return Err(Failure::usage(format!("--vfio {address} is for farfault run, on KVM")));
    }
    Ok(match args.accel {
        Accel::Kvm => Emulator::Kvm,
        Accel::Auto => match probe::kvm() {
            Ok(()) => Emulator::Kvm,
            Err(why) => {
                progress(args, &format!("no usable KVM, so TCG: {why}"));
                Emulator::Tcg
            }
        },
        Accel::Tcg | Accel::Nested => Emulator::Tcg,
    })
}

fn failure(error: ServedError) -> Failure {
    match error {
        ServedError::Start(..) => Failure::host_lacks(error),
        ServedError::Pmem(error) => machine_failure(error.into()),
        ServedError::Machine(error) => machine_failure(error),
        _ => Failure::vmm(error),
    }
}
