// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accelerator in a process of its own, and QEMU as its client: one guest after the other
//! on one server, one that boots again, one behind an IOMMU; and a server that is killed.

use farfault_tests::check::{Check, ensure};
use farfault_tests::kernel_log;
use farfault_tests::run::{Farfault, QUICK_BOOT};
use farfault_tests::tools;
use farfault_tests::unit::Unit;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// What a guest does first, as its first process.
const BEGINNING: &str = "\
echo process 1; mount -t devtmpfs none /dev; mount -t proc none /proc; mount -t sysfs none /sys; \
mount -t debugfs none /sys/kernel/debug; insmod /lib/modules/farfault.ko";

/// What it says when it has come so far.
const BEGUN: &str = "process 1";
/// What it says when all is well.
const WELL: &str = "all is well";

/// A guest of the server.
struct Client {
    name: &'static str,
    /// QEMU's options beside the usual ones.
    devices: &'static [&'static str],
    /// Where the accelerator is.
    bus: &'static str,
    /// The kernel's words beside the usual ones.
    words: &'static str,
    /// What it does with the accelerator.
    script: &'static str,
    /// How often it says that all is well.
    boots: usize,
}

const PORT: [&str; 2] = ["-device", "pcie-root-port,id=behind"];

const CLIENTS: [Client; 2] = [
    Client {
        name: "behind a port, and again after a reboot",
        devices: &PORT,
        bus: "behind",
        words: "",
        script: WORK,
        boots: 2,
    },
    Client {
        name: "behind an IOMMU",
        devices: &["-device", "amd-iommu,intremap=on,dma-remap=on"],
        bus: "pcie.0",
        words: "iommu.strict=1",
        script: WORK,
        boots: 1,
    },
];

const WORK: &str = "\
saxpy 100000 && for d in /sys/bus/pci/drivers/farfault/0*; do echo 1 >$d/reset; done && \
saxpy 1000 && stress && leaks && rmmod farfault && echo all is well";

/// The guest whose server is killed when it says that it has begun.
const BEREFT: Client = Client {
    name: "a guest whose server is killed",
    devices: &PORT,
    bus: "behind",
    words: "",
    script: "echo it has begun; while saxpy 100000; do :; done; saxpy 1; \
             rmmod farfault && echo all is well",
    boots: 1,
};

pub fn units() -> Vec<Unit> {
    vec![Unit::new("serve", run)]
}

/// A process that ends with its test.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    deadline: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn start(command: &mut Command, patience: Duration) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let spawned = command.spawn();
        let mut child = spawned.map_err(|error| format!("cannot start {command:?}: {error}"))?;
        let (sender, lines) = mpsc::channel();
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for stream in streams.into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                let lines = BufReader::new(stream).split(b'\n').map_while(Result::ok);
                let text = lines.map(|line| String::from_utf8_lossy(&line).trim_end().to_owned());
                text.into_iter().all(|line| sender.send(line).is_ok())
            });
        }
        Ok(Self { child, lines, deadline: Instant::now() + patience })
    }

    /// All that it says up to a line that `is_last`, or to its end.
    pub fn hear(&self, is_last: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
        let mut heard = Vec::new();
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    heard.push(line);
                    if heard.last().is_some_and(|line| is_last(line)) {
                        return Ok(heard);
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(heard),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(format!("it takes too long: {}", heard.join("\n")));
                }
            }
        }
    }
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let socket = folder.path().join("accelerator");
    let mut server = serve(farfault, &socket)?;
    let mut checks = Vec::new();
    for client in &CLIENTS {
        checks.push(Check::new(client.name, attach(farfault, client, &socket)));
    }
    checks.push(Check::new("the server ends by SIGTERM", end(&mut server, &socket)));
    let lonely = folder.path().join("killed");
    checks.push(Check::new(BEREFT.name, bereave(farfault, serve(farfault, &lonely)?, &lonely)));
    Ok(checks)
}

/// Long enough for all that is done here, one after the other.
fn patience(farfault: &Farfault) -> Duration {
    4 * boot_limit(farfault)
}

/// Long enough for a boot.
fn boot_limit(farfault: &Farfault) -> Duration {
    Duration::from_secs(60 * farfault.kernel.slowness())
}

/// A server that clients can come to.
fn serve(farfault: &Farfault, socket: &Path) -> Result<Running, String> {
    let mut command = farfault.command();
    command.args(["serve", "--ready-fd=1", "--socket"]).arg(socket);
    let server = Running::start(&mut command, 4 * patience(farfault))?;
    server.hear(str::is_empty)?;
    Ok(server)
}

/// A guest, and what it said on the way to process 1; or what one said that died before.
type Booted = Result<(Running, Vec<String>), String>;

/// A guest that has booted. A boot that hangs before, or panics, is
/// repeated once.
fn boot(
    farfault: &Farfault,
    client: &Client,
    socket: &Path,
) -> Result<(Running, Vec<String>), String> {
    let said = match boot_once(farfault, client, socket)? {
        Ok(booted) => return Ok(booted),
        Err(said) => said,
    };
    eprintln!("note: a boot died before process 1 and was repeated once: {said}");
    boot_once(farfault, client, socket)?.map_err(|said| format!("it does not boot: {said}"))
}

/// The same, where what one that died has said comes back.
fn boot_once(farfault: &Farfault, client: &Client, socket: &Path) -> Result<Booted, String> {
    let mut guest = Running::start(&mut qemu(farfault, client, socket)?, boot_limit(farfault))?;
    let heard = guest.hear(|line| line.ends_with(BEGUN));
    let said = heard.as_ref().map_or_else(String::clone, |heard| heard.join("\n"));
    match heard {
        Ok(heard) if said.ends_with(BEGUN) => {
            guest.deadline = Instant::now() + patience(farfault);
            Ok(Ok((guest, heard)))
        }
        Ok(_) if !said.contains("Kernel panic") => Err(format!("it does not boot: {said}")),
        _ => Ok(Err(said)),
    }
}

/// A guest does its work, as often as it is to boot.
fn attach(farfault: &Farfault, client: &Client, socket: &Path) -> Result<(), String> {
    let (guest, mut heard) = boot(farfault, client, socket)?;
    for _ in 0..client.boots {
        heard.extend(guest.hear(|line| line.ends_with(WELL))?);
    }
    if client.boots == 1 {
        heard.extend(guest.hear(|_| false)?);
    }
    judge(client, &heard)
}

/// The guest's processes are told, and its driver can go.
fn bereave(farfault: &Farfault, mut server: Running, socket: &Path) -> Result<(), String> {
    let (guest, mut heard) = boot(farfault, &BEREFT, socket)?;
    heard.extend(guest.hear(|line| line.ends_with("it has begun"))?);
    server.child.kill().map_err(|error| format!("cannot kill the server: {error}"))?;
    heard.extend(guest.hear(|_| false)?);
    judge(&BEREFT, &heard)?;
    let said = |words: &str| heard.iter().filter(|line| line.contains(words)).count();
    let told =
        ["it does not answer, device taken off the bus", "queue 0 is halted", "QUEUE_CREATE: EIO"]
            .map(said);
    ensure(told == [1; 3], || format!("said {told:?} times: {}", heard.join("\n")))
}

fn judge(client: &Client, heard: &[String]) -> Result<(), String> {
    let well = heard.iter().filter(|line| line.ends_with(WELL)).count();
    // A program that says what it met is no complaint of the kernel's.
    let log: Vec<&str> =
        heard.iter().map(String::as_str).filter(|line| !line.starts_with("saxpy: ")).collect();
    let complaints = kernel_log::complaints(&log.join("\n")).join("\n");
    ensure(well == client.boots && complaints.is_empty(), || {
        format!("{well} times well; complaints: {complaints}\n{}", heard.join("\n"))
    })
}

fn end(server: &mut Running, socket: &Path) -> Result<(), String> {
    let kill = format!("kill -TERM {}", server.child.id());
    let killed = Command::new("sh").args(["-c", &kill]).status();
    ensure(killed.is_ok_and(|status| status.success()), || kill)?;
    let said = server.hear(|_| false)?;
    let code = server.child.wait().map_err(|error| error.to_string())?.code();
    ensure(code == Some(143) && said.is_empty() && !socket.exists(), || {
        format!("exit code {code:?}, and it said: {}", said.join("\n"))
    })
}

/// The option that makes QEMU a client.
pub fn device(socket: &Path, bus: &str) -> String {
    let socket = serde_json::json!({ "type": "unix", "path": socket });
    let device = serde_json::json!({
        "driver": "vfio-user-pci", "bus": bus, "socket": socket, "x-msg-timeout": 60000
    });
    device.to_string()
}

/// The tools tree's QEMU, without any machine.
pub fn bare_qemu(farfault: &Farfault) -> Result<Command, String> {
    let all = tools::qemu(&farfault.tools()?);
    let (program, arguments) = all.split_first().ok_or("no QEMU")?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// QEMU with the image's guest in it, whose memory is shared.
fn qemu(farfault: &Farfault, client: &Client, socket: &Path) -> Result<Command, String> {
    let mut command = bare_qemu(farfault)?;
    let options = "-nodefaults -no-user-config -display none -serial stdio \
                   -accel tcg,thread=multi -cpu EPYC-Rome -smp 2 -m 1G \
                   -object memory-backend-memfd,id=ram,size=1G,share=on \
                   -machine q35,memory-backend=ram,kernel-irqchip=split";
    command.args(options.split_whitespace());
    // Where QEMU can enter it, nothing has to be unpacked.
    let kernel = if farfault.kernel.has("CONFIG_PVH") { "vmlinux" } else { "vmlinuz" };
    command.arg("-kernel").arg(farfault.image.join(kernel));
    command.arg("-initrd").arg(farfault.image.join("initrd"));
    let Client { devices, bus, words, script, boots, .. } = client;
    let end = if *boots == 1 { "poweroff -f" } else { "reboot -f" };
    if *boots == 1 {
        command.arg("-no-reboot");
    }
    // While the host is busy, a kernel that looks for its timer finds none.
    let kernel = format!(
        "console=ttyS0 quiet no_timer_check panic=-1 reboot=t rdinit=/bin/sh {QUICK_BOOT} {words}"
    );
    command.arg("-append").arg(format!("{kernel} -- -c \"{BEGINNING} && {{ {script}; {end}; }}\""));
    command.args(*devices).arg("-device").arg(device(socket, bus));
    Ok(command)
}
