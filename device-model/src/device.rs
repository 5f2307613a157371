// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device as its hosting sees it: BARs, bus mastering, reset, threads.

use crate::command_queue::CommandQueue;
use crate::config::{ConfigError, DeviceConfig};
use crate::counters::{Counters, count};
use crate::dma::Stretch;
use crate::engine::{Attachment, Engine, Step};
use crate::gate::{Plane, Setup};
use crate::platform::Platform;
use crate::ram::Dma;
use crate::refusal::{Refusal, RefusalCause};
use crate::registers::{BadAccess, Effect, Registers};
use crate::saved::SavedDevice;
use crate::shared::Shared;
use crate::sync::Mutex;
use crate::vram::Vram;
use farfault_abi::pci::{DOORBELL_COMMAND, QUEUES};
use farfault_abi::regs::CTRL_ENABLE;
use std::sync::Arc;

/// The accelerator.
pub struct Device {
    shared: Shared,
    registers: Mutex<Registers>,
    commands: Mutex<CommandQueue>,
}

impl Device {
    /// Makes a device in `platform`, disabled and with bus mastering off.
    pub fn new(
        config: DeviceConfig,
        platform: Arc<dyn Platform>,
    ) -> Result<Arc<Self>, ConfigError> {
        config.validate()?;
        let vram = Vram::new(config.vram).ok_or(ConfigError::NoRoom(config.vram))?;
        Ok(Arc::new(Self {
            shared: Shared::new(config, platform, vram),
            registers: Mutex::new(Registers::default()),
            commands: Mutex::new(CommandQueue::default()),
        }))
    }

    /// Reads registers (BAR 0); any offset and size is answered.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        let registers = *self.registers.lock();
        match registers.read(&self.shared, offset, data.len()) {
            Ok(value) => {
                data.iter_mut().zip(value.to_le_bytes()).for_each(|(byte, v)| *byte = v);
            }
            Err(BadAccess) => {
                data.fill(0xff);
                self.shared.tell(&self.bad_access(offset));
            }
        }
    }

    /// Writes registers (BAR 0); any offset and size is answered.
    pub fn write(&self, offset: u64, data: &[u8]) {
        if let Err(refusal) = self.write_register(offset, data) {
            self.shared.tell(&refusal);
        }
    }

    fn write_register(&self, offset: u64, data: &[u8]) -> Result<(), Refusal> {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(data).for_each(|(byte, v)| *byte = *v);
        let value = u64::from_le_bytes(bytes);
        let mut registers = self.registers.lock();
        let enabled = self.shared.is_enabled();
        match registers.write(enabled, offset, data.len(), value) {
            Ok(Effect::None) => {}
            Ok(Effect::ClearErrors(bits)) => self.shared.clear_errors(bits),
            Ok(Effect::Control(control)) => match (enabled, control & CTRL_ENABLE != 0) {
                (false, true) => self.enable(&registers)?,
                (true, false) => self.begin_epoch(|plane| plane.enabled = false),
                _ => {}
            },
            Err(BadAccess) => return Err(self.bad_access(offset)),
        }
        Ok(())
    }

    /// A write to doorbell page `page` (BAR 4): of a user-mode queue, or the command queue's.
    pub fn doorbell(&self, page: u64) {
        if page == u64::from(DOORBELL_COMMAND) {
            return self.shared.scheduler.kick();
        }
        count(&self.shared.counters.doorbells);
        if page >= u64::from(QUEUES) || !self.shared.scheduler.ring(page as u16) {
            count(&self.shared.counters.doorbells_wild);
            let refusal = Refusal::new(RefusalCause::Doorbell);
            let refusal = Refusal { queue: u16::try_from(page).ok(), ..refusal };
            self.shared.tell(&self.shared.refuse(refusal));
        }
    }

    /// Bus mastering as the configuration space has it; once it is off and this
    /// returns, no memory access of the device is in flight.
    pub fn set_bus_master(&self, on: bool) {
        self.shared.gate.change(|plane| {
            plane.bus_master = on;
            self.shared.scheduler.set_bus_master(on);
        });
    }

    /// The IOMMU says otherwise than before. When this returns, no access is
    /// left that was made through what it said before, and nothing of it is
    /// remembered. May wait for a section; called by a thread of the hosting.
    pub fn dma_changed(&self) {
        self.change_dma(|gone| gone.push(Stretch::ALL));
    }

    /// Has `change` change what the IOMMU says, while no access of the device is in flight. It
    /// names the memory to which addresses have led that now lead elsewhere or nowhere; of that
    /// nothing is remembered, and what was not named costs nothing. May wait for a section;
    /// called by a thread of the hosting.
    pub fn change_dma<R>(&self, change: impl FnOnce(&mut Vec<Stretch>) -> R) -> R {
        self.shared.gate.change(|plane| {
            let mut gone = Vec::new();
            let result = change(&mut gone);
            gone.into_iter().for_each(|stretch| plane.unmapped.push(stretch));
            result
        })
    }

    /// The platform has other memory than before; asks for it anew. When this returns, no
    /// access to what it no longer has is in flight, and none begins. Queues and what they
    /// were doing go on. May wait for a section; called by a thread of the hosting.
    pub fn memory_changed(&self) {
        let memory = Dma::new(&*self.shared.platform);
        self.shared.gate.change(|plane| {
            if !plane.stopped {
                plane.memory = memory;
            }
            plane.memories += 1;
            self.shared.scheduler.change_memory(plane.memories);
        });
    }

    /// Function-level reset: as new, bus mastering off, but for the counters,
    /// which go on. What was in device memory is gone. When it returns, no memory
    /// access is in flight.
    pub fn reset(&self) {
        let mut registers = self.registers.lock();
        // Where the host has no room for it any more there is none.
        let vram = Vram::new(self.shared.config.vram).unwrap_or_default();
        self.begin_epoch(|plane| {
            plane.enabled = false;
            plane.bus_master = false;
            plane.vram = if plane.stopped { Vram::default() } else { vram };
            plane.setup = Setup::default();
            self.shared.scheduler.set_bus_master(false);
            self.shared.clear_errors(u32::MAX);
            self.shared.faulty.restart();
        });
        *registers = Registers::default();
    }

    /// The device as a value; none while it is at work, or when something may be in its memory.
    /// The caller sees to it that nobody asks anything of it meanwhile.
    pub fn save(&self) -> Option<SavedDevice> {
        // Commands that were rung for may not have been looked at yet.
        let done = loop {
            match self.step_commands() {
                Step::Worked => {}
                step => break step == Step::Idle,
            }
        };
        let shared = &self.shared;
        let idle = done && shared.scheduler.is_idle() && shared.faults.lock().is_empty();
        let idle = idle && !shared.spaces.are_counting();
        let idle = idle && self.counters().device_bytes_written == 0;
        idle.then(|| SavedDevice {
            registers: *self.registers.lock(),
            enabled: shared.is_enabled(),
            errors: shared.errors(),
            counters: self.counters(),
        })
    }

    /// Makes a new device in the same memory what `saved` was, but for bus mastering.
    pub fn restore(&self, saved: &SavedDevice) -> Result<(), Refusal> {
        let mut registers = self.registers.lock();
        *registers = saved.registers;
        if saved.enabled {
            self.enable(&registers)?;
        }
        self.shared.set_errors(saved.errors);
        self.shared.counters.set(&saved.counters);
        Ok(())
    }

    /// The body of the thread of engine `index`; returns after [`Device::stop`].
    pub fn run_engine(&self, index: u32) {
        debug_assert!(index < self.shared.config.engines);
        loop {
            let attachment = self.attach();
            let mut engine = self.engine(&attachment);
            loop {
                match engine.step() {
                    Step::Worked => {}
                    Step::Over => break,
                    Step::Idle | Step::Waiting => {
                        if !self.shared.scheduler.wait_for_work(attachment.term()) {
                            return;
                        }
                    }
                }
            }
            if self.shared.scheduler.is_stopped() {
                return;
            }
        }
    }

    /// The body of the command processor's thread; returns after [`Device::stop`].
    pub fn run_commands(&self) {
        while self.shared.scheduler.wait_for_kick() {
            while self.step_commands() == Step::Worked {}
        }
    }

    /// Ends the bodies of all threads; the device does nothing any more, whatever is asked of
    /// it, and holds no memory once they have ended.
    pub fn stop(&self) {
        // First: who sees that the epoch is over sees this, too.
        self.shared.scheduler.stop();
        self.begin_epoch(|plane| {
            plane.enabled = false;
            plane.stopped = true;
            plane.memory = Dma::none();
            plane.vram = Vram::default();
        });
    }

    /// What has been counted since the device was made.
    pub fn counters(&self) -> Counters {
        self.shared.counters.read()
    }

    /// Guest memory as it is now, for [`Device::engine`] to borrow.
    pub fn attach(&self) -> Attachment {
        Attachment::new(&self.shared)
    }

    /// An engine to be driven step by step.
    pub fn engine<'m>(&'m self, attachment: &'m Attachment) -> Engine<'m> {
        Engine::new(&self.shared, attachment)
    }

    /// One step of the command processor.
    pub fn step_commands(&self) -> Step {
        self.commands.lock().step(&self.shared)
    }

    fn enable(&self, registers: &Registers) -> Result<(), Refusal> {
        let memory = Dma::new(&*self.shared.platform);
        let setup = {
            let _behind = self.shared.gate.look();
            registers.setup(&memory).map_err(|refusal| self.shared.refuse(refusal))?
        };
        self.begin_epoch(|plane| {
            if !plane.stopped {
                plane.enabled = true;
                plane.memory = memory;
                plane.setup = setup;
            }
        });
        Ok(())
    }

    /// Ends all that is going on, with no access in flight, and makes `change`.
    fn begin_epoch(&self, change: impl FnOnce(&mut Plane)) {
        self.shared.gate.change(|plane| {
            change(plane);
            plane.epoch += 1;
            self.shared.scheduler.begin_epoch(plane.epoch);
            self.shared.spaces.count_nothing();
            self.shared.faults.lock().clear();
        });
    }

    fn bad_access(&self, offset: u64) -> Refusal {
        count(&self.shared.counters.bad_accesses);
        self.shared.refuse(Refusal::at(RefusalCause::Register, offset))
    }
}
