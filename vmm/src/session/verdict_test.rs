// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The verdict under every order of events that matters.

use super::*;
use nix::errno::Errno;

const BOOT: Duration = Duration::from_secs(60);

fn verdict(run: Option<Duration>) -> (Verdict, Instant) {
    let now = Instant::now();
    (Verdict::new(now, BOOT, run), now)
}

fn exit(code: u8) -> GuestEvent {
    let message = ControlMessage::Exit { code, driver: Default::default(), inner: None };
    GuestEvent::Control(Ok(message))
}

fn started() -> GuestEvent {
    GuestEvent::Control(Ok(ControlMessage::Started))
}

/// The machine ends and all its streams close.
fn end(mut verdict: Verdict, how: Result<MachineEnd, String>, now: Instant) -> SessionResult {
    verdict.note(&GuestEvent::Ended(how), now);
    for _ in 0..OUTPUT_STREAMS {
        assert!(!verdict.complete());
        verdict.note(&GuestEvent::Closed, now);
    }
    assert!(verdict.complete());
    verdict.result(Vec::new())
}

#[test]
fn the_commands_code_is_the_result() {
    let (mut verdict, now) = verdict(None);
    verdict.note(&started(), now);
    assert_eq!(verdict.deadline(), None);
    verdict.note(&exit(3), now);
    let result = end(verdict, Ok(MachineEnd::PowerOff), now);
    assert!(result.started);
    assert_eq!(result.end, RunEnd::Exit(3));
    assert_eq!(result.end.code(), 3);
}

#[test]
fn an_exit_line_read_after_the_machines_end_counts() {
    let (mut verdict, now) = verdict(None);
    verdict.note(&GuestEvent::Ended(Ok(MachineEnd::PowerOff)), now);
    verdict.note(&exit(0), now);
    assert_eq!(verdict.deadline(), None);
    for _ in 0..OUTPUT_STREAMS {
        verdict.note(&GuestEvent::Closed, now);
    }
    assert!(verdict.complete());
    assert_eq!(verdict.result(Vec::new()).end, RunEnd::Exit(0));
}

#[test]
fn an_exit_line_of_the_second_guest_may_come_last() {
    let (mut verdict, now) = verdict(None);
    verdict.expect_link();
    verdict.note(&started(), now);
    verdict.note(&GuestEvent::Ended(Ok(MachineEnd::PowerOff)), now);
    for _ in 0..OUTPUT_STREAMS {
        verdict.note(&GuestEvent::Closed, now);
    }
    assert!(!verdict.complete());
    let message = ControlMessage::Exit { code: 3, driver: Default::default(), inner: None };
    verdict.note(&GuestEvent::Link(Ok(message)), now);
    verdict.note(&GuestEvent::Closed, now);
    assert!(verdict.complete());
    assert_eq!(verdict.result(Vec::new()).end, RunEnd::Exit(3));
}

#[test]
fn a_guest_that_goes_without_a_word_is_lost() {
    for ending in [MachineEnd::Panic, MachineEnd::Reset, MachineEnd::TripleFault] {
        let (mut verdict, now) = verdict(None);
        verdict.note(&started(), now);
        let lost = end(verdict, Ok(ending), now).end;
        assert_eq!(lost, RunEnd::Lost(ending));
        assert_eq!(lost.code(), exit::GUEST_LOST);
        assert!(lost.explained_by_last_words());
    }
}

#[test]
fn a_guest_that_switches_itself_off_or_restarts_has_a_code_of_its_own() {
    for ending in [MachineEnd::PowerOff, MachineEnd::Reboot] {
        let ended = |started_before: bool| {
            let (mut verdict, now) = verdict(None);
            if started_before {
                verdict.note(&started(), now);
            }
            end(verdict, Ok(ending), now).end.code()
        };
        assert_eq!((ended(true), ended(false)), (exit::SWITCHED_OFF, exit::GUEST_LOST));
    }
}

#[test]
fn a_guest_that_never_answers_is_stopped_at_the_boot_limit() {
    let (mut verdict, now) = verdict(Some(2 * BOOT));
    assert_eq!(verdict.deadline(), Some(now + BOOT));
    verdict.deadline_passed(now + BOOT);
    assert!(verdict.wants_stop());
    let result = end(verdict, Ok(MachineEnd::Stopped), now);
    assert_eq!(result.end, RunEnd::NeverStarted(BOOT));
    assert_eq!(result.end.code(), exit::TIMED_OUT);
    assert!(!result.started);
}

#[test]
fn the_time_limit_runs_from_the_start() {
    let (mut verdict, now) = verdict(Some(2 * BOOT));
    verdict.note(&started(), now + BOOT / 2);
    assert_eq!(verdict.deadline(), Some(now + 2 * BOOT));
    verdict.deadline_passed(now + 2 * BOOT);
    assert!(verdict.wants_stop());
    assert_eq!(end(verdict, Ok(MachineEnd::Stopped), now).end, RunEnd::TimedOut(2 * BOOT));
    let (mut short, now) = self::verdict(Some(BOOT / 2));
    short.deadline_passed(now + BOOT / 2);
    assert_eq!(end(short, Ok(MachineEnd::Stopped), now).end, RunEnd::TimedOut(BOOT / 2));
}

#[test]
fn a_guest_that_does_not_switch_itself_off_keeps_its_code() {
    let (mut verdict, now) = verdict(None);
    verdict.note(&exit(5), now);
    verdict.deadline_passed(now + POWER_OFF);
    assert!(verdict.wants_stop());
    assert_eq!(end(verdict, Ok(MachineEnd::Stopped), now).end, RunEnd::Exit(5));
}

#[test]
fn a_machine_that_does_not_stop_is_given_up() {
    let (mut verdict, now) = verdict(None);
    verdict.signalled(Signal::SIGTERM, now);
    assert!(verdict.wants_stop());
    assert!(!verdict.complete());
    verdict.deadline_passed(now + STOP);
    assert!(verdict.complete());
    let end = verdict.result(Vec::new()).end;
    assert_eq!((end.code(), end), (143, RunEnd::Signalled(Signal::SIGTERM)));
}

#[test]
fn a_lost_output_ends_the_run_like_sigpipe() {
    let (mut verdict, now) = verdict(None);
    verdict.note(&exit(0), now);
    verdict.note(&gone(Errno::EPIPE), now);
    assert!(verdict.wants_stop());
    assert_eq!(end(verdict, Ok(MachineEnd::Stopped), now).end.code(), 141);
}

fn gone(errno: Errno) -> GuestEvent {
    GuestEvent::OutputGone("standard output", errno.into())
}

#[test]
fn a_full_disk_is_told_though_the_command_succeeded() {
    let (mut verdict, now) = verdict(None);
    verdict.note(&exit(0), now);
    verdict.note(&gone(Errno::ENOSPC), now);
    assert!(verdict.wants_stop());
    let lost = end(verdict, Ok(MachineEnd::Stopped), now).end;
    assert_eq!(lost.code(), exit::HOST_LACKS);
    assert!(lost.to_string().starts_with("cannot write to standard output: No space left"));
    assert!(!lost.was_wanted());
}

#[test]
fn a_second_signal_gives_no_more_time() {
    let (mut verdict, now) = verdict(None);
    for second in 0..9 {
        verdict.signalled(Signal::SIGTERM, now + Duration::from_secs(second));
    }
    assert_eq!(verdict.deadline(), Some(now + STOP));
}

#[test]
fn the_first_reason_stands() {
    let (mut verdict, now) = verdict(None);
    verdict.note(&GuestEvent::Control(Ok(ControlMessage::Error("no driver".into()))), now);
    verdict.note(&exit(0), now);
    let end = end(verdict, Ok(MachineEnd::Reset), now).end;
    assert_eq!(end.to_string(), "the guest's init cannot go on: no driver");
    assert_eq!(end.code(), exit::GUEST_LOST);
}

#[test]
fn a_failed_machine_is_our_failure() {
    let (verdict, now) = verdict(None);
    let end = end(verdict, Err("KVM_RUN failed".into()), now).end;
    assert_eq!((end.code(), end), (exit::VMM_FAILED, RunEnd::Failed("KVM_RUN failed".into())));
}

#[test]
fn complaints_are_few() {
    let (mut verdict, now) = verdict(None);
    for _ in 0..100 {
        verdict.note(&GuestEvent::Control(Err("no JSON".into())), now);
    }
    assert_eq!(end(verdict, Ok(MachineEnd::PowerOff), now).complaints.len(), MAX_COMPLAINTS);
}
