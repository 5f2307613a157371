// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The verdict under every order of events that matters.

use super::*;

const BOOT: Duration = Duration::from_secs(60);

fn verdict(run: Option<Duration>) -> (Verdict, Instant) {
    let now = Instant::now();
    (Verdict::new(now, BOOT, run), now)
}

fn exit(code: u8) -> Happening {
    let message = Message::Exit { code, driver: serde_json::Value::Null, stats: None };
    Happening::Message(Ok(message))
}

fn started() -> Happening {
    Happening::Message(Ok(Message::Started))
}

/// The machine ends and all its streams close.
fn end(verdict: &mut Verdict, how: Result<Ending, String>, now: Instant) {
    verdict.note(Happening::Ended(how), now);
    for _ in 0..OUTPUT_STREAMS {
        assert!(!verdict.complete());
        verdict.note(Happening::Closed, now);
    }
    assert!(verdict.complete());
}

#[test]
fn the_commands_code_is_the_result() {
    let (mut verdict, now) = verdict(None);
    verdict.note(started(), now);
    assert_eq!(verdict.deadline(), None);
    verdict.note(exit(3), now);
    end(&mut verdict, Ok(Ending::PowerOff), now);
    let attended = verdict.attended(Vec::new());
    assert!(attended.started);
    assert_eq!(attended.end, End::Exit(3));
    assert_eq!(attended.end.code(), 3);
}

#[test]
fn an_exit_line_read_after_the_machines_end_counts() {
    let (mut verdict, now) = verdict(None);
    verdict.note(Happening::Ended(Ok(Ending::PowerOff)), now);
    verdict.note(exit(0), now);
    assert_eq!(verdict.deadline(), None);
    for _ in 0..OUTPUT_STREAMS {
        verdict.note(Happening::Closed, now);
    }
    assert!(verdict.complete());
    assert_eq!(verdict.attended(Vec::new()).end, End::Exit(0));
}

#[test]
fn a_guest_that_goes_without_a_word_is_lost() {
    for ending in [Ending::PowerOff, Ending::Reset, Ending::TripleFault] {
        let (mut verdict, now) = verdict(None);
        verdict.note(started(), now);
        end(&mut verdict, Ok(ending), now);
        let lost = verdict.attended(Vec::new()).end;
        assert_eq!(lost, End::Lost(ending));
        assert_eq!(lost.code(), exit::GUEST_LOST);
        assert!(lost.explained_by_serial());
    }
}

#[test]
fn a_panic_gets_its_last_words_and_then_a_stop() {
    let (mut verdict, now) = verdict(None);
    verdict.note(Happening::Panicked, now);
    assert!(!verdict.wants_stop());
    assert_eq!(verdict.deadline(), Some(now + LAST_WORDS));
    verdict.deadline_passed(now + LAST_WORDS);
    assert!(verdict.wants_stop());
    assert!(!verdict.wants_stop());
    end(&mut verdict, Ok(Ending::Stopped), now);
    let end = verdict.attended(Vec::new()).end;
    assert_eq!((end.code(), end), (exit::GUEST_LOST, End::Panicked));
}

#[test]
fn a_guest_that_never_answers_is_stopped_at_the_boot_limit() {
    let (mut verdict, now) = verdict(Some(2 * BOOT));
    assert_eq!(verdict.deadline(), Some(now + BOOT));
    verdict.deadline_passed(now + BOOT);
    assert!(verdict.wants_stop());
    end(&mut verdict, Ok(Ending::Stopped), now);
    let attended = verdict.attended(Vec::new());
    assert_eq!(attended.end, End::NeverStarted(BOOT));
    assert_eq!(attended.end.code(), exit::TIMED_OUT);
    assert!(!attended.started);
}

#[test]
fn the_time_limit_runs_from_the_start() {
    let (mut verdict, now) = verdict(Some(2 * BOOT));
    verdict.note(started(), now + BOOT / 2);
    assert_eq!(verdict.deadline(), Some(now + 2 * BOOT));
    verdict.deadline_passed(now + 2 * BOOT);
    assert!(verdict.wants_stop());
    end(&mut verdict, Ok(Ending::Stopped), now);
    assert_eq!(verdict.attended(Vec::new()).end, End::TimedOut(2 * BOOT));
    let (mut short, now) = self::verdict(Some(BOOT / 2));
    short.deadline_passed(now + BOOT / 2);
    end(&mut short, Ok(Ending::Stopped), now);
    assert_eq!(short.attended(Vec::new()).end, End::TimedOut(BOOT / 2));
}

#[test]
fn a_guest_that_does_not_switch_itself_off_keeps_its_code() {
    let (mut verdict, now) = verdict(None);
    verdict.note(exit(5), now);
    verdict.deadline_passed(now + POWER_OFF);
    assert!(verdict.wants_stop());
    end(&mut verdict, Ok(Ending::Stopped), now);
    assert_eq!(verdict.attended(Vec::new()).end, End::Exit(5));
}

#[test]
fn a_machine_that_does_not_stop_is_given_up() {
    let (mut verdict, now) = verdict(None);
    verdict.signalled(Signal::SIGTERM, now);
    assert!(verdict.wants_stop());
    assert!(!verdict.complete());
    verdict.deadline_passed(now + STOP);
    assert!(verdict.complete());
    let end = verdict.attended(Vec::new()).end;
    assert_eq!((end.code(), end), (143, End::Signalled(Signal::SIGTERM)));
}

#[test]
fn a_lost_output_ends_the_run_like_sigpipe() {
    let (mut verdict, now) = verdict(None);
    verdict.note(Happening::OutputGone, now);
    assert!(verdict.wants_stop());
    end(&mut verdict, Ok(Ending::Stopped), now);
    assert_eq!(verdict.attended(Vec::new()).end.code(), 141);
}

#[test]
fn the_first_reason_stands() {
    let (mut verdict, now) = verdict(None);
    verdict.note(Happening::Message(Ok(Message::Error("no driver".into()))), now);
    verdict.note(Happening::Panicked, now);
    verdict.note(exit(0), now);
    end(&mut verdict, Ok(Ending::Reset), now);
    let end = verdict.attended(Vec::new()).end;
    assert_eq!(end.to_string(), "the guest's init cannot go on: no driver");
    assert_eq!(end.code(), exit::GUEST_LOST);
}

#[test]
fn a_failed_machine_is_our_failure() {
    let (mut verdict, now) = verdict(None);
    end(&mut verdict, Err("KVM_RUN failed".into()), now);
    let end = verdict.attended(Vec::new()).end;
    assert_eq!((end.code(), end), (exit::VMM_FAILED, End::Failed("KVM_RUN failed".into())));
}

#[test]
fn complaints_are_few() {
    let (mut verdict, now) = verdict(None);
    for _ in 0..100 {
        verdict.note(Happening::Message(Err("no JSON".into())), now);
    }
    end(&mut verdict, Ok(Ending::PowerOff), now);
    assert_eq!(verdict.attended(Vec::new()).complaints.len(), MAX_COMPLAINTS);
}
