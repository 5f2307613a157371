// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A debugger attaches to a guest's kernel: one that vanishes, and one that does all there is.

use farfault_tests::check::{Check, ensure};
use farfault_tests::gdb::Gdb;
use farfault_tests::run::Farfault;
use farfault_tests::unit::Unit;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// Prints where symbols are, and sets the host's name when it is told so.
const SCRIPT: &str = "\
grep -E ' (linux_banner|jiffies_64|__x64_sys_sethostname)$' /proc/kallsyms
echo ready
read go
hostname debugged
hostname
exit 37";
const CODE: i32 = 37;
/// As long as the name in the script.
const OTHER_NAME: &str = "observed";
const ATTACH: &str = "gdb can attach now";
/// Of a `pt_regs`, where a system call's first argument is.
const ARGUMENT: u64 = 0x70;
const RDI: usize = 5;
const RIP: usize = 16;
/// Where a kernel begins that is not yet where it belongs.
const LOW: u64 = 1 << 32;
/// More than an instruction has bytes.
const NEAR: u64 = 16;

pub fn units() -> Vec<Unit> {
    vec![Unit::new("debugger", run)]
}

/// A guest that waits for its debugger.
struct Guest {
    child: Child,
    stdin: ChildStdin,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    port: u16,
    patience: Duration,
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Guest {
    fn start(farfault: &Farfault) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot start a guest: {error}");
        let any = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
        let port = any.map_err(failed)?.port();
        let mut child = farfault
            .command()
            .args(["run", "--cpus=2", "--memory=1G", &format!("--gdb={port},wait")])
            .args(["--", "sh", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let stdin = stdin.ok_or("a guest has no input")?;
        let patience = Duration::from_secs(120 * farfault.kernel.slowness());
        let (stdout, stderr) = (lines(stdout), lines(stderr));
        Ok(Self { child, stdin, stdout, stderr, port, patience })
    }

    fn attach(&self) -> Result<Gdb, String> {
        Gdb::attach(self.port, self.patience).map_err(|error| format!("cannot attach: {error}"))
    }

    fn next(&self, from: &Receiver<String>) -> Result<String, String> {
        from.recv_timeout(self.patience).map_err(|error| format!("no line: {error}"))
    }

    /// Symbols by name, as the guest prints them when it is ready.
    fn symbols(&self) -> Result<BTreeMap<String, u64>, String> {
        let mut symbols = BTreeMap::new();
        loop {
            let line = self.next(&self.stdout)?;
            if line == "ready" {
                return Ok(symbols);
            }
            let words: Vec<&str> = line.split(' ').collect();
            if let [address, _, name] = words[..]
                && let Ok(address) = u64::from_str_radix(address, 16)
            {
                symbols.insert(name.to_owned(), address);
            }
        }
    }
}

/// Lines that a thread reads.
fn lines(from: Option<impl std::io::Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = from.into_iter().flat_map(|from| BufReader::new(from).lines());
        lines.map_while(Result::ok).all(|line| sender.send(line).is_ok())
    });
    receiver
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let mut guest = Guest::start(farfault)?;
    let told = guest.next(&guest.stderr)?;
    ensure(told.contains(ATTACH), || told.clone())?;
    let mut checks = vec![Check::new("a guest waits for its debugger", waits(&guest))];
    let symbols = guest.symbols();
    checks.push(Check::new(
        "it goes on when that vanishes",
        symbols.as_ref().map(drop).map_err(Clone::clone),
    ));
    let symbols = symbols.unwrap_or_default();
    let mut gdb = guest.attach()?;
    checks.push(Check::new("threads", threads(&mut gdb)));
    checks.push(Check::new("interrupt", interrupt(&mut gdb)));
    let stopped = breakpoint(&mut gdb, &mut guest, &symbols);
    let thread = stopped.clone().unwrap_or_default();
    checks.push(Check::new("breakpoint", stopped.map(drop)));
    checks.push(Check::new("memory", memory(&mut gdb, &symbols)));
    checks.push(Check::new("step", step(&mut gdb, &thread)));
    checks.push(Check::new("watchpoint", watchpoint(&mut gdb, &symbols)));
    checks.push(Check::new("detach", detach(&mut gdb, &mut guest)));
    Ok(checks)
}

/// What is connected goes away when this returns.
fn waits(guest: &Guest) -> Result<(), String> {
    let mut gdb = guest.attach()?;
    let rip = gdb.register(RIP).map_err(said)?;
    ensure(rip < LOW, || format!("the guest is at {rip:#x} already"))
}

fn threads(gdb: &mut Gdb) -> Result<(), String> {
    same(&gdb.ask("qfThreadInfo").map_err(said)?, "m01,02")
}

fn interrupt(gdb: &mut Gdb) -> Result<(), String> {
    gdb.say("vCont;c").map_err(said)?;
    gdb.interrupt().map_err(said)?;
    begins(&gdb.hear().map_err(said)?, "T02")
}

/// Stops where the guest sets its name; the thread that does.
fn breakpoint(
    gdb: &mut Gdb,
    guest: &mut Guest,
    symbols: &BTreeMap<String, u64>,
) -> Result<String, String> {
    let address = symbol(symbols, "__x64_sys_sethostname")?;
    same(&gdb.ask(&format!("Z1,{address:x},1")).map_err(said)?, "OK")?;
    gdb.say("vCont;c").map_err(said)?;
    guest.stdin.write_all(b"go\n").map_err(said)?;
    let reply = gdb.hear().map_err(said)?;
    let thread = reply.strip_prefix("T05thread:").and_then(|rest| rest.split(';').next());
    let thread = thread.filter(|_| reply.contains(";hwbreak:")).ok_or(reply.clone())?;
    let rip = gdb.register(RIP).map_err(said)?;
    ensure(rip == address, || format!("at {rip:#x} instead of {address:#x}"))?;
    same(&gdb.ask(&format!("z1,{address:x},1")).map_err(said)?, "OK")?;
    Ok(thread.to_owned())
}

/// Reads the kernel's memory, and reads and writes the process's.
fn memory(gdb: &mut Gdb, symbols: &BTreeMap<String, u64>) -> Result<(), String> {
    let banner = gdb.memory(symbol(symbols, "linux_banner")?, 13).map_err(said)?;
    same(&String::from_utf8_lossy(&banner), "Linux version")?;
    let registers = gdb.register(RDI).map_err(said)?;
    let name = gdb.pointer(registers + ARGUMENT).map_err(said)?;
    let found = gdb.memory(name, OTHER_NAME.len()).map_err(said)?;
    same(&String::from_utf8_lossy(&found), "debugged")?;
    let other: String = OTHER_NAME.bytes().map(|byte| format!("{byte:02x}")).collect();
    same(&gdb.ask(&format!("M{name:x},{:x}:{other}", OTHER_NAME.len())).map_err(said)?, "OK")
}

/// One CPU takes one instruction, the other none.
fn step(gdb: &mut Gdb, thread: &str) -> Result<(), String> {
    let before = gdb.register(RIP).map_err(said)?;
    begins(&gdb.ask(&format!("vCont;s:{thread}")).map_err(said)?, "T05thread:")?;
    let after = gdb.register(RIP).map_err(said)?;
    ensure(after > before && after - before < NEAR, || format!("from {before:#x} to {after:#x}"))
}

/// Stops when time goes on.
fn watchpoint(gdb: &mut Gdb, symbols: &BTreeMap<String, u64>) -> Result<(), String> {
    let address = symbol(symbols, "jiffies_64")?;
    let before = gdb.pointer(address).map_err(said)?;
    same(&gdb.ask(&format!("Z2,{address:x},8")).map_err(said)?, "OK")?;
    let reply = gdb.ask("vCont;c").map_err(said)?;
    ensure(reply.contains(&format!("watch:{address:x}")), || reply.clone())?;
    let after = gdb.pointer(address).map_err(said)?;
    ensure(after > before, || format!("from {before} to {after}"))
}

/// The guest goes on, without the watchpoint, and has the name that was written.
fn detach(gdb: &mut Gdb, guest: &mut Guest) -> Result<(), String> {
    same(&gdb.ask("D").map_err(said)?, "OK")?;
    same(&guest.next(&guest.stdout)?, OTHER_NAME)?;
    let status = guest.child.wait().map_err(said)?;
    ensure(status.code() == Some(CODE), || format!("it ended with {status}"))
}

fn symbol(symbols: &BTreeMap<String, u64>, name: &str) -> Result<u64, String> {
    symbols.get(name).copied().ok_or_else(|| format!("the guest has no {name}"))
}

fn same(found: &str, wanted: &str) -> Result<(), String> {
    ensure(found == wanted, || format!("'{found}' instead of '{wanted}'"))
}

fn begins(found: &str, wanted: &str) -> Result<(), String> {
    ensure(found.starts_with(wanted), || format!("'{found}' instead of '{wanted}…'"))
}

fn said(error: impl Display) -> String {
    error.to_string()
}
