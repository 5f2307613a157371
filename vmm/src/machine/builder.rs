// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Making a machine, step by step.

use super::bar_memory::BarMemory;
use super::bus::Bus;
use super::end::EndLatch;
use super::error::MachineError;
use super::exits::Exits;
use super::functions::{Finished, Functions};
use super::handle::Handle;
use super::hits::Hits;
use super::interrupts::Interrupts;
use super::memory::{self, Slots};
use super::pause::Pause;
use super::run::Machine;
use super::saved::Hardware;
use super::spec::{
    GuestStreams, MAX_MEMORY, MAX_PASSED_THROUGH, MAX_VCPUS, MEMORY_STEP, MIN_MEMORY, MachineSpec,
};
use super::standstill::Standstill;
use super::start::Start;
use super::vcpu::VcpuContext;
use super::{acpi, boot, cpuid, kernel, layout, saved};
use crate::accelerator;
use crate::devices::panic::{self, PanicPort};
use crate::devices::serial::{self, SerialLine, SerialPort};
use crate::devices::{PortBus, power};
use crate::iommu::{IommuRegisters, Unit};
use crate::pci::AddressMap;
use crate::pmem::Pmem;
use crate::vfio::{Container, Found, Host, PassthroughError};
use farfault_device_model::DeviceConfig;
use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2, kvm_create_device,
    kvm_device_type_KVM_DEV_TYPE_VFIO,
};
use kvm_ioctls::{Cap, DeviceFd, Kvm, VcpuFd, VmFd};
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::Arc;
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap};

/// The address port of PCI's old way to configuration space. This machine has
/// only the new one (ECAM), but a kernel looks for old chipsets through the
/// old one early in its boot, and writes here before each of a hundred reads.
/// The old one is not offered, for every kernel would take it then for all below
/// 256, at two exits an access. Kernels up to 6.1 say "No config space access
/// function found", and use ECAM when they have read the ACPI namespace.
const OLD_CONFIG_ADDRESS: u16 = 0xcf8;

/// Each page of persistent memory costs 64 bytes of RAM, and a guest wants to use
/// three quarters of its RAM for something else.
const PMEM_PER_RAM: u64 = 4096 / 64 / 4;

/// What this program needs of KVM, and what a host without it cannot do.
const NEEDED: [(Cap, &str); 6] = [
    (Cap::Irqchip, "emulate interrupt controllers"),
    (Cap::UserMemory, "give a VM memory of this process"),
    (Cap::Irqfd, "take interrupts from eventfds (irqfd)"),
    (Cap::Ioeventfd, "turn writes of a guest into eventfds (ioeventfd)"),
    (Cap::ImmediateExit, "be asked to leave a guest (immediate_exit)"),
    (Cap::IrqRouting, "route interrupt messages"),
];

impl Machine {
    /// Checks all of a description that can be checked without KVM, by loading
    /// the kernel into memory that is thrown away.
    pub fn check(spec: &MachineSpec) -> Result<(), MachineError> {
        check(spec)?;
        find_passed_through(spec)?;
        kernel::load(&memory::allocate(spec.memory)?, spec, 0).map(drop)
    }

    /// Makes a machine from its description; nothing runs yet.
    pub fn build(
        spec: &MachineSpec,
        ports: GuestStreams,
        start: &Start,
    ) -> Result<Machine, MachineError> {
        check(spec)?;
        let passed_through = find_passed_through(spec)?;
        let kvm = open_kvm()?;
        let supported = supported_cpuid(&kvm)?;
        let window_64 = window_above(spec, &supported)?;
        let vm = create_vm(&kvm)?;
        let interrupts = Interrupts::new(Arc::clone(&vm));
        let memory = Arc::new(memory::of_machine(spec, start.ram())?);

        let mut functions = Functions::new(&memory, &interrupts)?;
        let unit = match spec.iommu {
            true => Some(Unit::new(Arc::clone(&memory), interrupts.vector()?)),
            false => None,
        };
        let accelerator = match passed_through.iter().any(is_accelerator) {
            true => None,
            false => Some(functions.add_accelerator(&spec.device, unit.as_ref())?),
        };
        let behind = accelerator.clone();
        let iommu = unit.zip(behind).map(|(unit, device)| IommuRegisters::new(unit, device as _));
        let mut console = functions.add_console(vec![
            ("farfault.stdin", ports.stdin),
            ("farfault.stdout", ports.stdout),
            ("farfault.stderr", ports.stderr),
            ("farfault.control", ports.control),
        ])?;
        if !passed_through.is_empty() {
            let container = Container::new(kvm_of_vfio(&vm), &memory)?;
            functions.add_passed_through(&container, &passed_through)?;
        }
        let Finished { root: pci, pages: config_pages, lines } = functions.finish();

        let interrupt = interrupts.line(serial::IRQ)?;
        let what = "make the serial line";
        let port = SerialPort::new(interrupt).map_err(MachineError::host(what))?;
        let serial = SerialLine::new(Arc::clone(&port), ports.serial);
        let serial = serial.map_err(MachineError::host(what))?;
        let mut io = PortBus::default();
        io.add(serial::BASE, serial::COUNT, port);
        io.add(power::BASE, power::COUNT, Arc::new(power::Power));
        io.add(power::KEYBOARD_COMMAND, 1, Arc::new(power::KeyboardReset));
        let panic_port = Arc::new(PanicPort::default());
        io.add(panic::PORT, 1, Arc::clone(&panic_port) as _);

        interrupts.ignore_writes(OLD_CONFIG_ADDRESS)?;

        let mut slots = Slots::new(Arc::clone(&vm), Arc::clone(&memory))?;
        let bar_memory = BarMemory::new(Arc::clone(&vm));
        let map = AddressMap::new(Arc::clone(&interrupts) as _, bar_memory);
        if vm.check_extension(Cap::ReadonlyMem) {
            config_pages.into_iter().try_for_each(|(at, page)| slots.add_page(at, page))?;
        }

        let end = EndLatch::new().map_err(MachineError::host("make an eventfd"))?;
        let context = VcpuContext {
            bus: Arc::new(Bus { ports: io, map: Mutex::new(map), pci, iommu: iommu.clone() }),
            exits: Arc::new(Exits::default()),
            end: Arc::clone(&end),
            pause: Arc::new(Pause::default()),
            last_seen: Arc::default(),
            hits: Hits::new().map_err(MachineError::host("make an eventfd"))?,
        };
        let hardware = Hardware {
            msrs: saved::msrs::list(&kvm)?,
            vm,
            interrupts,
            bus: Arc::clone(&context.bus),
            accelerator: accelerator.clone(),
            panic_port,
            exits: Arc::clone(&context.exits),
        };
        let vcpus = create_vcpus(&hardware.vm, spec, &supported)?;
        if let Start::GoOn(_, saved) = start {
            hardware.restore(saved, &vcpus, &serial, &mut console)?;
        } else if let Some(first) = vcpus.first() {
            let rsdp = acpi::write(&memory, spec.vcpus, window_64, spec.iommu, &lines)?;
            let entry = kernel::load(&memory, spec, rsdp)?;
            boot::write_tables(&memory)?;
            // The others wait to be started by the first.
            boot::enter(first, entry)?;
        }
        let handle = Handle {
            is_debugged: spec.debugger.is_some(),
            end,
            exits: Arc::clone(&context.exits),
            last_seen: Arc::clone(&context.last_seen),
            accelerator,
            iommu,
            standstill: Standstill::new().map_err(MachineError::host("make an eventfd"))?,
            ram: ram_here(&memory),
        };
        let invitation = spec.debugger.clone();
        let _slots = slots;
        Ok(Machine {
            vcpus,
            context,
            serial,
            console,
            hardware,
            memory,
            handle,
            invitation,
            _slots,
        })
    }
}

/// What a machine with so many vCPUs has of this host: what KVM lets them be, and what of them
/// it saves.
pub fn likeness(vcpus: u8) -> Result<Vec<u8>, MachineError> {
    let kvm = open_kvm()?;
    let supported = supported_cpuid(&kvm)?;
    let ids = 0..vcpus;
    let words = ids.flat_map(|id| cpuid::filter(&supported, id, vcpus)).flat_map(|entry| {
        let kvm_cpuid_entry2 { function, index, flags, eax, ebx, ecx, edx, .. } = entry;
        [function, index, flags, eax, ebx, ecx, edx]
    });
    Ok(words.chain(saved::msrs::list(&kvm)?).flat_map(u32::to_le_bytes).collect())
}

/// Checks what can be checked without the host.
fn check(spec: &MachineSpec) -> Result<(), MachineError> {
    if !(1..=MAX_VCPUS).contains(&spec.vcpus) {
        return Err(MachineError::Vcpus(spec.vcpus));
    }
    let in_range = (MIN_MEMORY..=MAX_MEMORY).contains(&spec.memory);
    if !in_range || !spec.memory.is_multiple_of(MEMORY_STEP) {
        return Err(MachineError::MemorySize { bytes: spec.memory });
    }
    let need = pmem_size(spec) / PMEM_PER_RAM;
    if need > spec.memory {
        let what = "the page structures of so much persistent memory";
        return Err(MachineError::TooSmall { what, have: spec.memory, need });
    }
    Ok(())
}

/// The functions of the host that the guest is to have.
fn find_passed_through(spec: &MachineSpec) -> Result<Vec<Found>, MachineError> {
    let wanted = &spec.passed_through;
    if wanted.len() > MAX_PASSED_THROUGH {
        return Err(MachineError::TooManyFunctions);
    }
    let twice = |(index, address)| wanted[..index].contains(address).then_some(*address);
    if let Some(address) = wanted.iter().enumerate().find_map(twice) {
        return Err(PassthroughError::Twice(address).into());
    }
    let host = Host::here();
    let found: Vec<Found> =
        wanted.iter().map(|address| host.find(*address)).collect::<Result<_, _>>()?;
    match found.iter().find(|found| is_accelerator(found)) {
        Some(own) if spec.device != DeviceConfig::default() => {
            Err(MachineError::TwoAccelerators(own.address))
        }
        _ => Ok(found),
    }
}

/// Whether a function of the host is one of those that this program emulates.
fn is_accelerator(found: &Found) -> bool {
    found.id == accelerator::IDENTITY.id
}

/// What KVM offers to be told of functions of the host; a KVM without it can do with less.
fn kvm_of_vfio(vm: &VmFd) -> Option<DeviceFd> {
    let type_ = kvm_device_type_KVM_DEV_TYPE_VFIO;
    vm.create_device(&mut kvm_create_device { type_, ..Default::default() }).ok()
}

fn open_kvm() -> Result<Kvm, MachineError> {
    let kvm = Kvm::new().map_err(|error| MachineError::NoKvm(error.into()))?;
    match NEEDED.into_iter().find(|(capability, _)| !kvm.check_extension(*capability)) {
        Some((_, what)) => Err(MachineError::KvmLacks(what)),
        None => Ok(kvm),
    }
}

fn supported_cpuid(kvm: &Kvm) -> Result<CpuId, MachineError> {
    kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(MachineError::kvm("list what processors it supports"))
}

fn pmem_size(spec: &MachineSpec) -> u64 {
    spec.pmem.iter().map(Pmem::size).sum()
}

/// The PCI window above all memory, if the processors can address it.
fn window_above(spec: &MachineSpec, supported: &CpuId) -> Result<Option<Range<u64>>, MachineError> {
    let bits = cpuid::address_bits(supported);
    let addressable = 1u64.checked_shl(bits).unwrap_or(u64::MAX);
    let ranges = layout::ram(spec.memory).into_iter().chain(spec.pmem_ranges());
    let top = ranges.map(|range| range.end).max().unwrap_or(0);
    if top > addressable {
        return Err(MachineError::AddressBits { bytes: spec.memory + pmem_size(spec), bits });
    }
    let window = layout::pci_window_64(top);
    Ok((window.end <= addressable).then_some(window))
}

fn create_vm(kvm: &Kvm) -> Result<Arc<VmFd>, MachineError> {
    let vm = kvm.create_vm().map_err(MachineError::kvm("create a VM"))?;
    // Two calls that only Intel processors without all of VMX depend on.
    vm.set_identity_map_address(layout::KVM_PAGES)
        .map_err(MachineError::kvm("take a page for itself"))?;
    vm.set_tss_address(layout::KVM_PAGES as usize + 0x1000)
        .map_err(MachineError::kvm("take pages for itself"))?;
    vm.create_irq_chip().map_err(MachineError::kvm("create interrupt controllers"))?;
    Ok(Arc::new(vm))
}

fn create_vcpus(
    vm: &VmFd,
    spec: &MachineSpec,
    supported: &CpuId,
) -> Result<Vec<VcpuFd>, MachineError> {
    let mut vcpus = Vec::new();
    for id in 0..spec.vcpus {
        let vcpu = vm.create_vcpu(id.into()).map_err(MachineError::kvm("create a vCPU"))?;
        let entries = CpuId::from_entries(&cpuid::filter(supported, id, spec.vcpus))
            .map_err(|_| MachineError::Internal("a vCPU's CPUID has too many leaves"))?;
        vcpu.set_cpuid2(&entries).map_err(MachineError::kvm("accept a vCPU's CPUID"))?;
        boot::set_msrs(&vcpu)?;
        vcpus.push(vcpu);
    }
    Ok(vcpus)
}

/// Where guest RAM is in this process.
fn ram_here(memory: &GuestMemoryMmap) -> Vec<Range<u64>> {
    let ranges = memory.iter().map(|region| {
        let start = region.as_ptr() as u64;
        start..start + region.size() as u64
    });
    ranges.collect()
}
