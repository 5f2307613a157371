// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Devices of a host that a guest has through VFIO. The host is QEMU's, with an IOMMU; its
//! devices are the accelerator, which `farfault serve` carries there, and a disk that is nobody's
//! here. In it `farfault run --vfio` passes both on, on its nested KVM.

use crate::serve::{Running, bare_qemu, device};
use cpio::NewcBuilder;
use cpio::newc::{self, ModeFileType};
use farfault_tests::check::{Check, ensure};
use farfault_tests::kernel_log;
use farfault_tests::run::Farfault;
use farfault_tests::unit::Unit;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What the host does, as its first process. Each line that it prints is the name of a check and
/// what came of it.
const HOST: &str = r#"
mount -t devtmpfs none /dev; mount -t proc none /proc; mount -t sysfs none /sys
exec >/dev/ttyS0 2>&1 </dev/null
for module in $(cat /lib/modules/*/at-boot); do insmod /lib/modules/*/$module; done
modprobe vfio-pci; modprobe vfio_iommu_type1
devices=/sys/bus/pci/devices
found() { grep -l $1 $devices/*/device | cut -d/ -f6; }
accelerator=$(found 0xfa17) disk=$(found 0x0010 | head -n 1) beside=$(found 0x0010 | tail -n 1)
ordinary="$(found 0x10d3) $(found 0x10c9) $(found 0x11e8)"
options="--initrd /host/initrd --memory 256M"
run="/host/farfault run --kernel /host/kernel $options"
tried() { $run "$@"; }
refused() { name=$1 code=$2 words=$3; shift 3
	said=$(tried "$@" 2>&1); is=$?
	case $is,$said in $code,*"$words"*) echo check $name: ok;; *) echo check $name: $is, "$said";; esac; }
refused "what is not there" 64 "there is no such PCI device" --vfio 0000:00:1e.7 -- true
refused "what a driver has" 69 "the host's driver nvme has it" --vfio $disk -- true
refused "what no driver has" 69 "no driver has it" --vfio $accelerator -- true
for device in $accelerator $disk $ordinary; do
	echo vfio-pci >$devices/$device/driver_override
	[ ! -e $devices/$device/driver ] || echo $device >$devices/$device/driver/unbind
	echo $device >/sys/bus/pci/drivers_probe
done
refused "what is not alone" 69 "cannot keep it apart from $beside (of the driver nvme)" --vfio $disk -- true
echo $beside >$devices/$beside/driver/unbind
refused "what needs KVM" 64 "needs KVM" --vfio $disk --accel nested -- true
chown nobody /dev/kvm
tried() { su nobody -c "$run $*"; }
group=/dev/vfio/$(basename $(readlink $devices/$disk/iommu_group))
refused "no permission" 69 "you may not open $group" --vfio $disk -- true
chown nobody $group
exec 9<>$group
refused "what is in use" 69 "another process has it" --vfio $disk -- true
exec 9>&-
refused "no locked memory" 69 "may not lock so much" --vfio $disk -- true
tried() { $run "$@"; }
refused "two accelerators" 64 "leave out one of the two" --vfio $accelerator --device engines=4 -- true
$run --vfio $accelerator --file /host/workload:/workload -- sh /workload
echo check "a guest with an accelerator": $?
/host/farfault run --kernel /host/own-kernel --no-driver $options \
	--vfio $accelerator --vfio $disk --file /host/copies:/copies -- sh /copies
echo check "a guest with a disk": $?
if [ -e /host/ordinary ]; then
	$run $(printf -- '--vfio %s ' $ordinary) --cmdline-append 'memmap=1M$0x8000000' \
		--file /host/ordinary:/ordinary -- sh /ordinary
	echo check "a guest with ordinary devices": $?
fi
dmesg
echo all is done
poweroff -f
"#;

/// What its guest with the accelerator does, which is 00:03.0.
const WORKLOAD: &str = r#"
check() { name=$1; shift; if "$@"; then echo check $name: ok; else echo check $name: $?; fi; }
only() { [ "$(ls /dev/farfault*)" = /dev/farfault0 ]; }
resets() { echo 1 >/sys/bus/pci/devices/$1/reset; }
check "the only accelerator" only
check "an accelerator" saxpy 100000
check "an accelerator that was reset" eval "resets 0000:00:03.0 && saxpy 1000"
check "nothing is left" leaks
dmesg | grep -E 'BUG|WARNING|Oops' || echo check "the guest's log: ok"
"#;

/// What its guest with the disk does, which is 00:04.0. That has the host's kernel: others lack
/// the disk's driver.
const COPIES: &str = r#"
check() { name=$1; shift; if "$@"; then echo check $name: ok; else echo check $name: $?; fi; }
resets() { echo 1 >/sys/bus/pci/devices/$1/reset; }
device=/sys/bus/pci/devices/0000:00:04.0
copies() {
	dd if=/dev/urandom of=/tmp/this bs=64k count=32 2>/dev/null
	dd if=/tmp/this of=$disk bs=64k seek=16 oflag=direct 2>/dev/null && is_there; }
is_there() { dd if=$disk of=/tmp/that bs=64k skip=16 count=32 iflag=direct 2>/dev/null && cmp /tmp/this /tmp/that; }
interrupts() { [ $(grep nvme /proc/interrupts | grep -c $1) -gt 0 ]; }
appears() { for i in $(seq 100); do disk=$(ls /dev/nvme*n1 2>/dev/null) && return 0; sleep 0.1; done; return 1; }
check "a disk" appears
check "a disk by MSI-X" eval "copies && interrupts MSIX"
check "a disk that was reset" eval "resets 0000:00:04.0 && is_there"
echo 0000:00:04.0 >$device/driver/unbind; echo 0 >$device/msi_bus
echo 0000:00:04.0 >/sys/bus/pci/drivers/nvme/bind
check "a disk again" appears
check "a disk by its pin" eval "copies && interrupts IO-APIC"
"#;

/// What its guest with network cards and QEMU's educational device does, which are 00:03.0 to
/// 00:05.0. The image's kernel has the cards' drivers, if it is the one for all machines.
const ORDINARY: &str = r#"
check() { name=$1; shift; if "$@"; then echo check $name: ok; else echo check $name: $?; fi; }
net_of() { for net in /sys/class/net/*; do
	case $(readlink $net/device/driver) in */$1) basename $net;; esac; done; }
talks() { modprobe $1; net=$(net_of $1); ip addr add $2.15/24 dev $net; ip link set $net up
	for i in $(seq 30); do ping -c 1 -W 1 $2.2 >/dev/null && grep $net /proc/interrupts && return 0; done; return 1; }
edu=/sys/bus/pci/devices/0000:00:05.0
echo 1 >$edu/enable
# Memory and bus mastering.
printf '\006' | dd of=$edu/config bs=1 seek=4 conv=notrunc 2>/dev/null
bar=$(head -n 1 $edu/resource | cut -d' ' -f1)
factorial() { devmem $((bar + 0x8)) 32 5; sleep 1; [ $(devmem $((bar + 0x8)) 32) = 0x00000078 ]; }
# copies SOURCE DESTINATION DIRECTION: 8 bytes.
copies() { devmem $((bar + 0x80)) 64 $1; devmem $((bar + 0x88)) 64 $2; devmem $((bar + 0x90)) 64 8
	devmem $((bar + 0x98)) 64 $3; sleep 1; }
# There is memory that Linux does not use, and the device's own at 0x40000.
there_and_back() { devmem 0x8000000 64 0x1122334455667788; copies 0x8000000 0x40000 1; copies 0x40000 0x8001000 3
	[ $(devmem 0x8001000 64) = 0x1122334455667788 ]; }
check "a card of e1000e" talks e1000e 10.0.2
check "a card of igb" talks igb 10.0.3
check "registers of edu" factorial
check "DMA of edu" there_and_back
dmesg | grep -E 'BUG|WARNING|Oops' || echo check "ordinary devices in the log: ok"
"#;

/// What is checked in there, where the image's kernel has the drivers.
const OF_ORDINARY: [&str; 6] = [
    "a card of e1000e",
    "a card of igb",
    "registers of edu",
    "DMA of edu",
    "ordinary devices in the log",
    "a guest with ordinary devices",
];
const NETWORKS: &str = "\
-netdev user,id=one,net=10.0.2.0/24 -device e1000e,netdev=one,addr=9 \
-netdev user,id=other,net=10.0.3.0/24 -device igb,netdev=other,addr=a -device edu,addr=b";

/// All that is checked of the others.
const CHECKS: [&str; 21] = [
    "what is not there",
    "what a driver has",
    "what no driver has",
    "what is not alone",
    "what needs KVM",
    "what is in use",
    "no permission",
    "no locked memory",
    "two accelerators",
    "the only accelerator",
    "an accelerator",
    "an accelerator that was reset",
    "nothing is left",
    "the guest's log",
    "a guest with an accelerator",
    "a disk",
    "a disk by MSI-X",
    "a disk that was reset",
    "a disk again",
    "a disk by its pin",
    "a guest with a disk",
];

pub fn units() -> Vec<Unit> {
    vec![Unit::new("passthrough", run)]
}

fn run(farfault: &Farfault) -> Result<Vec<Check>, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let at = |name| folder.path().join(name);
    let (socket, disk, initrd) = (at("accelerator"), at("disk"), at("initrd"));
    let prepared = pack(farfault, &initrd).and_then(|()| fs::File::create(&disk)?.set_len(8 << 20));
    prepared.map_err(|error| format!("cannot prepare the host: {error}"))?;
    let patience = Duration::from_secs(300 * farfault.kernel.slowness());
    let mut command = farfault.command();
    command.args(["serve", "--ready-fd=1", "--socket"]).arg(&socket);
    let server = Running::start(&mut command, 2 * patience)?;
    server.hear(str::is_empty)?;
    let mut command = host(farfault, &initrd)?;
    let drive = format!("file={},if=none,id=disk,format=raw", disk.display());
    command.args([
        "-drive",
        &drive,
        "-device",
        "nvme,drive=disk,serial=1,addr=8.0,multifunction=on",
    ]);
    let has_cards = has_cards(farfault);
    if has_cards {
        command.args(NETWORKS.split_whitespace());
    }
    // In one group with it.
    command.args(["-drive", "driver=null-co,if=none,id=null,size=1M"]);
    command.args(["-device", "nvme,drive=null,serial=2,addr=8.1"]);
    command.arg("-device").arg(device(&socket, "pcie.0"));
    let heard = Running::start(&mut command, patience)?.hear(|_| false)?;
    let said = |name: &str| {
        let start = format!("check {name}: ");
        heard.iter().find_map(|line| line.strip_prefix(&start))
    };
    let log = heard.join("\n");
    let well = |name: &str| matches!(said(name), Some("ok" | "0"));
    let result =
        |name| ensure(well(name), || said(name).unwrap_or("it did not come to that").into());
    let more = if has_cards { &OF_ORDINARY[..] } else { &[] };
    let names = || CHECKS.iter().chain(more);
    let mut checks: Vec<Check> = names().map(|name| Check::new(*name, result(name))).collect();
    if !has_cards {
        let why = "the kernel lacks CONFIG_E1000E, CONFIG_IGB";
        checks.extend(OF_ORDINARY.map(|name| Check::skipped(name, why.to_owned())));
    }
    let clean = kernel_log::complaints(&log).is_empty();
    // It tells of what went wrong above, too.
    let good = clean && names().all(|name| well(name));
    checks.push(Check::new("the host's log", ensure(good, || log)));
    Ok(checks)
}

/// Whether the image's kernel has drivers of network cards, as the one for all machines has.
fn has_cards(farfault: &Farfault) -> bool {
    ["CONFIG_E1000E", "CONFIG_IGB"].iter().all(|option| farfault.kernel.has(option))
}

/// QEMU with an IOMMU and the image's first guest in it, whose CPU has SVM.
fn host(farfault: &Farfault, initrd: &Path) -> Result<Command, String> {
    let mut command = bare_qemu(farfault)?;
    let options = "-nodefaults -no-user-config -display none -no-reboot -serial stdio \
                   -accel tcg,thread=multi -cpu EPYC-Rome -smp 3 -m 1280M \
                   -object memory-backend-memfd,id=ram,size=1280M,share=on \
                   -machine q35,memory-backend=ram,kernel-irqchip=split \
                   -device intel-iommu,intremap=on,caching-mode=on";
    command.args(options.split_whitespace());
    command.arg("-kernel").arg(farfault.image.join("l1-vmlinux")).arg("-initrd").arg(initrd);
    // A busy host may be too slow for the check of the timer. Guests keep off CPU 0, as in nested
    // mode.
    let words = "console=ttyS0 quiet panic=-1 reboot=t mitigations=off intel_iommu=on \
                 no_timer_check isolcpus=0 rdinit=/bin/sh -- /host/script";
    command.args(["-append", words]);
    Ok(command)
}

/// The first guest's initrd, and behind it what a host needs to run a guest of its own.
fn pack(farfault: &Farfault, at: &Path) -> io::Result<()> {
    let image = |name| fs::read(farfault.image.join(name));
    let mut packed = image("l1-initrd")?;
    packed.resize(packed.len().next_multiple_of(512), 0);
    let mut files: Vec<(&str, u32, Vec<u8>)> = vec![
        ("host/farfault", 0o755, image("farfault")?),
        ("host/kernel", 0o644, image("vmlinux")?),
        ("host/own-kernel", 0o644, image("l1-vmlinux")?),
        ("host/initrd", 0o644, image("initrd")?),
        ("host/script", 0o644, HOST.into()),
        ("host/workload", 0o644, WORKLOAD.into()),
        ("host/copies", 0o644, COPIES.into()),
    ];
    if has_cards(farfault) {
        files.push(("host/ordinary", 0o644, ORDINARY.into()));
    }
    let folder = NewcBuilder::new("host").mode(0o755).set_mode_file_type(ModeFileType::Directory);
    folder.write(&mut packed, 0).finish()?;
    for (inode, (name, mode, bytes)) in (1..).zip(files) {
        let builder = NewcBuilder::new(name).ino(inode).mode(mode);
        let builder = builder.set_mode_file_type(ModeFileType::Regular);
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut file = builder.write(&mut packed, length);
        file.write_all(&bytes)?;
        file.finish()?;
    }
    newc::trailer(&mut packed)?;
    fs::write(at, packed)
}
