// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Serves debuggers, one after the other, until the machine ends.

use super::client::{Client, Heard};
use super::debuggee::{Debuggee, Hit};
use super::port::Invitation;
use super::target::{Debugged, StopReason};
use crate::output::tell;
use gdbstub::common::{Signal, Tid};
use gdbstub::stub::state_machine::GdbStubStateMachine as State;
use gdbstub::stub::{DisconnectReason, GdbStub};
use std::collections::VecDeque;
use std::io;

/// How a debugger has gone.
enum Farewell {
    /// The guest goes on.
    Left,
    Killed,
    /// The machine was first.
    Ended,
}

/// Serves debuggers of a machine, whose CPUs stand still already if it waits for the first.
pub fn serve(invitation: &Invitation, debuggee: &dyn Debuggee) {
    let port = &invitation.port;
    invitation.announce();
    loop {
        match port.await_client(debuggee.bell()) {
            Ok(Some(client)) => {
                let mut debugged = Debugged::new(debuggee);
                debuggee.halt();
                match attend(client, &mut debugged) {
                    Ok(Farewell::Killed) => debuggee.kill(),
                    Ok(Farewell::Ended) => {}
                    Ok(Farewell::Left) | Err(_) => {
                        debuggee.halt();
                        debugged.let_go();
                        // Who cannot be seen off will not be heard either.
                        let _ = port.see_off(debuggee.bell());
                    }
                }
            }
            // A hit that nobody waits for any more.
            Ok(None) => drop(debuggee.take_hits()),
            Err(error) => {
                tell(&format!("farfault: gdb can attach no more: {error}"));
                return;
            }
        }
        if debuggee.has_ended() {
            return;
        }
    }
}

/// Serves one, with all CPUs at a stand, from its first word to its last.
fn attend(client: Client, debugged: &mut Debugged) -> Result<Farewell, String> {
    let debuggee = debugged.debuggee;
    let said = |error: &dyn std::fmt::Display| error.to_string();
    // Accesses to data that have been met at the same time as what was told.
    let mut later: VecDeque<StopReason> = VecDeque::new();
    let mut state = GdbStub::new(client).run_state_machine(debugged).map_err(|e| said(&e))?;
    loop {
        state = match state {
            State::Idle(mut idle) => match listen(idle.borrow_conn(), debuggee) {
                Ok(Heard::Byte(byte)) => {
                    idle.incoming_data(debugged, byte).map_err(|e| said(&e))?
                }
                Ok(Heard::Bell) if debuggee.has_ended() => return Ok(Farewell::Ended),
                Ok(Heard::Bell) => {
                    let _ = debuggee.take_hits();
                    idle.into()
                }
                Err(error) => return Err(said(&error)),
            },
            State::Running(mut running) => {
                let heard = match later.pop_front() {
                    Some(reason) => {
                        debuggee.halt();
                        state = running.report_stop(debugged, reason).map_err(|e| said(&e))?;
                        continue;
                    }
                    None => listen(running.borrow_conn(), debuggee).map_err(|e| said(&e))?,
                };
                match heard {
                    Heard::Byte(byte) => {
                        running.incoming_data(debugged, byte).map_err(|e| said(&e))?
                    }
                    Heard::Bell if debuggee.has_ended() => {
                        let over = StopReason::Exited(0);
                        let _ = running.report_stop(debugged, over);
                        return Ok(Farewell::Ended);
                    }
                    Heard::Bell => match halt(debugged, &mut later) {
                        Some(reason) => {
                            running.report_stop(debugged, reason).map_err(|e| said(&e))?
                        }
                        None => {
                            debugged.go_on();
                            running.into()
                        }
                    },
                }
            }
            State::CtrlCInterrupt(interrupted) => {
                let asked = StopReason::SignalWithThread { tid: Tid::MIN, signal: Signal::SIGINT };
                let reason = halt(debugged, &mut later).unwrap_or(asked);
                interrupted.interrupt_handled(debugged, Some(reason)).map_err(|e| said(&e))?
            }
            State::Disconnected(gone) => {
                return Ok(match gone.get_reason() {
                    DisconnectReason::Kill => Farewell::Killed,
                    _ => Farewell::Left,
                });
            }
        }
    }
}

fn listen(client: &mut Client, debuggee: &dyn Debuggee) -> io::Result<Heard> {
    client.listen(debuggee.bell())
}

/// Has all CPUs stand still. Why, if one has met something that is not the guest's own.
///
/// What others have met at the same time is met again when they go on, if it is an instruction;
/// an access has been made, and is told `later`.
fn halt(debugged: &Debugged, later: &mut VecDeque<StopReason>) -> Option<StopReason> {
    debugged.debuggee.halt();
    let hits: Vec<Hit> = debugged.debuggee.take_hits();
    let mut told = None;
    for hit in hits {
        match debugged.reason(hit) {
            Some(reason) if told.is_none() => told = Some(reason),
            Some(reason @ StopReason::Watch { .. }) => later.push_back(reason),
            Some(_) => {}
            None => debugged.debuggee.give_back(hit),
        }
    }
    told
}
