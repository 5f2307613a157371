// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A planned guest for each hosting.

use super::options::{Accel, VmArgs};
use super::plan::{LARGE, Plan};
use super::request::Request;
use super::values::GdbPort;
use crate::exit::Failure;
use crate::gdb::{self, Invitation, Port};
use crate::image::Image;
use crate::kvm::KvmGuest;
use crate::machine::{Initrd, MachineSpec};
use crate::nested::{FirstGuest, INNER_INITRD, INNER_KERNEL, InnerGuest};
use crate::pmem::Pmem;
use crate::qemu::{Nvdimms, Qemu, RUNS_FIRST_GUESTS, SERVES_DEVICES};
use crate::served::{Emulator, Served};
use crate::states::Store;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

impl Plan {
    /// Whether all that the guest's first steps depend on is worth keeping.
    pub(super) fn may_be_kept(&self, spec: &MachineSpec) -> bool {
        let args = &self.request.vm;
        let carries_much = |piece: &Initrd| matches!(piece, Initrd::Bytes(b) if b.len() > LARGE);
        // Who wants to see a boot shall see one.
        let shows_boot = args.console || args.verbose > 1;
        !(args.fresh
            || args.gdb.is_some()
            // What is in such a device cannot be kept.
            || !args.vfio.is_empty()
            || shows_boot
            || spec.initrd.iter().any(carries_much))
    }

    /// The guest, for KVM.
    pub fn kvm_guest(&self) -> Result<KvmGuest, Failure> {
        let (mut spec, orders) = self.machine()?;
        if let Some(port) = self.gdb_port()? {
            spec.debugger = self.invitation(Port::Tcp(port));
        }
        let release = self.image.as_ref().map(|image| image.manifest.kernel_release.as_str());
        Ok(KvmGuest {
            states: self.may_be_kept(&spec).then(Store::of_user),
            image: self.image.as_ref().map(|image| image.directory.clone()),
            about: self.about(release.unwrap_or_default(), &spec.pmem),
            verbose: self.request.vm.verbose > 0,
            spec,
            orders,
        })
    }

    /// Where a debugger may attach, taken.
    fn gdb_port(&self) -> Result<Option<TcpListener>, Failure> {
        let Some(port) = self.request.vm.gdb else { return Ok(None) };
        let taken = gdb::listen(port.number.get());
        taken.map(Some).map_err(|error| Failure::usage(format!("--gdb {}: {error}", port.number)))
    }

    /// What the machine is told of debuggers that come by this port, if any may.
    pub fn invitation(&self, port: Port) -> Option<Arc<Invitation>> {
        let GdbPort { number, wait } = self.request.vm.gdb?;
        Some(Arc::new(Invitation { port, number: number.get(), wait }))
    }

    /// The first guest, for nested mode.
    pub fn first_guest(&self) -> Result<FirstGuest, Failure> {
        let (spec, orders) = self.machine()?;
        let draft = spec.clone();
        let states = self.may_be_kept(&spec).then(Store::of_user);
        let image = match &self.image {
            Some(image) => image,
            None => &Image::find(self.request.vm.image.as_deref()).map_err(Failure::host_lacks)?,
        };
        let tools = image.manifest.tools.as_deref();
        let nvdimms = Nvdimms::new(spec.pmem);
        let request = self.inner_request(&nvdimms);
        let text = |request: Request| serde_json::to_string(&request).map_err(Failure::vmm);
        // How long a boot may take is nothing to a guest that is up.
        let shape = request.clone().map(|mut request| {
            request.vm.boot_timeout = Duration::ZERO;
            request
        });
        Ok(FirstGuest {
            machine: shape.map(text).transpose()?.unwrap_or_default(),
            qemu: Qemu::find(self.request.vm.qemu.as_deref(), tools, RUNS_FIRST_GUESTS)
                .map_err(Failure::host_lacks)?,
            image: image.directory.clone(),
            kernel: image.first_kernel().map_err(Failure::host_lacks)?,
            initrd: image.first_initrd().map_err(Failure::host_lacks)?,
            guest_memory: spec.memory,
            draft: Some(draft),
            about: self.about(&image.manifest.kernel_release, nvdimms.pmem()),
            inner: InnerGuest {
                kernel: spec.kernel,
                initrd: spec.initrd,
                request: request.map(text).transpose()?,
            },
            nvdimms,
            debuggers: self.gdb_port()?,
            orders,
            states,
            verbose: self.request.vm.verbose > 0,
        })
    }

    /// The guest, for QEMU on this host.
    pub fn served(&self, emulator: Emulator) -> Result<Served, Failure> {
        let (mut spec, orders) = self.machine()?;
        let vm = &self.request.vm;
        let image = self.image.as_ref();
        if let (None, Some(image)) = (&vm.kernel, image) {
            spec.kernel = image.kernel_for_qemu().map_err(Failure::host_lacks)?;
        }
        let release = image.map_or("", |image| image.manifest.kernel_release.as_str());
        let tools = image.and_then(|image| image.manifest.tools.as_deref());
        let nvdimms = Nvdimms::new(spec.pmem.clone());
        if let Some(port) = self.gdb_port()? {
            spec.debugger = self.invitation(Port::Tcp(port));
        }
        Ok(Served {
            qemu: Qemu::find(vm.qemu.as_deref(), tools, SERVES_DEVICES)
                .map_err(Failure::host_lacks)?,
            emulator,
            image: image.map(|image| image.directory.clone()),
            states: self.may_be_kept(&spec).then(Store::of_user),
            about: format!("{}, QEMU", self.about(release, nvdimms.pmem())),
            nvdimms,
            spec,
            orders,
            verbose: vm.verbose > 0,
        })
    }

    /// The machine in a few words.
    fn about(&self, release: &str, pmem: &[Pmem]) -> String {
        let args = &self.request.vm;
        let mut words =
            vec![format!("Linux {release}, {} MiB, {} CPUs", args.memory >> 20, args.cpus)];
        words.extend(args.iommu.then(|| "IOMMU".to_owned()));
        words.extend(pmem.iter().map(|pmem| format!("{} MiB of pmem", pmem.size() >> 20)));
        words.extend(Some(&args.device).filter(|device| !device.is_empty()).cloned());
        words.extend(args.driver_params.clone());
        words.extend(args.cmdline_append.clone());
        words.extend(args.prepare.as_ref().map(|script| format!("after '{script}'")));
        words.join(", ")
    }

    /// What this program is asked for in the first guest: the machine that was asked for here.
    /// The command comes later, and with it what concerns only the run.
    pub(super) fn inner_request(&self, nvdimms: &Nvdimms) -> Option<Request> {
        if self.request.vm.in_first_guest {
            return None;
        }
        let verbose = self.request.vm.verbose;
        let vm = VmArgs {
            accel: Accel::Kvm,
            kernel: Some(INNER_KERNEL.into()),
            initrd: Some(INNER_INITRD.into()),
            image: None,
            qemu: None,
            files: Vec::new(),
            pmem: Vec::new(),
            pmem_at: nvdimms.ranges().to_owned(),
            env: Vec::new(),
            cwd: "/".to_owned(),
            prepare: None,
            no_input: false,
            timeout: None,
            serial: false,
            stats: false,
            stats_json: None,
            // Twice shows the boot, and such a machine is not kept.
            verbose: if verbose > 1 { verbose } else { 0 },
            quiet: true,
            ..self.request.vm.clone()
        };
        Some(Request { vm, command: None })
    }
}
