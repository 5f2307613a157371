// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accelerator in a process of its own, and QEMU as its client: one guest after the other
//! on one server, the second one behind an IOMMU.

use farfault_tests::check::{Check, ensure};
use farfault_tests::kernel_log;
use farfault_tests::run::Farfault;
use farfault_tests::tools;
use farfault_tests::unit::Unit;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// What a guest does, as its first process.
const SCRIPT: &str = "\
mount -t devtmpfs none /dev; mount -t proc none /proc; mount -t sysfs none /sys; \
mount -t debugfs none /sys/kernel/debug; insmod /lib/modules/farfault.ko && saxpy 100000 && \
for d in /sys/bus/pci/drivers/farfault/0*; do echo 1 >$d/reset; done && saxpy 1000 && stress && \
leaks && rmmod farfault && echo all is well; poweroff -f";

/// The device behind a port, and on the root bus behind an IOMMU.
const GUESTS: [(&str, &[&str], &str, &str); 2] = [
    ("behind a port", &["-device", "pcie-root-port,id=behind"], "behind", ""),
    (
        "behind an IOMMU",
        &["-device", "amd-iommu,intremap=on,dma-remap=on"],
        "pcie.0",
        "iommu.strict=1",
    ),
];

pub fn units() -> Vec<Unit> {
    vec![Unit::new("serve", run)]
}

/// A process that ends with its test.
struct Running {
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
    fn start(command: &mut Command, patience: Duration) -> Result<Self, String> {
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
    fn hear(&self, is_last: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
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
    let patience = Duration::from_secs(240 * farfault.kernel.slowness());
    let mut command = farfault.command();
    command.args(["serve", "--ready-fd=1", "--socket"]).arg(&socket);
    let mut server = Running::start(&mut command, 2 * patience)?;
    server.hear(str::is_empty)?;
    let mut checks = Vec::new();
    for (name, devices, bus, words) in GUESTS {
        let mut command = qemu(farfault, words)?;
        command.args(devices).arg("-device").arg(client(&socket, bus));
        let guest = Running::start(&mut command, patience)?;
        let heard = guest.hear(|_| false)?;
        let well = heard.iter().any(|line| line.ends_with("all is well"));
        let heard = heard.join("\n");
        let clean = kernel_log::complaints(&heard).is_empty();
        checks.push(Check::new(name, ensure(well && clean, || heard)));
    }
    let kill = format!("kill -TERM {}", server.child.id());
    let killed = Command::new("sh").args(["-c", &kill]).status();
    ensure(killed.is_ok_and(|status| status.success()), || kill)?;
    let said = server.hear(|_| false)?;
    let code = server.child.wait().map_err(|error| error.to_string())?.code();
    let ended = ensure(code == Some(143) && said.is_empty() && !socket.exists(), || {
        format!("exit code {code:?}, and it said: {}", said.join("\n"))
    });
    checks.push(Check::new("the server ends by SIGTERM", ended));
    Ok(checks)
}

/// The option that makes QEMU a client.
fn client(socket: &Path, bus: &str) -> String {
    let socket = serde_json::json!({ "type": "unix", "path": socket });
    let device = serde_json::json!({
        "driver": "vfio-user-pci", "bus": bus, "socket": socket, "x-msg-timeout": 60000
    });
    device.to_string()
}

/// The tools tree's QEMU with the image's guest in it, whose memory is shared.
fn qemu(farfault: &Farfault, kernel_words: &str) -> Result<Command, String> {
    let words = tools::qemu(&farfault.tools()?);
    let (program, arguments) = words.split_first().ok_or("no QEMU")?;
    let mut command = Command::new(program);
    command.args(arguments);
    let options = "-nodefaults -no-user-config -display none -no-reboot -serial stdio \
                   -accel tcg,thread=multi -cpu max -smp 2 -m 1G \
                   -object memory-backend-memfd,id=ram,size=1G,share=on \
                   -machine q35,memory-backend=ram,kernel-irqchip=split";
    command.args(options.split_whitespace());
    command.arg("-kernel").arg(farfault.image.join("vmlinuz"));
    command.arg("-initrd").arg(farfault.image.join("initrd"));
    let kernel = format!("console=ttyS0 quiet panic=-1 reboot=t rdinit=/bin/sh {kernel_words}");
    command.arg("-append").arg(format!("{kernel} -- -c \"{SCRIPT}\""));
    Ok(command)
}
