// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The life of commands in a queue: into the ring, on to the device, and out
//! again with their completion records.
//!
//! The device carries out a queue's commands in order, so commands retire in
//! order too. Each has a ticket, counted from 1, which is also its fence value;
//! its slot is reused only after it has retired.
#![allow(unsafe_code, reason = "submitting a descriptor lets the device access its operands")]

use crate::error::{Error, Failure};
use crate::kernel::{Doorbell, Kernel};
use crate::ring::RingMemory;
use farfault_abi::descriptor::{Completion, DESC_IRQ, Descriptor};
use farfault_abi::uapi::{QueueCreate, Wait};
use nix::errno::Errno;
use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::sync::Arc;

/// How often a completion record is looked at before the process sleeps: about
/// a microsecond, less than the system call would take.
const SPINS: u32 = 64;

/// A command the device may be working on.
struct InFlight {
    ticket: u64,
    opcode: u8,
    /// Whether somebody will ask how it ended.
    wanted: bool,
}

/// One queue and the commands in it.
pub struct Submission {
    kernel: Arc<dyn Kernel>,
    ring: RingMemory,
    doorbell: Box<dyn Doorbell>,
    queue: u32,
    /// Ring index of ticket 1.
    first: u32,
    /// Ticket of the newest command.
    last: u64,
    /// False once the device has let go of the queue.
    open: bool,
    in_flight: VecDeque<InFlight>,
    /// Commands that have ended, and that somebody will ask for.
    ended: HashMap<u64, Result<Completion, Failure>>,
    /// First failure of a command that nobody asked for.
    failure: Option<Error>,
}

impl Submission {
    /// A queue of `entries` whose ring indices start at `first`.
    pub fn new(kernel: Arc<dyn Kernel>, entries: u32, first: u32) -> Result<Self, Error> {
        if !RingMemory::is_possible(entries) {
            return Err(Error::Entries(entries));
        }
        let ring = RingMemory::new(entries, first).map_err(Error::system("mmap of a ring"))?;
        let mut create = QueueCreate { ring: ring.address(), entries, ..QueueCreate::default() };
        // SAFETY: the ring lives in the Submission, whose drop destroys the queue first.
        unsafe { kernel.queue_create(&mut create) }.map_err(Error::system("ioctl QUEUE_CREATE"))?;
        let queue = create.queue;
        let doorbell = kernel.doorbell(create.doorbell);
        let doorbell = doorbell.map_err(|source| {
            take_from_device(kernel.as_ref(), queue);
            Error::System { call: "mmap of a doorbell page", source }
        })?;
        Ok(Self {
            kernel,
            ring,
            doorbell,
            queue,
            first,
            last: 0,
            open: true,
            in_flight: VecDeque::with_capacity(entries as usize),
            ended: HashMap::new(),
            failure: None,
        })
    }

    /// The number that the driver gave the queue.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// Hands a command to the device, and returns its ticket. When the ring is
    /// full, waits for the oldest command first. Completion record and fence are
    /// filled in here.
    ///
    /// # Safety
    /// The operands are the device's until the command has ended: until
    /// [`claim`](Self::claim) of the ticket or [`settle`](Self::settle) has returned.
    pub unsafe fn submit(&mut self, descriptor: Descriptor) -> Result<u64, Error> {
        self.make_room()?;
        let ticket = self.last + 1;
        let index = self.index(ticket);
        let descriptor = Descriptor {
            flags: descriptor.flags | DESC_IRQ as u8,
            completion: self.ring.record_address(index),
            fence: ticket,
            ..descriptor
        };
        self.ring.write(index, &descriptor);
        self.in_flight.push_back(InFlight { ticket, opcode: descriptor.opcode, wanted: true });
        self.last = ticket;
        self.ring.set_tail(index.wrapping_add(1));
        self.doorbell.ring();
        Ok(ticket)
    }

    /// Whether it is a queue of the device behind `kernel`.
    pub fn is_of(&self, kernel: &Arc<dyn Kernel>) -> bool {
        Arc::ptr_eq(&self.kernel, kernel)
    }

    /// Whether the command has ended. Makes no system call.
    pub fn has_ended(&self, ticket: u64) -> bool {
        self.in_flight.front().is_none_or(|oldest| ticket < oldest.ticket)
            || self.record(ticket).is_some()
    }

    /// Waits until the command has ended, and says how. A ticket is claimed once.
    pub fn claim(&mut self, ticket: u64) -> Result<Completion, Error> {
        while self.in_flight.front().is_some_and(|oldest| oldest.ticket <= ticket) {
            self.retire_oldest()?;
        }
        let ended = self.ended.remove(&ticket).ok_or(Error::Halted { queue: self.queue })?;
        Ok(ended?)
    }

    /// Nobody will claim the command: should it fail, [`settle`](Self::settle) tells.
    pub fn disown(&mut self, ticket: u64) {
        if let Some(ended) = self.ended.remove(&ticket) {
            self.note(ended.err().map(Error::from));
        } else if let Some(oldest) = self.in_flight.front().map(|oldest| oldest.ticket) {
            let place = ticket.checked_sub(oldest).and_then(|n| usize::try_from(n).ok());
            if let Some(command) = place.and_then(|place| self.in_flight.get_mut(place)) {
                command.wanted = false;
            }
        }
    }

    /// Returns when the device is done with all commands, or has been made to
    /// let go of them; with the first failure that nobody has asked for.
    pub fn settle(&mut self) -> Option<Error> {
        while !self.in_flight.is_empty() {
            if let Err(error) = self.retire_oldest() {
                self.close();
                self.retire_done();
                self.note((!self.in_flight.is_empty()).then_some(error));
                self.in_flight.clear();
            }
        }
        let mut forgotten: Vec<_> = self.ended.drain().collect();
        forgotten.sort_unstable_by_key(|&(ticket, _)| ticket);
        for (_, ended) in forgotten {
            self.note(ended.err().map(Error::from));
        }
        self.failure.take()
    }

    fn make_room(&mut self) -> Result<(), Error> {
        if !self.open {
            return Err(Error::Halted { queue: self.queue });
        }
        if self.in_flight.len() == self.ring.entries() as usize {
            self.retire_oldest()?;
        }
        // A command's record is written before the head moves past it, so the
        // ring can still look full for a moment. A device that does not move it
        // any more does not end the next command either, and the kernel says why.
        let next = self.index(self.last + 1);
        let mut patience = SPINS;
        while next.wrapping_sub(self.ring.head()) >= self.ring.entries() {
            if self.ring.is_halted() {
                return Err(Error::Halted { queue: self.queue });
            }
            if patience > 0 {
                patience -= 1;
                std::thread::yield_now();
            } else {
                self.retire_oldest()?;
            }
        }
        Ok(())
    }

    fn retire_oldest(&mut self) -> Result<(), Error> {
        let Some(oldest) = self.in_flight.front() else { return Ok(()) };
        let completion = self.wait_for(oldest.ticket)?;
        self.retire(completion);
        Ok(())
    }

    /// Retires what has ended, without waiting.
    fn retire_done(&mut self) {
        while let Some(completion) = self.in_flight.front().and_then(|c| self.record(c.ticket)) {
            self.retire(completion);
        }
    }

    fn retire(&mut self, completion: Completion) {
        let Some(command) = self.in_flight.pop_front() else { return };
        let failure = Failure::of(command.opcode, &completion);
        if command.wanted {
            self.ended.insert(command.ticket, failure.map_or(Ok(completion), Err));
        } else {
            self.note(failure.map(Error::from));
        }
    }

    fn wait_for(&self, ticket: u64) -> Result<Completion, Error> {
        for _ in 0..SPINS {
            if let Some(completion) = self.record(ticket) {
                return Ok(completion);
            }
            std::hint::spin_loop();
        }
        let request = Wait {
            queue: self.queue,
            address: self.ring.record_address(self.index(ticket)),
            value: ticket,
            ..Wait::default()
        };
        loop {
            let answer = if self.open { self.kernel.wait(&request) } else { Err(Errno::EIO) };
            if let Some(completion) = self.record(ticket) {
                return Ok(completion);
            }
            match answer {
                Ok(()) | Err(Errno::EINTR) => {}
                Err(Errno::EIO) => return Err(Error::Halted { queue: self.queue }),
                Err(source) => return Err(Error::System { call: "ioctl WAIT", source }),
            }
        }
    }

    fn record(&self, ticket: u64) -> Option<Completion> {
        self.ring.record(self.index(ticket), ticket)
    }

    /// Free-running ring index; that it is the low half of a count is what makes it wrap right.
    fn index(&self, ticket: u64) -> u32 {
        self.first.wrapping_add((ticket - 1) as u32)
    }

    fn note(&mut self, failure: Option<Error>) {
        self.failure = self.failure.take().or(failure);
    }

    fn close(&mut self) {
        if self.open {
            take_from_device(self.kernel.as_ref(), self.queue);
            self.open = false;
        }
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        self.close();
    }
}

/// Returns when the device will not access memory for `queue` any more.
fn take_from_device(kernel: &dyn Kernel, queue: u32) {
    loop {
        match kernel.queue_destroy(queue) {
            // The driver does not know the queue; or the device is being taken away,
            // which the driver must not say before it has stopped; or this is a forked
            // child, whose memory is not what the queue reaches.
            Ok(()) | Err(Errno::ENOENT | Errno::ENODEV | Errno::EPERM) => return,
            Err(Errno::EINTR) => {}
            Err(error) => {
                // Going on would let the device write into memory that is used otherwise.
                // That nobody reads it must not unwind.
                let _ = writeln!(
                    std::io::stderr(),
                    "farfault-client: cannot take queue {queue} from the device: {error}"
                );
                std::process::abort();
            }
        }
    }
}
