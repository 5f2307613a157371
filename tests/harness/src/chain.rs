// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device through a chain of hosts: `farfault qemu` carries it, behind an IOMMU, to a host
//! whose Linux hands it to VFIO; and `farfault run --vfio`, on KVM there, to the guest.

use crate::host_file::host_file;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use tempfile::NamedTempFile;

/// MiB of the host's memory beside the guest's.
const HOST_MEMORY: u64 = 1536;
/// Its kernel's words: as in nested mode guests keep off CPU 0, and nothing slows an emulated host.
const HOST_WORDS: &str = "isolcpus=0 mitigations=off init_on_alloc=0 transparent_hugepage=always nowatchdog \
     cryptomgr.notests=1";
/// What a guest has if nothing is said.
const GUEST_MEMORY: u64 = 512;
/// Seconds within which a host has booted.
const HOST_BOOTS: u64 = 180;

/// Between these the host says what the VMM there has counted.
const STATS: [&str; 2] = ["@@ counted in the chain", "@@ that is all"];

/// What the host does. At a mark of its guest it sets one itself, so that what carries the device
/// counts up to it, too.
const HOST: &str = r#"
modprobe -a vfio-pci vfio_iommu_type1 || exit 99
device=$(grep -l 0xfa17 /sys/bus/pci/devices/*/device | cut -d/ -f6)
echo vfio-pci >/sys/bus/pci/devices/$device/driver_override
echo $device >/sys/bus/pci/drivers_probe
/host/farfault run --accel=kvm --vfio $device --kernel=/host/kernel --initrd=/host/initrd \
	--on-mark=mark --stats-json=/run/stats OPTIONS -- sh -c "$(cat /host/script)"
code=$?
{ echo; echo 'BEGIN'; cat /run/stats; echo 'END'; } >&2
exit $code
"#;

/// A run in the chain.
#[derive(Debug)]
pub struct Chain {
    /// What `farfault` is called with.
    pub words: Vec<String>,
    /// What the guest's shell is to run, as long as `words` may be used.
    _script: NamedTempFile,
}

impl Chain {
    /// A run of the image's guest with `options`, as `farfault run` takes them, whose shell runs
    /// `script`.
    pub fn new(image: &Path, options: &[String], script: &str) -> Result<Self, String> {
        let mut file = host_file()?;
        file.write_all(script.as_bytes()).map_err(|error| format!("cannot write: {error}"))?;
        let shares = Shares::of(options)?;
        let mut words = host(image);
        words.push(format!("--memory={}M", shares.memory + HOST_MEMORY));
        words.push(format!("--file={}:/host/script", file.path().display()));
        words.extend(shares.host);
        let guest: Vec<String> = shares.guest.iter().map(|option| quoted(option)).collect();
        let script = HOST.replace("BEGIN", STATS[0]).replace("END", STATS[1]);
        let script = script.replace("OPTIONS", &guest.join(" "));
        words.extend(["--", "sh", "-c", &script].map(str::to_owned));
        Ok(Self { words, _script: file })
    }
}

/// A host that has what it needs to run the image's guest.
fn host(image: &Path) -> Vec<String> {
    let at = |name: &str| image.join(name).display().to_string();
    let file = |name, there| format!("--file={}:/host/{there}", at(name));
    // The first guest's modules are for the CPU that QEMU emulates.
    let fixed = ["qemu", "--accel=tcg", "--iommu", "--no-driver", "--cpus=3"];
    let mut words = fixed.map(str::to_owned).to_vec();
    words.extend([
        format!("--cmdline-append={HOST_WORDS}"),
        format!("--kernel={}", at("l1-vmlinux")),
        format!("--initrd={}", at("l1-initrd")),
        file("farfault", "farfault"),
        file("vmlinux", "kernel"),
        file("initrd", "initrd"),
    ]);
    words
}

/// What of a run's options is for the host, and what for its guest.
struct Shares {
    host: Vec<String>,
    guest: Vec<String>,
    /// MiB of the guest.
    memory: u64,
}

impl Shares {
    fn of(options: &[String]) -> Result<Self, String> {
        let mut shares = Self { host: Vec::new(), guest: Vec::new(), memory: GUEST_MEMORY };
        options.iter().enumerate().try_for_each(|(number, option)| shares.add(number, option))?;
        Ok(shares)
    }

    fn add(&mut self, number: usize, option: &str) -> Result<(), String> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let wrong = || format!("{option}?");
        match name {
            "--stats-json" => self.host.push(option.to_owned()),
            "--file" => self.hand_on(number, value),
            "--iommu" | "--pmem" => return Err(format!("{name} cannot be had in a chain")),
            _ => self.guest.push(option.to_owned()),
        }
        match name {
            "--memory" => self.memory = mebibytes(value).ok_or_else(wrong)?,
            "--timeout" => {
                let seconds = value.parse::<u64>().map_err(|_| wrong())?;
                self.host.push(format!("--timeout={}", seconds + HOST_BOOTS));
            }
            _ => {}
        }
        Ok(())
    }

    /// A file, `HERE` or `HERE:THERE`, goes through the host.
    fn hand_on(&mut self, number: usize, file: &str) {
        let (here, there) = file.rsplit_once(':').unwrap_or((file, ""));
        let base = here.rsplit('/').next().unwrap_or(here);
        let there = if there.is_empty() { &format!("/{base}") } else { there };
        self.host.push(format!("--file={here}:/host/files/{number}/{base}"));
        self.guest.push(format!("--file=/host/files/{number}/{base}:{there}"));
    }
}

/// What was counted, in all: the driver's counters are the guest's, those of its VMM are named
/// `inner`, and all others are of what carries the device. What the host says of its guest is
/// taken out of what it has `said`.
pub fn counted(carrier: Value, said: &mut String) -> Value {
    let Some((before, rest)) = said.split_once(&format!("\n{}\n", STATS[0])) else {
        return carrier;
    };
    let (json, after) = rest.split_once(&format!("{}\n", STATS[1])).unwrap_or((rest, ""));
    let guest: Value = serde_json::from_str(json).unwrap_or(Value::Null);
    *said = format!("{before}{after}");
    together(carrier, &guest)
}

fn together(mut carrier: Value, guest: &Value) -> Value {
    add(&mut carrier, guest);
    let marks = carrier["marks"].as_array_mut().into_iter().flatten();
    let of_guest = guest["marks"].as_array().into_iter().flatten();
    marks
        .zip(of_guest)
        .filter(|(mark, other)| mark["name"] == other["name"])
        .for_each(|(mark, other)| add(mark, other));
    carrier
}

fn add(carrier: &mut Value, guest: &Value) {
    carrier["driver"] = guest["driver"].clone();
    carrier["inner"] = guest["vmm"].clone();
}

/// `1G` or `512M`.
fn mebibytes(size: &str) -> Option<u64> {
    let (number, factor) = match size.strip_suffix('G') {
        Some(number) => (number, 1024),
        None => (size.strip_suffix('M')?, 1),
    };
    Some(number.parse::<u64>().ok()? * factor)
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(options: &[&str]) -> Result<Vec<String>, String> {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        Chain::new(Path::new("/image"), &options, "true").map(|chain| chain.words)
    }

    #[test]
    fn the_host_gets_what_its_guest_is_to_get() {
        let words = words(&["--memory=1G", "--file=/a/b:/c", "--file=/a/b", "--env=SEND=it's"]);
        let words = words.expect("words");
        let has = |word: &str| words.iter().any(|one| one == word);
        assert!(has("--memory=2560M") && has("--file=/a/b:/host/files/1/b"));
        let host = words.last().expect("a script");
        assert!(host.contains("'--file=/host/files/1/b:/c' '--file=/host/files/2/b:/b'"), "{host}");
        assert!(host.contains(r"'--env=SEND=it'\''s'"), "{host}");
    }

    #[test]
    fn what_cannot_be_had_is_an_error() {
        assert!(words(&["--pmem=/file"]).is_err() && words(&["--memory=much"]).is_err());
    }

    #[test]
    fn the_drivers_counters_are_the_guests() {
        let carrier = json!({"device": {"walks": 1}, "driver": {}, "marks": [
            {"name": "x", "driver": {}, "vmm": {"doorbells": 2}}]});
        let mut said = format!(
            "before\n{}\n{}\n{}\nafter\n",
            STATS[0],
            json!({"device": {}, "driver": {"faults": 3},
                "marks": [{"name": "x", "driver": {"faults": 2}, "vmm": {"mmio_exits": 4}}]}),
            STATS[1]
        );
        let counted = counted(carrier, &mut said);
        assert_eq!(counted["device"]["walks"], 1);
        assert_eq!(counted["driver"]["faults"], 3);
        assert_eq!(
            counted["marks"][0],
            json!({"name": "x", "driver": {"faults": 2}, "vmm": {"doorbells": 2},
                "inner": {"mmio_exits": 4}})
        );
        assert_eq!(said, "beforeafter\n");
    }

    #[test]
    fn a_host_that_says_nothing_leaves_what_was_counted() {
        let mut said = "it died\n".to_owned();
        assert_eq!(counted(json!({"device": {}}), &mut said), json!({"device": {}}));
        assert_eq!(said, "it died\n");
    }
}
