// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many boots under one roof: in a first guest, where KVM is usable, guests of every shape
//! are booted one after another, and their ends and costs are looked at.

use farfault_tests::check::{Check, SWITCHED_OFF, clean_log, ended, ensure, found, says};
use farfault_tests::run::{Farfault, Finished, QUICK_BOOT, Ran, Step, script_of};
use farfault_tests::unit::Unit;
use serde_json::Value;
use std::{fs, io};
use tempfile::TempDir;

/// The first guest of all that run guests of their own in one: from one state.
pub const FIRST_GUEST: [&str; 3] = ["--in-first-guest", "--memory=4G", "--timeout=3000"];
/// The program in there.
const IN_FIRST_GUEST: &str = "XDG_CACHE_HOME=/tmp/cache /farfault/farfault run --accel=kvm";

/// Exits to userspace from start to process 1, PIO and MMIO together.
const BOOT_EXITS: u64 = 600;
/// Private memory of the VMM outside guest RAM.
const PRIVATE_KIB: u64 = 8 << 10;
/// The boots that must keep within these.
const MEASURED: [&str; 2] = ["elf", "bzimage-and-own-exit-code"];

/// A boot of a guest inside the first one.
pub struct Boot<'a> {
    pub name: &'a str,
    pub options: &'a str,
    /// What the guest's shell runs.
    pub script: &'a str,
    /// The exit code that it must have. One that ends by itself shows its kernel log too.
    pub code: i32,
    /// What must be in its output.
    pub says: &'a str,
    /// Whether it boots, even if it could go on from a kept state.
    pub fresh: bool,
}

const fn boot<'a>(name: &'a str, options: &'a str, script: &'a str) -> Boot<'a> {
    Boot { name, options, script, code: 0, says: "", fresh: true }
}

const fn ends<'a>(name: &'a str, script: &'a str, code: i32, says: &'a str) -> Boot<'a> {
    Boot { code, says, ..boot(name, "", script) }
}

/// The same for a guest that may go on from the state of one before it.
const fn goes_on<'a>(name: &'a str, script: &'a str, code: i32, says: &'a str) -> Boot<'a> {
    Boot { fresh: false, ..ends(name, script, code, says) }
}

/// Machines of every shape.
static SHAPES: [Boot; 4] = [
    boot("elf", "--kernel=/farfault/kernel", "true"),
    Boot { code: 37, ..boot("bzimage-and-own-exit-code", "--kernel=/vmlinuz", "(exit 37)") },
    boot(
        "four-cpus-and-memory-around-the-hole",
        "--cpus=4 --memory=4G",
        "test $(nproc) = 4 && saxpy 10000 && fpu-storm",
    ),
    // The image takes nearly all of 128 MiB; how much, depends on the compiler. A kernel that
    // checks itself takes more.
    boot("smallest", "--memory=$((FARFAULT_SLOWNESS > 1 ? 256 : 144))M", "saxpy 10000"),
];
/// What a guest finds, and guests that end otherwise than with their command.
static ENDS: [Boot; 6] = [
    // A file of the user's leaves what is there, loopback is up, and words are no panic.
    Boot {
        options: "--file=/bin/busybox:/usr/bin/nproc",
        ..goes_on(
            "surroundings",
            "env true && test -L /usr/bin && ping -c 1 127.0.0.1 >/dev/null && \
             echo Kernel panic - not syncing >/dev/ttyS0",
            0,
            "",
        )
    },
    goes_on("panic", "echo c > /proc/sysrq-trigger", GUEST_DIED, "the guest panicked"),
    goes_on("restart-at-once", "echo b > /proc/sysrq-trigger", SWITCHED_OFF, "restarted before"),
    goes_on("reboot", "reboot; sleep 1000", SWITCHED_OFF, "restarted before its command"),
    goes_on("poweroff", "poweroff; sleep 1000", SWITCHED_OFF, "switched itself off before"),
    goes_on("halt", "halt; sleep 1000", SWITCHED_OFF, "switched itself off before"),
];
/// Guests that never come to their command, or not to its end.
static FAILURES: [Boot; 8] = [
    ends("runs-where-nothing-is", "true", GUEST_DIED, "at 0x38000000 that cannot be run"),
    ends("runs-into-a-bar", "true", GUEST_DIED, "cannot be run: there is no memory"),
    ends("reads-a-port-four-times", "true", GUEST_DIED, "switched itself off"),
    Boot {
        options: "--boot-timeout=2",
        ..ends("spins", "true", TIMED_OUT, "vCPU 0: runs at rip 0x1000")
    },
    Boot {
        options: "--cmdline-append='initcall_blacklist=virtio_console_init,af_unix_init \
                  cryptomgr.notests=1'",
        ..ends("lacks-options", "true", GUEST_DIED, "lacks CONFIG_UNIX, CONFIG_VIRTIO_CONSOLE")
    },
    Boot {
        options: "--memory=128M --file=/farfault/kernel:/x",
        ..ends("fits-only-packed", "true", BAD_USAGE, "MiB (--memory ")
    },
    Boot {
        options: "--boot-timeout=3 \
                  --cmdline-append='rdinit=/bin/sh loglevel=7 cryptomgr.notests=1'",
        ..ends("never-answers", "true", TIMED_OUT, "  | ")
    },
    Boot {
        options: "--timeout=2 --cmdline-append='loglevel=7 cryptomgr.notests=1'",
        ..ends("time-limit", "sleep 1000", TIMED_OUT, "  | vCPU 0: ")
    },
];
/// Kernels of a few instructions, which begin in long mode with the first GiB mapped, each for
/// the boot of its name.
#[rustfmt::skip]
const BARE: [(&str, &[u8]); 4] = [
    ("runs-where-nothing-is", &[
        0xb8, 0x00, 0x00, 0x00, 0x38,             // mov eax, 0x38000000
        0xff, 0xe0,                               // jmp rax
    ]),
    // The boot's page directory, at 0xb000, gets the first BAR at 0.
    ("runs-into-a-bar", &[
        0xb8, 0x83, 0x00, 0x00, 0xc0,             // mov eax, 0xc0000083
        0x48, 0xa3, 0x00, 0xb0, 0, 0, 0, 0, 0, 0, // mov [0xb000], rax
        0x0f, 0x20, 0xd8,                         // mov rax, cr3
        0x0f, 0x22, 0xd8,                         // mov cr3, rax
        0x31, 0xc0,                               // xor eax, eax
        0xff, 0xe0,                               // jmp rax
    ]),
    ("reads-a-port-four-times", &[
        0xba, 0xfd, 0x03, 0x00, 0x00,             // mov edx, COM1's line status
        0xbf, 0x00, 0x08, 0x00, 0x01,             // mov edi, 0x1000800
        0xb9, 0x04, 0x00, 0x00, 0x00,             // mov ecx, 4
        0xf3, 0x6c,                               // rep insb
        0x8b, 0x04, 0x25, 0x00, 0x08, 0x00, 0x01, // mov eax, [0x1000800]
        0x89, 0xc1,                               // mov ecx, eax
        0xc1, 0xc1, 0x08,                         // rol ecx, 8
        0x39, 0xc8,                               // cmp eax, ecx
        0x75, 0x08,                               // jne fail
        0xba, 0x00, 0x06, 0x00, 0x00,             // mov edx, the sleep control register
        0xb0, 0x34,                               // mov al, soft off
        0xee,                                     // out dx, al
        0x0f, 0x0b,                               // fail: ud2
    ]),
    ("spins", &[0xeb, 0xfe]),                     // jmp $
];
/// Exit codes of `farfault` for guests that do not end with their command.
const BAD_USAGE: i32 = 64;
const GUEST_DIED: i32 = 120;
const TIMED_OUT: i32 = 124;

pub fn units() -> Vec<Unit> {
    let unit =
        |name: &str, boots: &'static [Boot]| Unit::new(name, |farfault| run(farfault, boots));
    vec![
        unit("machines::shapes", &SHAPES),
        unit("machines::ends", &ENDS),
        unit("machines::failures", &FAILURES),
    ]
}

fn run(farfault: &Farfault, boots: &[Boot]) -> Result<Vec<Check>, String> {
    let bare = bare_kernels().map_err(|error| format!("cannot write kernels: {error}"))?;
    let files = [
        format!("--file={}:/vmlinuz", farfault.image.join("vmlinuz").display()),
        format!("--file={}:/bare", bare.path().display()),
    ];
    let finished = boot_all(farfault, boots, &files)?;
    let mut checks = ends_of(&finished, boots);
    for Boot { name, .. } in boots.iter().filter(|boot| boot.code == 0 || boot.code == 37) {
        checks.push(Check::new(format!("{name}::log is clean"), clean_log(&finished, name)));
    }
    for Boot { name, .. } in boots.iter().filter(|boot| MEASURED.contains(&boot.name)) {
        let stats = stats(&finished, name);
        let limit = |what, limit, read: fn(&Value) -> Option<u64>| {
            let stats = stats.as_ref().map_err(String::clone);
            let result =
                stats.and_then(|stats| at_most(&format!("{name}: {what}"), read(stats), limit));
            Check::new(format!("{name}::{what}"), result)
        };
        checks.push(limit("boot_exits", BOOT_EXITS, boot_exits));
        checks.push(limit("private_kib", PRIVATE_KIB, private_kib));
    }
    Ok(checks)
}

/// Boots a first guest that is given files by `options`, and the others one after another in it.
pub fn boot_all(farfault: &Farfault, boots: &[Boot], options: &[String]) -> Ran {
    let steps = boots.iter().map(|boot| {
        let (options, script) = (with_defaults(boot), boot.script);
        let fresh = if boot.fresh { "--fresh" } else { "" };
        let command = format!(
            "{IN_FIRST_GUEST} {fresh} --initrd=/farfault/initrd \
             --stats-json=/run/boot.json {options} -- sh -c '{script}; code=$?; dmesg; exit $code'"
        );
        Step::new(boot.name, command)
    });
    let script = script_of(
        &steps.collect::<Vec<_>>(),
        "echo '@@ begin NAME-stats'\ncat /run/boot.json\nrm -f /run/boot.json\necho '@@ end NAME-stats 0'",
    );
    farfault.script(&[&FIRST_GUEST.map(str::to_owned), options].concat(), &script)
}

/// Exit codes and words.
pub fn ends_of(finished: &Finished, boots: &[Boot]) -> Vec<Check> {
    let end = |boot: &Boot| {
        ended(finished, boot.name, boot.code).and_then(|()| says(finished, boot.name, boot.says))
    };
    boots.iter().map(|boot| Check::new(boot.name, end(boot))).collect()
}

/// What a boot says itself goes before what all boots have.
fn with_defaults(Boot { name, options, .. }: &Boot) -> String {
    let is_bare = BARE.iter().any(|(bare, _)| bare == name);
    let kernel = if is_bare { &format!("/bare/{name}") } else { "/farfault/kernel" };
    let mut words = (*options).to_owned();
    let defaults = [
        ("--kernel", kernel),
        ("--timeout", "$((90 * FARFAULT_SLOWNESS))"),
        ("--cmdline-append", QUICK_BOOT),
    ];
    for (option, default) in defaults {
        if !options.contains(option) {
            words.push_str(&format!(" {option}={default}"));
        }
    }
    words
}

fn bare_kernels() -> io::Result<TempDir> {
    let folder = TempDir::new()?;
    for (name, code) in BARE {
        fs::write(folder.path().join(name), elf(code))?;
    }
    Ok(folder)
}

/// An ELF file of one segment, at 16 MiB.
fn elf(code: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    let words = |words: &[u64]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
    file.extend(words(&[16 << 20, 64, 0]));
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0]);
    file.extend(words(&[1024, 16 << 20, 16 << 20, code.len() as u64, 4096, 4096]));
    file.resize(1024, 0);
    file.extend(code);
    file
}

/// What a boot has counted.
fn stats(finished: &Finished, name: &str) -> Result<Value, String> {
    let text = found(finished, &format!("{name}-stats"))?.output;
    serde_json::from_str(&text)
        .map_err(|error| format!("statistics that are not JSON ({error}):\n{text}"))
}

fn boot_exits(stats: &Value) -> Option<u64> {
    stats["vmm"]["boot_exits"].as_u64()
}

/// What the VMM has written of the host's memory, without the guest's.
fn private_kib(stats: &Value) -> Option<u64> {
    let of = |name: &str| stats["host"][name].as_u64();
    of("private_dirty_kib")?.checked_sub(of("ram_private_dirty_kib")?)
}

fn at_most(what: &str, value: Option<u64>, limit: u64) -> Result<(), String> {
    let value = value.ok_or_else(|| format!("{what} is not counted"))?;
    println!("note: {what} {value} (at most {limit})");
    // Nothing at all was not counted.
    ensure((1..=limit).contains(&value), || format!("{what} is {value}, not 1 to {limit}"))
}
