// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Debuggers that speak the protocol by hand, and a machine that is none: each of its
//! instructions takes one byte, and none does anything.

use super::*;
use kvm_bindings::kvm_sregs;
use parking_lot::Mutex;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const CODE: u64 = 0x1000;
/// In DR6.
const STEPPED: u64 = 1 << 14;
const PATIENCE: Duration = Duration::from_secs(20);

struct Machine {
    cpus: Mutex<[Registers; 2]>,
    /// Four pages; the machine has no page tables.
    memory: Mutex<[u8; 16384]>,
    hits: Mutex<Vec<Hit>>,
    bell: EventFd,
    /// What was done to it.
    done: Mutex<Vec<String>>,
    ended: Mutex<bool>,
}

impl Machine {
    fn new() -> Machine {
        let mut cpu = Registers::default();
        (cpu.general.rip, cpu.general.rax) = (CODE, 0x1234);
        Machine {
            cpus: Mutex::new([cpu.clone(), cpu]),
            memory: Mutex::new([0; 16384]),
            hits: Mutex::default(),
            bell: EventFd::new(EFD_NONBLOCK).expect("an eventfd"),
            done: Mutex::default(),
            ended: Mutex::new(false),
        }
    }

    fn meet(&self, cpu: usize, dr6: u64) {
        self.hits.lock().push(Hit { cpu, dr6 });
        self.bell.write(1).expect("rung");
    }

    fn note(&self, what: String) {
        self.done.lock().push(what);
    }
}

impl Debuggee for Machine {
    fn cpus(&self) -> usize {
        2
    }

    fn halt(&self) {}

    /// A step takes one instruction, and a run goes on to the first trap or for ever.
    fn go_on(&self, traps: &Traps, actions: &[Action]) {
        let registers = traps.debug_registers();
        self.note(format!("{:x} {actions:?}", registers[7]));
        for (cpu, action) in actions.iter().enumerate() {
            let rip = &mut self.cpus.lock()[cpu].general.rip;
            if *action == Action::Step {
                *rip += 1;
                self.meet(cpu, STEPPED);
            } else if *action == Action::Run && registers[7] & 2 != 0 && registers[0] >= *rip {
                *rip = registers[0];
                self.meet(cpu, 1);
            }
        }
    }

    fn give_back(&self, hit: Hit) {
        self.note(format!("given back {hit:x?}"));
    }

    fn take_hits(&self) -> Vec<Hit> {
        let _ = self.bell.read();
        std::mem::take(&mut self.hits.lock())
    }

    #[allow(unsafe_code)]
    fn bell(&self) -> BorrowedFd<'_> {
        // SAFETY: it is open as long as the machine is.
        unsafe { BorrowedFd::borrow_raw(self.bell.as_raw_fd()) }
    }

    fn has_ended(&self) -> bool {
        *self.ended.lock()
    }

    fn kill(&self) {
        *self.ended.lock() = true;
        self.note("killed".to_owned());
    }

    fn registers(&self, cpu: usize) -> io::Result<Registers> {
        self.cpus.lock().get(cpu).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set_registers(&self, cpu: usize, registers: &Registers) -> io::Result<()> {
        self.cpus.lock()[cpu] = registers.clone();
        Ok(())
    }

    fn state(&self, _cpu: usize) -> &'static str {
        "runs"
    }

    fn system(&self, cpu: usize) -> io::Result<kvm_sregs> {
        Ok(self.registers(cpu)?.system)
    }

    fn read(&self, physical: u64, data: &mut [u8]) -> io::Result<()> {
        let (at, memory) = (physical as usize, self.memory.lock());
        let found = memory.get(at..at + data.len()).ok_or(io::ErrorKind::NotFound)?;
        data.copy_from_slice(found);
        Ok(())
    }

    fn write(&self, physical: u64, data: &[u8]) -> io::Result<()> {
        let at = physical as usize;
        self.memory.lock()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// A debugger.
struct Gdb(BufReader<TcpStream>);

impl Gdb {
    fn say(&mut self, packet: &str) {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        write!(self.0.get_mut(), "${packet}#{sum:02x}").expect("sent");
    }

    /// The next packet that it is told, with repetitions (`0*` and a count) as they come.
    fn hear(&mut self) -> String {
        let mut bytes = self.0.by_ref().bytes().map(|byte| char::from(byte.expect("a byte")));
        let packet = bytes.by_ref().skip_while(|c| *c != '$').skip(1);
        let packet: String = packet.take_while(|c| *c != '#').collect();
        let _sum: Vec<_> = bytes.take(2).collect();
        self.0.get_mut().write_all(b"+").expect("sent");
        packet
    }

    fn ask(&mut self, packet: &str) -> String {
        self.say(packet);
        self.hear()
    }
}

/// Ends a machine, also when its test fails.
struct End<'a>(&'a Machine);

impl Drop for End<'_> {
    fn drop(&mut self) {
        *self.0.ended.lock() = true;
        self.0.bell.write(1).expect("rung");
    }
}

fn wait_until(it_is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !it_is_so() {
        assert!(start.elapsed() < PATIENCE, "it never happens");
        thread::yield_now();
    }
}

/// Has a machine with debuggers; what was done to it.
fn with_debuggers(wait: bool, act: impl FnOnce(&Machine, &dyn Fn() -> Gdb)) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let invitation = Invitation { port: Port::Tcp(listener), number: address.port(), wait };
    let machine = Machine::new();
    let attach = || {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Gdb(BufReader::new(stream))
    };
    thread::scope(|scope| {
        scope.spawn(|| serve(&invitation, &machine));
        let _end = End(&machine);
        act(&machine, &attach);
    });
    machine.done.into_inner()
}

#[test]
fn registers_memory_and_threads_are_looked_at_and_changed() {
    with_debuggers(false, |machine, attach| {
        let mut gdb = attach();
        assert!(gdb.ask("?").starts_with("T05") || gdb.ask("?").starts_with("S05"));
        assert_eq!(
            (gdb.ask("qfThreadInfo"), gdb.ask("qsThreadInfo")),
            ("m01,02".into(), "l".into())
        );
        assert_eq!(gdb.ask("Hg2"), "OK");
        assert!(gdb.ask("g").starts_with("34120*"), "rax comes first");
        assert_eq!(gdb.ask("M1ffe,4:01020304"), "OK");
        assert_eq!(machine.memory.lock()[0x1ffe..0x2002], [1, 2, 3, 4]);
        assert_eq!(gdb.ask("m1ffe,4"), "01020304");
        assert_eq!(gdb.ask("m4000,4"), "E0e");
        // As much as there is: a zero, and three more.
        assert_eq!(gdb.ask("m3ffe,4"), "0* ");
    });
}

#[test]
fn a_breakpoint_is_met_and_stepped_from() {
    let done = with_debuggers(true, |_, attach| {
        let mut gdb = attach();
        assert_eq!(gdb.ask(&format!("Z1,{:x},1", CODE + 16)), "OK");
        assert_eq!(gdb.ask("vCont;c"), "T05thread:01;hwbreak:;");
        assert_eq!(gdb.ask(&format!("z1,{:x},1", CODE + 16)), "OK");
        assert_eq!(gdb.ask("vCont;s:1"), "T05thread:01;");
        assert_eq!(gdb.ask("vCont;s:2;c"), "T05thread:02;");
        gdb.say("D");
        assert_eq!(gdb.hear(), "OK");
    });
    assert_eq!(
        done,
        ["602 [Run, Run]", "600 [Step, StandStill]", "600 [Run, Step]", "600 [Run, Run]"]
    );
}

#[test]
fn there_is_no_fifth_breakpoint() {
    with_debuggers(false, |_, attach| {
        let mut gdb = attach();
        for address in 1..5 {
            assert_eq!(gdb.ask(&format!("Z0,{address:x},1")), "OK");
        }
        assert_eq!(gdb.ask("Z2,8,8"), "E1c");
        assert_eq!(gdb.ask("z0,1,1"), "OK");
        assert_eq!(gdb.ask("Z2,8,8"), "OK");
    });
}

#[test]
fn what_the_guest_has_met_of_its_own_is_given_back() {
    let done = with_debuggers(false, |machine, attach| {
        let mut gdb = attach();
        gdb.ask("?");
        gdb.say("vCont;c");
        wait_until(|| machine.done.lock().len() == 1);
        machine.meet(1, STEPPED);
        wait_until(|| machine.done.lock().len() == 3);
        gdb.0.get_mut().write_all(b"\x03").expect("sent");
        assert_eq!(gdb.hear(), "T02thread:01;");
    });
    assert_eq!(
        done[..3],
        ["600 [Run, Run]", "given back Hit { cpu: 1, dr6: 4000 }", "600 [Run, Run]"]
    );
}

#[test]
fn the_guest_goes_on_when_its_debugger_is_lost_and_ends_when_it_kills() {
    let done = with_debuggers(false, |machine, attach| {
        let mut lost = attach();
        assert_eq!(lost.ask(&format!("Z1,{CODE:x},1")), "OK");
        drop(lost);
        let mut killer = attach();
        killer.ask("?");
        assert_eq!(*machine.done.lock(), ["600 [Run, Run]"]);
        killer.say("k");
        wait_until(|| machine.has_ended());
    });
    assert_eq!(done, ["600 [Run, Run]", "killed"]);
}

#[test]
fn a_debugger_hears_of_the_end() {
    with_debuggers(false, |machine, attach| {
        let mut gdb = attach();
        gdb.ask("?");
        gdb.say("vCont;c");
        wait_until(|| !machine.done.lock().is_empty());
        *machine.ended.lock() = true;
        machine.bell.write(1).expect("rung");
        assert_eq!(gdb.hear(), "W00");
    });
}

#[test]
fn what_is_no_packet_does_no_harm() {
    let done = with_debuggers(false, |_, attach| {
        let mut gdb = attach();
        gdb.0
            .get_mut()
            .write_all(b"GET / HTTP/1.1\r\n\r\n\xff$#00$#zz$Z1,#00$vCont;s:99#00")
            .expect("sent");
        drop(gdb);
        assert_eq!(attach().ask("qfThreadInfo"), "m01,02");
    });
    assert!(done.iter().all(|what| what.starts_with("600 ")), "{done:?}");
}
