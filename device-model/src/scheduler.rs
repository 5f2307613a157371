// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which queue runs next, and which thread sleeps until when.
//!
//! A queue is in exactly one state; what it has in flight ([`Run`]) is either
//! here, in its slot, or with the engine that picked it. Ready queues wait in
//! one line: a doorbell, a page response or the end of a slice puts a queue at
//! its end, so a long command delays others by a slice per queue, and a parked
//! queue delays nobody.

use crate::gate::Term;
use crate::queue::{Binding, Run};
use crate::section::PageFault;
use crate::sync::{Condvar, Mutex};
use farfault_abi::pci::QUEUES;
use std::collections::VecDeque;

/// Answer to a page request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// The queue that waited goes on.
    Taken,
    /// No queue waits for this group.
    Stale,
}

/// What [`Scheduler::pick`] found.
pub enum Pick {
    /// A queue to run.
    Run(Box<Run>),
    Nothing,
    /// There is work that bus mastering being off forbids.
    Forbidden,
    /// The engine's term is over.
    Over,
}

#[derive(Default)]
enum QueueState {
    #[default]
    Disabled,
    Idle,
    Ready,
    /// With an engine; `rung` if a doorbell came meanwhile.
    Running {
        rung: bool,
    },
    Parked {
        group: u32,
        fault: PageFault,
    },
    Halted,
}

#[derive(Default)]
struct Slot {
    state: QueueState,
    run: Option<Box<Run>>,
    /// Engines that still have something to do for the queue: run it or post its faults.
    holders: u32,
}

#[derive(Default)]
struct Board {
    slots: Vec<Slot>,
    ready: VecDeque<u16>,
    epoch: u64,
    memories: u64,
    bus_master: bool,
    kicked: bool,
    stopped: bool,
}

pub struct Scheduler {
    board: Mutex<Board>,
    engines: Condvar,
    commands: Condvar,
}

impl Scheduler {
    /// All queues disabled.
    pub fn new() -> Self {
        let slots = (0..QUEUES).map(|_| Slot::default()).collect();
        let ready = VecDeque::with_capacity(QUEUES as usize);
        let board = Board { slots, ready, ..Board::default() };
        Self { board: Mutex::new(board), engines: Condvar::new(), commands: Condvar::new() }
    }

    /// Begins `epoch` with all queues disabled.
    pub fn begin_epoch(&self, epoch: u64) {
        let mut board = self.board.lock();
        board.epoch = epoch;
        board.ready.clear();
        board.slots.fill_with(Slot::default);
        self.engines.notify_all();
    }

    /// Wakes engines whose slices are of other memory than the present.
    pub fn change_memory(&self, memories: u64) {
        self.board.lock().memories = memories;
        self.engines.notify_all();
    }

    /// Says whether memory may be accessed.
    pub fn set_bus_master(&self, on: bool) {
        let mut board = self.board.lock();
        board.bus_master = on;
        if on {
            board.kicked = true;
            self.engines.notify_all();
            self.commands.notify_all();
        }
    }

    /// Enables a queue; false if it is enabled already.
    pub fn enable(&self, binding: Binding, epoch: u64) -> bool {
        let mut board = self.board.lock();
        match board.slot(binding.queue) {
            Some(slot) if matches!(slot.state, QueueState::Disabled) && slot.holders == 0 => {
                slot.run = Some(Box::new(Run::new(binding, epoch)));
                slot.state = QueueState::Idle;
                true
            }
            _ => false,
        }
    }

    /// Disables a queue; false as long as an engine has to do with it, after
    /// which the command processor is kicked.
    pub fn disable(&self, queue: u16) -> bool {
        let mut board = self.board.lock();
        board.ready.retain(|ready| *ready != queue);
        let Some(slot) = board.slot(queue) else { return true };
        slot.state = QueueState::Disabled;
        slot.run = None;
        slot.holders == 0
    }

    /// A doorbell; false if the queue is not enabled.
    pub fn ring(&self, queue: u16) -> bool {
        let mut board = self.board.lock();
        let Some(slot) = board.slot(queue) else { return false };
        match &mut slot.state {
            QueueState::Disabled => return false,
            QueueState::Idle => self.make_ready(&mut board, queue),
            QueueState::Running { rung } => *rung = true,
            // It looks at its tail when it comes to run.
            QueueState::Ready | QueueState::Parked { .. } | QueueState::Halted => {}
        }
        true
    }

    /// Takes the queue that has been ready longest, for an engine of `term`.
    pub fn pick(&self, term: Term) -> Pick {
        let mut board = self.board.lock();
        if board.term() != term {
            return Pick::Over;
        }
        if !board.bus_master {
            return if board.ready.is_empty() { Pick::Nothing } else { Pick::Forbidden };
        }
        let Some(queue) = board.ready.pop_front() else { return Pick::Nothing };
        let Some(slot) = board.slot(queue) else { return Pick::Nothing };
        let Some(run) = slot.run.take() else { return Pick::Nothing };
        slot.state = QueueState::Running { rung: false };
        slot.holders += 1;
        Pick::Run(run)
    }

    /// A slice is over: gives the queue back to its engine for another if nobody
    /// else waits, and otherwise takes it to the end of the line.
    pub fn next_slice(&self, run: Box<Run>) -> Option<Box<Run>> {
        let mut board = self.board.lock();
        let alone = board.ready.is_empty() && board.epoch == run.epoch;
        let running = board
            .slot(run.binding.queue)
            .is_some_and(|slot| matches!(slot.state, QueueState::Running { .. }));
        drop(board);
        if alone && running {
            return Some(run);
        }
        self.requeue(run);
        None
    }

    /// Takes back a queue that is to go on later: to the end of the line.
    pub fn requeue(&self, run: Box<Run>) {
        self.give_back(run, |_| QueueState::Ready, true);
    }

    /// Takes back a queue whose ring is empty.
    pub fn idle(&self, run: Box<Run>) {
        self.give_back(run, |rung| if rung { QueueState::Ready } else { QueueState::Idle }, true);
    }

    /// Takes back a queue that waits for an answer to `group`. The engine has
    /// the group still to post (the other order would let an answer come too
    /// early), so the queue counts as held until [`Scheduler::posted`]. False if
    /// the queue was disabled meanwhile and nothing is to be posted.
    pub fn park(&self, run: Box<Run>, group: u32, fault: PageFault) -> bool {
        self.give_back(run, |_| QueueState::Parked { group, fault }, false)
    }

    /// Takes back a queue that cannot go on; the rest is as for parking.
    pub fn halt(&self, run: Box<Run>) -> bool {
        self.give_back(run, |_| QueueState::Halted, false)
    }

    /// An engine has nothing more to do for a queue that it parked or halted.
    pub fn posted(&self, queue: u16, epoch: u64) {
        let mut board = self.board.lock();
        if board.epoch == epoch {
            self.let_go(&mut board, queue);
        }
    }

    /// Answers `group` of a queue; a `refusal` is the status with which its command ends.
    pub fn respond(&self, queue: u16, group: u32, refusal: Option<u32>) -> Response {
        let mut board = self.board.lock();
        let Some(slot) = board.slot(queue) else { return Response::Stale };
        let QueueState::Parked { group: waiting, fault } = slot.state else {
            return Response::Stale;
        };
        if waiting != group {
            return Response::Stale;
        }
        if let (Some(run), Some(status)) = (slot.run.as_mut(), refusal) {
            run.refuse(&fault, status);
        }
        self.make_ready(&mut board, queue);
        Response::Taken
    }

    /// Has the command processor look at its ring.
    pub fn kick(&self) {
        self.board.lock().kicked = true;
        self.commands.notify_one();
    }

    /// Sleeps until there is something to pick, or `term` is over; false if the device is
    /// stopped.
    pub fn wait_for_work(&self, term: Term) -> bool {
        let mut board = self.board.lock();
        let idle = |board: &Board| board.ready.is_empty() || !board.bus_master;
        while !board.stopped && board.term() == term && idle(&board) {
            self.engines.wait(&mut board);
        }
        !board.stopped
    }

    /// Sleeps until there has been a kick; false if the device is stopped.
    pub fn wait_for_kick(&self) -> bool {
        let mut board = self.board.lock();
        while !board.stopped && !board.kicked {
            self.commands.wait(&mut board);
        }
        board.kicked = false;
        !board.stopped
    }

    /// Whether no queue is enabled, and no engine has to do with one that was.
    pub fn is_idle(&self) -> bool {
        let board = self.board.lock();
        let is_idle = |slot: &Slot| matches!(slot.state, QueueState::Disabled) && slot.holders == 0;
        board.slots.iter().all(is_idle)
    }

    /// Whether [`Scheduler::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.board.lock().stopped
    }

    /// Wakes all threads for good.
    pub fn stop(&self) {
        self.board.lock().stopped = true;
        self.engines.notify_all();
        self.commands.notify_all();
    }

    /// Puts a queue that an engine had into the state that `next` makes of
    /// whether it was rung, unless it was disabled meanwhile.
    fn give_back(
        &self,
        run: Box<Run>,
        next: impl FnOnce(bool) -> QueueState,
        let_go: bool,
    ) -> bool {
        let mut board = self.board.lock();
        let queue = run.binding.queue;
        let current = board.epoch == run.epoch;
        let Some(slot) = board.slot(queue).filter(|_| current) else { return false };
        let QueueState::Running { rung } = slot.state else {
            if let_go {
                self.let_go(&mut board, queue);
            }
            return false;
        };
        slot.run = Some(run);
        slot.state = next(rung);
        if matches!(slot.state, QueueState::Ready) {
            self.make_ready(&mut board, queue);
        }
        if let_go {
            self.let_go(&mut board, queue);
        }
        true
    }

    fn make_ready(&self, board: &mut Board, queue: u16) {
        if let Some(slot) = board.slot(queue) {
            slot.state = QueueState::Ready;
            board.ready.push_back(queue);
            self.engines.notify_one();
        }
    }

    fn let_go(&self, board: &mut Board, queue: u16) {
        let Some(slot) = board.slot(queue) else { return };
        slot.holders = slot.holders.saturating_sub(1);
        if slot.holders == 0 && matches!(slot.state, QueueState::Disabled) {
            board.kicked = true;
            self.commands.notify_one();
        }
    }
}

impl Board {
    fn term(&self) -> Term {
        Term { epoch: self.epoch, memories: self.memories }
    }

    fn slot(&mut self, queue: u16) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(queue))
    }
}

#[cfg(all(test, not(loom)))]
#[path = "scheduler_test.rs"]
mod tests;
