// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Interrupts and doorbells through KVM: an irqfd for every I/O APIC pin and
//! message in use, the table of routes behind them, and ioeventfds.

use super::error::MachineError;
use crate::pci::{DirectLine, DirectMessage, EventRegistry, Message, MessageSink};
use kvm_bindings::{
    KVM_IRQ_ROUTING_IRQCHIP, KVM_IRQ_ROUTING_MSI, KVM_IRQCHIP_IOAPIC, KvmIrqRouting,
    kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1 as Route, kvm_irq_routing_irqchip,
    kvm_irq_routing_msi, kvm_irq_routing_msi__bindgen_ty_1 as MsiTail,
};
use kvm_ioctls::{Error, IoEventAddress, NoDatamatch, VmFd};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// Pins of KVM's I/O APIC; vectors are routed from here on.
const IO_APIC_PINS: u32 = 24;

pub struct Interrupts {
    vm: Arc<VmFd>,
    routes: Mutex<Routes>,
    /// All events that KVM takes, by what they raise.
    irqfds: Mutex<Vec<(u32, EventFd)>>,
}

/// What each vector's irqfd sends. KVM takes the table as a whole, and waits
/// for all vCPUs to notice: so it gets it when a message is to be sent that it
/// does not know yet, and learns of all others programmed until then with it.
#[derive(Default)]
struct Routes {
    messages: Vec<Message>,
    stale: bool,
}

impl Interrupts {
    pub fn new(vm: Arc<VmFd>) -> Arc<Interrupts> {
        Arc::new(Interrupts { vm, routes: Mutex::default(), irqfds: Mutex::default() })
    }

    /// An irqfd for one more MSI-X vector.
    pub fn vector(self: &Arc<Interrupts>) -> Result<Box<dyn MessageSink>, MachineError> {
        let index = self.routes.lock().add();
        let event = self.line(gsi(index))?;
        Ok(Box::new(Vector { interrupts: Arc::clone(self), index, event }))
    }

    /// A message that the host's kernel sends, when it is raised and has been connected.
    pub fn direct_message(self: &Arc<Interrupts>) -> Result<Box<dyn DirectMessage>, MachineError> {
        let (index, event) = (self.routes.lock().add(), event()?);
        Ok(Box::new(Direct { interrupts: Arc::clone(self), index, event }))
    }

    /// A pin of the I/O APIC that the host's kernel asserts.
    pub fn direct_line(&self, pin: u32) -> Result<Box<dyn DirectLine>, MachineError> {
        let [event, served] = [event()?, event()?];
        self.vm
            .register_irqfd_with_resample(&event, &served, pin)
            .map_err(MachineError::kvm("make an irqfd for a level"))?;
        Ok(Box::new(Asserted { event, served }))
    }

    /// Lets writes to a port vanish in the kernel, without an exit. KVM keeps
    /// the event, which nobody waits for.
    pub fn ignore_writes(&self, port: u16) -> Result<(), MachineError> {
        let event = event()?;
        self.vm
            .register_ioevent(&event, &IoEventAddress::Pio(port.into()), NoDatamatch)
            .map_err(MachineError::kvm("make an ioeventfd"))
    }

    /// An event that raises an edge on an I/O APIC pin, or sends a vector's message.
    pub fn line(&self, gsi: u32) -> Result<EventFd, MachineError> {
        let event = event()?;
        self.vm.register_irqfd(&event, gsi).map_err(MachineError::kvm("make an irqfd"))?;
        let copy = event.try_clone().map_err(MachineError::host("copy an eventfd"))?;
        self.irqfds.lock().push((gsi, copy));
        Ok(event)
    }

    /// Has all interrupts that were raised arrive in the interrupt controllers. KVM raises
    /// some of them later, on a thread of its own, and is done with an event's when that is
    /// taken away.
    pub fn settle(&self) -> Result<(), MachineError> {
        self.irqfds.lock().iter().try_for_each(|(gsi, event)| {
            let again = self.vm.unregister_irqfd(event, *gsi);
            again
                .and_then(|()| self.vm.register_irqfd(event, *gsi))
                .map_err(MachineError::kvm("make an irqfd anew"))
        })
    }
}

fn event() -> Result<EventFd, MachineError> {
    EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(MachineError::host("make an eventfd"))
}

impl Routes {
    /// One message more.
    fn add(&mut self) -> usize {
        self.messages.push(Message::default());
        self.messages.len() - 1
    }

    fn program(&mut self, index: usize, message: Message) {
        let Some(programmed) = self.messages.get_mut(index) else { return };
        if *programmed != message {
            *programmed = message;
            self.stale = true;
        }
    }

    /// Has `set` give the whole table to KVM, if it does not know it yet. What it
    /// refuses (it may lack memory for the moment) it is given again with the next
    /// message; until then messages go as they went before.
    fn settle(&mut self, set: impl FnOnce(&KvmIrqRouting) -> Result<(), Error>) {
        if !self.stale {
            return;
        }
        let pins = (0..IO_APIC_PINS).map(pin_route);
        let messages = self.messages.iter().enumerate();
        let routes = messages.map(|(index, message)| message_route(gsi(index), *message));
        let entries: Vec<_> = pins.chain(routes).collect();
        let table = KvmIrqRouting::from_entries(&entries).ok();
        self.stale = table.is_none_or(|table| set(&table).is_err());
    }
}

/// What KVM calls a message: it counts on from the pins.
fn gsi(index: usize) -> u32 {
    IO_APIC_PINS + index as u32
}

fn pin_route(pin: u32) -> kvm_irq_routing_entry {
    let irqchip = kvm_irq_routing_irqchip { irqchip: KVM_IRQCHIP_IOAPIC, pin };
    let u = Route { irqchip };
    kvm_irq_routing_entry { gsi: pin, type_: KVM_IRQ_ROUTING_IRQCHIP, u, ..Default::default() }
}

fn message_route(gsi: u32, message: Message) -> kvm_irq_routing_entry {
    let msi = kvm_irq_routing_msi {
        address_lo: message.address as u32,
        address_hi: (message.address >> 32) as u32,
        data: message.data,
        __bindgen_anon_1: MsiTail { pad: 0 },
    };
    let u = Route { msi };
    kvm_irq_routing_entry { gsi, type_: KVM_IRQ_ROUTING_MSI, u, ..Default::default() }
}

/// One vector among all.
struct Vector {
    interrupts: Arc<Interrupts>,
    index: usize,
    event: EventFd,
}

impl MessageSink for Vector {
    fn program(&self, message: Message) {
        self.interrupts.routes.lock().program(self.index, message);
    }

    fn send(&self) {
        let mut routes = self.interrupts.routes.lock();
        routes.settle(|table| self.interrupts.vm.set_gsi_routing(table));
        // Fails only if the counter is full, so the message is on its way.
        let _ = self.event.write(1);
    }
}

/// One message among all, which KVM takes only while it is connected.
struct Direct {
    interrupts: Arc<Interrupts>,
    index: usize,
    event: EventFd,
}

impl DirectMessage for Direct {
    fn event(&self) -> &EventFd {
        &self.event
    }

    fn connect(&self, message: Message) -> io::Result<()> {
        let mut routes = self.interrupts.routes.lock();
        routes.program(self.index, message);
        routes.settle(|table| self.interrupts.vm.set_gsi_routing(table));
        if routes.stale {
            return Err(io::Error::other("KVM does not take the message"));
        }
        // KVM looks whether it was raised by now.
        self.interrupts.vm.register_irqfd(&self.event, gsi(self.index)).map_err(io::Error::from)
    }

    fn disconnect(&self) {
        // Fails only if it is not connected.
        let _ = self.interrupts.vm.unregister_irqfd(&self.event, gsi(self.index));
    }
}

/// A pin with an event to assert it.
struct Asserted {
    event: EventFd,
    served: EventFd,
}

impl DirectLine for Asserted {
    fn event(&self) -> &EventFd {
        &self.event
    }

    fn served(&self) -> &EventFd {
        &self.served
    }
}

impl EventRegistry for Interrupts {
    fn attach(&self, event: &EventFd, address: u64) -> io::Result<()> {
        let address = IoEventAddress::Mmio(address);
        self.vm.register_ioevent(event, &address, NoDatamatch).map_err(io::Error::from)
    }

    fn detach(&self, event: &EventFd, address: u64) -> io::Result<()> {
        let address = IoEventAddress::Mmio(address);
        self.vm.unregister_ioevent(event, &address, NoDatamatch).map_err(io::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use super::{Message, Routes};
    use kvm_ioctls::Error;

    /// What a host has refused once it may take the next time.
    #[test]
    fn a_refused_table_is_given_again() {
        let mut routes = Routes::default();
        let index = routes.add();
        routes.program(index, Message { address: 0xfee0_0000, data: 0x41 });
        let mut given = 0;
        for answer in [Err(Error::new(12)), Ok(()), Ok(())] {
            routes.settle(|_| {
                given += 1;
                answer
            });
        }
        assert_eq!((given, routes.stale), (2, false));
    }
}
