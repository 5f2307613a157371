// SPDX-License-Identifier: Apache-2.0 OR MIT
//! COM1, a 16550A. Registers are emulated on the vCPU that touches them;
//! bytes travel on the event loop, so that a vCPU never waits for a terminal
//! and a line of output costs one system call instead of one a byte.

use super::ports::{PortDevice, PowerRequest};
use super::stream::{Input, Stream};
use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use vm_superio::Trigger;
use vm_superio::serial::{Serial, SerialEvents, SerialState};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

pub const BASE: u16 = 0x3f8;
/// Ports from there on.
pub const COUNT: u16 = 8;
pub const IRQ: u32 = 4;

/// Output that waits for a slow reader. What comes beyond it is lost, as on a
/// real line without flow control: the guest must not stand still for it. The
/// reader is told how much it was.
const BACKLOG: usize = 1 << 20;
/// The modem control register, which begins and ends loopback.
const MODEM_CONTROL: u16 = 4;

const STREAM: u32 = 0;
const WAKE: u32 = 1;

type Uart = Serial<Interrupt, InputTaken, Output>;

/// The registers, for the I/O port space.
pub struct SerialPort {
    uart: Mutex<Uart>,
    interrupt: EventFd,
    output: Arc<Mutex<Backlog>>,
    wake: Arc<EventFd>,
}

/// Output on its way to the event loop.
#[derive(Default)]
struct Backlog {
    bytes: VecDeque<u8>,
    lost: usize,
}

/// An idle serial port, as a value.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedSerial(#[serde(with = "SavedRegisters")] SerialState);

/// How vm-superio's value is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "SerialState")]
struct SavedRegisters {
    baud_divisor_low: u8,
    baud_divisor_high: u8,
    interrupt_enable: u8,
    interrupt_identification: u8,
    line_control: u8,
    line_status: u8,
    modem_control: u8,
    modem_status: u8,
    scratch: u8,
    in_buffer: Vec<u8>,
}

impl SerialPort {
    /// A serial port that raises its interrupt through `interrupt`.
    pub fn new(interrupt: EventFd) -> io::Result<Arc<SerialPort>> {
        let wake = Arc::new(EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?);
        let output = Arc::<Mutex<Backlog>>::default();
        let sink = Output { backlog: Arc::clone(&output), wake: Arc::clone(&wake) };
        let events = InputTaken(Arc::clone(&wake));
        let trigger = Interrupt(interrupt.try_clone()?);
        let uart = Mutex::new(Serial::with_events(trigger, events, sink));
        Ok(Arc::new(SerialPort { uart, interrupt, output, wake }))
    }

    /// Makes a new port what `saved` was. An interrupt that was pending is raised.
    fn restore(&self, saved: &SavedSerial) -> io::Result<()> {
        let output = Output { backlog: Arc::clone(&self.output), wake: Arc::clone(&self.wake) };
        let trigger = Interrupt(self.interrupt.try_clone()?);
        let events = InputTaken(Arc::clone(&self.wake));
        let uart = Serial::from_state(&saved.0, trigger, events, output);
        *self.uart.lock() = uart.map_err(|_| io::Error::other("more input than a port holds"))?;
        Ok(())
    }
}

impl PortDevice for SerialPort {
    fn read(&self, port: u16) -> u8 {
        self.uart.lock().read(port as u8)
    }

    fn write(&self, port: u16, value: u8) -> Option<PowerRequest> {
        // The only errors are of eventfds that are full, so already raised.
        let _ = self.uart.lock().write(port as u8, value);
        if port == MODEM_CONTROL {
            // Input that waited for the end of loopback may be taken now.
            let _ = self.wake.write(1);
        }
        None
    }
}

struct Interrupt(EventFd);

impl Trigger for Interrupt {
    type E = io::Error;
    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// Wakes the event loop when the guest has read all input.
struct InputTaken(Arc<EventFd>);

impl SerialEvents for InputTaken {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}
    fn in_buffer_empty(&self) {
        let _ = self.0.write(1);
    }
}

/// Collects output and wakes the event loop at the first byte.
struct Output {
    backlog: Arc<Mutex<Backlog>>,
    wake: Arc<EventFd>,
}

impl Write for Output {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut backlog = self.backlog.lock();
        let room = BACKLOG.saturating_sub(backlog.bytes.len());
        let was_empty = backlog.bytes.is_empty();
        backlog.bytes.extend(data.iter().take(room));
        backlog.lost += data.len().saturating_sub(room);
        if was_empty {
            let _ = self.wake.write(1);
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The event loop's side of a serial port.
pub struct SerialLine {
    port: Arc<SerialPort>,
    stream: Stream,
    /// Input that the port does not take yet.
    input: Vec<u8>,
}

impl SerialLine {
    /// Connects a port with a stream.
    pub fn new(port: Arc<SerialPort>, socket: UnixStream) -> io::Result<SerialLine> {
        Ok(SerialLine { port, stream: Stream::new(socket, STREAM)?, input: Vec::new() })
    }

    /// Whether all output is written.
    pub fn is_flushed(&self) -> bool {
        self.port.output.lock().bytes.is_empty()
    }

    /// The port as a value; none while bytes are on their way. The guest does not run
    /// meanwhile.
    pub fn save(&self) -> Option<SavedSerial> {
        let idle = self.is_flushed() && self.input.is_empty();
        idle.then(|| SavedSerial(self.port.uart.lock().state()))
    }

    /// Makes a new port what `saved` was.
    pub fn restore(&self, saved: &SavedSerial) -> io::Result<()> {
        self.port.restore(saved)
    }

    /// Moves bytes both ways and returns what to wait for.
    fn pump(&mut self) -> EventSet {
        let output = if self.send() { EventSet::empty() } else { EventSet::OUT };
        let input = if self.receive() { EventSet::IN } else { EventSet::empty() };
        output | input
    }

    /// Writes output; says whether all of it is written.
    fn send(&mut self) -> bool {
        let Backlog { bytes, lost } = &mut *self.port.output.lock();
        let written = self.stream.write(bytes.make_contiguous());
        bytes.drain(..written);
        if *lost > 0 && written > 0 {
            let words = "bytes of the serial log are lost: nobody read them in time";
            bytes.extend(format!("\r\n[farfault: {lost} {words}]\r\n").as_bytes());
            *lost = 0;
        }
        bytes.is_empty()
    }

    /// Reads as much input as the port has room for; says whether there is
    /// room for more. If not, the guest's reading will wake us, or its end of
    /// loopback, in which a port takes none.
    fn receive(&mut self) -> bool {
        let mut uart = self.port.uart.lock();
        let mut buffer = [0; 64];
        loop {
            if self.input.is_empty() {
                let room = uart.fifo_capacity().min(buffer.len());
                if room == 0 {
                    return false;
                }
                match self.stream.read(&mut buffer[..room]) {
                    Input::Data(count) => self.input.extend(&buffer[..count]),
                    Input::Later => return true,
                    Input::Ended => return false,
                }
            }
            // Fails only where there is no room, or the interrupt is raised already.
            let taken = uart.enqueue_raw_bytes(&self.input).unwrap_or(0);
            self.input.drain(..taken);
            if !self.input.is_empty() {
                return false;
            }
        }
    }
}

impl MutEventSubscriber for SerialLine {
    fn init(&mut self, ops: &mut EventOps) {
        // Cannot fail: a fresh descriptor in a fresh loop.
        let _ = ops.add(Events::with_data(self.port.wake.as_ref(), WAKE, EventSet::IN));
        let wanted = self.pump();
        self.stream.watch(wanted, ops);
    }

    fn process(&mut self, events: Events, ops: &mut EventOps) {
        if events.data() == WAKE {
            let _ = self.port.wake.read();
        }
        let wanted = self.pump();
        self.stream.watch(wanted, ops);
    }
}

#[cfg(test)]
#[path = "serial_test.rs"]
mod tests;
