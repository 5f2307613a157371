// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs the `farfault` program as a user would, and guest programs one after
//! another in one boot.

use crate::chain::{self, Chain};
pub use crate::host_file::host_file;
use crate::hosting::Hosting;
use crate::keep::Keep;
use crate::kernel_config::KernelConfig;
pub use crate::script::{Finished, Section, Step, counted, marked, script_of, section};
use serde_json::Value;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Seconds within which a guest is to have booted, if nothing else is said.
const BOOT_LIMIT: u64 = 180;

/// A run, or why it could not be started.
pub type Ran = Result<Finished, String>;

/// The program under test and the image it boots.
#[derive(Clone, Debug, Default)]
pub struct Farfault {
    program: PathBuf,
    /// The image directory.
    pub image: PathBuf,
    /// The configuration of the kernel that guests run.
    pub kernel: KernelConfig,
    /// Where states are kept, if not where they usually are.
    cache: Option<PathBuf>,
    /// Where what runs leave behind is kept, if it is.
    keep: Option<Arc<Keep>>,
    hosting: Hosting,
}

impl Farfault {
    /// As scripts/test sets it up: `FARFAULT_IMAGE` names the image, which holds the program.
    pub fn from_environment() -> Result<Self, String> {
        let image = std::env::var_os("FARFAULT_IMAGE")
            .map(PathBuf::from)
            .ok_or("FARFAULT_IMAGE is not set; run scripts/test guest")?;
        let program = image.join("farfault");
        if !program.is_file() {
            return Err(format!("{} is missing; run guest-image/build", program.display()));
        }
        let kernel = KernelConfig::of(&image)?;
        Ok(Self { program, image, kernel, ..Self::default() })
    }

    /// The same with states of its own, kept below this folder.
    pub fn with_cache(&self, folder: &Path) -> Self {
        Self { cache: Some(folder.to_owned()), ..self.clone() }
    }

    /// The same with what each run leaves behind kept in this folder.
    pub fn keeping_in(&self, folder: &Path) -> Self {
        Self { keep: Some(Arc::new(Keep::new(folder))), ..self.clone() }
    }

    /// The same with scripts on guests of this hosting.
    pub fn on(&self, hosting: Hosting) -> Self {
        Self { hosting, ..self.clone() }
    }

    /// A command that runs the program.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("FARFAULT_IMAGE", &self.image).stdin(Stdio::null());
        command.envs(self.cache.iter().map(|folder| ("XDG_CACHE_HOME", folder)));
        command
    }

    /// The hosting of those guests.
    pub fn hosting(&self) -> Hosting {
        self.hosting
    }

    /// The hosting that is fastest on this host, as `farfault doctor` says.
    pub fn fastest(&self) -> Result<Hosting, String> {
        let doctor = self.run(&["doctor"])?;
        let on_qemu = doctor.stdout.contains("farfault qemu works here, and is the fastest way");
        Ok(if on_qemu { Hosting::VfioUser } else { Hosting::InProcess })
    }

    /// The release of the kernel that guests run, as the image says.
    pub fn kernel_release(&self) -> Result<String, String> {
        self.named_in_manifest("kernel_release")
    }

    /// The folder of the tools tree with which the image was made.
    pub fn tools(&self) -> Result<String, String> {
        self.named_in_manifest("tools")
    }

    fn named_in_manifest(&self, what: &str) -> Result<String, String> {
        let manifest = self.image.join("manifest.json");
        let value = read_json(&manifest)[what].as_str().map(str::to_owned);
        value.ok_or_else(|| format!("{} names no {what}", manifest.display()))
    }

    /// Runs `farfault` with `words`, nothing on its standard input.
    pub fn run(&self, words: &[&str]) -> Ran {
        let output = self
            .command()
            .args(words)
            .output()
            .map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        Ok(Finished {
            code: output.status.code(),
            stdout: self.decoded(String::from_utf8_lossy(&output.stdout).into_owned(), words),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            stats: Value::Null,
        })
    }

    /// Boots a guest with `options` and runs `script` there with its shell.
    pub fn script<S: AsRef<str>>(&self, options: &[S], script: &str) -> Ran {
        let stats = host_file()?;
        let stats_json = format!("--stats-json={}", stats.path().display());
        // What makes the hosting may be what a test asks for, too.
        let others = options.iter().filter(|one| !self.hosting.words().contains(&one.as_ref()));
        let options: Vec<String> = others.map(|one| self.in_time(one.as_ref())).collect();
        let mut all = vec![stats_json];
        all.extend(self.keep.as_ref().map(|_| "--serial".to_owned()));
        all.extend(self.boot_limit());
        all.extend(options);
        let call = self.call(&all, script)?;
        let mut finished = self.run(&call.words.iter().map(String::as_str).collect::<Vec<_>>())?;
        finished.stats = read_json(stats.path());
        if self.hosting == Hosting::Chain {
            finished.stats = chain::counted(finished.stats, &mut finished.stderr);
        }
        if finished.stats.pointer("/boots/retried_before_pid1").is_some_and(|count| *count != 0) {
            eprintln!("note: a boot died before process 1 and was repeated once");
        }
        self.keep(finished)
    }

    /// What a run with these options printed, with file and line behind each function that a
    /// kernel's log in there names, where these are known.
    fn decoded(&self, text: String, options: &[&str]) -> String {
        if !text.contains("+0x") {
            return text;
        }
        let decode = || {
            let mut input = tempfile::tempfile()?;
            input.write_all(text.as_bytes())?;
            input.rewind()?;
            let modules = options.iter().filter(|option| option.starts_with("--file="));
            self.command().arg("decode").args(modules).stdin(input).output()
        };
        match decode() {
            Ok(output) if output.status.success() => {
                String::from_utf8_lossy(&output.stdout).into_owned()
            }
            _ => text,
        }
    }

    fn keep(&self, finished: Finished) -> Ran {
        if let Some(keep) = &self.keep {
            keep.take(&finished)?;
        }
        Ok(finished)
    }

    /// Boots a guest with `options`, runs `script` there with its shell, and kills
    /// `farfault` when the guest prints the line `last`. Ends at the latest when the
    /// guest does.
    pub fn killed_at(&self, options: &[String], script: &str, last: &str) -> Ran {
        let failed = |error| format!("cannot run {}: {error}", self.program.display());
        let options: Vec<String> = options.iter().map(|option| self.in_time(option)).collect();
        let call = self.call(&options, script)?;
        let mut child =
            self.command().args(&call.words).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let stdout = child.stdout.take().map(|stdout| read_until(stdout, last));
        // SIGKILL; it may have ended by itself.
        let _ = child.kill();
        let status = child.wait().map_err(failed)?;
        self.keep(Finished {
            code: status.code(),
            stdout: stdout.unwrap_or_default(),
            stderr: String::new(),
            stats: Value::Null,
        })
    }
}

/// The options, with a word for the kernel that makes its boot a quick one.
fn quick(options: &[String]) -> Vec<String> {
    let is_appended = |option: &String| option.starts_with("--cmdline-append=");
    let mut options = options.to_vec();
    match options.iter_mut().find(|option| is_appended(option)) {
        Some(words) => words.push_str(&format!(" {QUICK_BOOT}")),
        None => options.push(format!("--cmdline-append={QUICK_BOOT}")),
    }
    options
}

/// What `farfault` is called with.
struct Call {
    words: Vec<String>,
    /// Whose files they name.
    _chain: Option<Chain>,
}

impl Farfault {
    /// What runs a script on the hosting.
    fn call(&self, options: &[String], script: &str) -> Result<Call, String> {
        let script = self.told_the_time(script);
        let options = &quick(options);
        if self.hosting == Hosting::Chain {
            let chain = Chain::new(&self.image, options, &script)?;
            return Ok(Call { words: chain.words.clone(), _chain: Some(chain) });
        }
        let mut words: Vec<String> =
            self.hosting.words().iter().map(|word| (*word).to_owned()).collect();
        words.extend_from_slice(options);
        words.extend(["--", "sh", "-c", &script].map(str::to_owned));
        Ok(Call { words, _chain: None })
    }

    /// An option, if it is a time limit one that the kernel keeps.
    fn in_time(&self, option: &str) -> String {
        let seconds = option.strip_prefix("--timeout=").and_then(|text| text.parse::<u64>().ok());
        match seconds {
            Some(seconds) => format!("--timeout={}", seconds * self.kernel.slowness()),
            None => option.to_owned(),
        }
    }

    /// The same for the boot's limit, if the kernel does not keep what is usual.
    fn boot_limit(&self) -> Option<String> {
        let slowness = self.kernel.slowness();
        (slowness > 1).then(|| format!("--boot-timeout={}", BOOT_LIMIT * slowness))
    }

    /// The same for the limits of guest programs. A kernel with KCSAN watches for data races more
    /// often than at its boot, which would take minutes.
    fn told_the_time(&self, script: &str) -> String {
        let watch = match self.kernel.has("CONFIG_KCSAN") {
            true => "echo 1000 >/sys/module/kcsan/parameters/skip_watch\n",
            false => "",
        };
        format!("export FARFAULT_SLOWNESS={}\n{watch}{script}", self.kernel.slowness())
    }
}

/// Lines up to and with `wanted`.
fn read_until(stdout: impl Read, wanted: &str) -> String {
    let mut text = String::new();
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        text.push_str(&line);
        text.push('\n');
        if line == wanted {
            break;
        }
    }
    text
}

/// A word for kernels under test: where a CPU is emulated, the tests that a kernel does of its
/// cryptography take a quarter of a boot.
pub const QUICK_BOOT: &str = "cryptomgr.notests=1";
/// The same as an option, which scripts have by themselves.
pub const QUICKLY: &str = "--cmdline-append=cryptomgr.notests=1";

/// The machine of most tests. One of another shape has to boot before it can be taken up.
pub const USUAL: [&str; 3] = ["--cpus=2", "--memory=1G", "--timeout=600"];

/// For a machine that mounts xfs: Linux takes many seconds to load it where KVM is nested.
pub const LOADS_XFS: &str = "--prepare=modprobe xfs";

/// Whether this is a nightly run: scenarios that go by numbers then do as many as
/// fit into hours, not into minutes.
pub fn is_nightly() -> bool {
    std::env::var_os("FARFAULT_NIGHTLY").is_some_and(|value| value == "1")
}

/// A number that the environment `variable` may set; else `usual`, or `nightly` in a nightly run.
pub fn how_many(variable: &str, usual: u64, nightly: u64) -> Result<u64, String> {
    match std::env::var(variable) {
        Ok(text) => text.parse().map_err(|error| format!("{variable}={text}: {error}")),
        Err(_) if is_nightly() => Ok(nightly),
        Err(_) => Ok(usual),
    }
}

/// What random choices follow from: `FARFAULT_SEED` if it is set, a fresh number in a nightly
/// run, else always the same.
pub fn seed() -> Result<u64, String> {
    let fresh = RandomState::new().build_hasher().finish() >> 32;
    let seed = how_many("FARFAULT_SEED", 1, fresh)?;
    println!("note: seed {seed} (FARFAULT_SEED={seed} does it again)");
    Ok(seed)
}

fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}
