// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Messages as bytes: what is understood, and what is refused.

use farfault_vfio_user::{
    DmaMap, Errno, Header, IrqAction, IrqData, MAX_TRANSFER, RegionWrite, Request, SetIrqs, Span,
};
use proptest::prelude::*;

/// Bodies are written as 32-bit words.
fn body(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A 64-bit field as two words.
fn long(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn map(flags: u32, offset: u64, address: u64, size: u64) -> Vec<u8> {
    let (offset, address, size) = (long(offset), long(address), long(size));
    body(&[&[32, flags], &offset[..], &address, &size].concat())
}

fn unmap(flags: u32, address: u64, size: u64) -> Vec<u8> {
    body(&[&[24, flags], &long(address)[..], &long(size)].concat())
}

fn transfer(offset: u64, region: u32, count: u32, data: &[u8]) -> Vec<u8> {
    [body(&[&long(offset)[..], &[region, count]].concat()), data.to_vec()].concat()
}

#[test]
fn a_header_is_sixteen_bytes() {
    let header = Header { id: 0x1234, command: 9, size: 48, flags: 0x10, error: 7 };
    let bytes = header.to_bytes();
    assert_eq!(bytes, [0x34, 0x12, 9, 0, 48, 0, 0, 0, 0x10, 0, 0, 0, 7, 0, 0, 0]);
    assert_eq!(Header::from_bytes(&bytes), header);
    assert!(header.is_command() && !header.wants_reply());
    assert_eq!(header.body(), Some(32));
    let reply = header.reply(8, Some(22));
    assert_eq!(reply, Header { size: 24, flags: 0x21, error: 22, ..header });
    assert!(!reply.is_command());
    assert_eq!(Header { size: 15, ..header }.body(), None);
}

#[test]
fn maps_are_whole_pages_that_do_not_wrap() {
    let parse = |bytes: &[u8]| match Request::parse(2, bytes) {
        Ok(Request::Map(map)) => Ok(map),
        Ok(other) => panic!("{other:?}"),
        Err(errno) => Err(errno),
    };
    let expected = DmaMap {
        span: Span { first: 0x10_0000, last: 0x10_1fff },
        offset: 0x3000,
        read: true,
        write: true,
    };
    assert_eq!(parse(&map(3, 0x3000, 0x10_0000, 0x2000)), Ok(expected));
    // Flags of a newer protocol.
    assert_eq!(parse(&map(0xffff_fff3, 0x3000, 0x10_0000, 0x2000)), Ok(expected));
    let top = parse(&map(1, 0, 0u64.wrapping_sub(0x1000), 0x1000)).expect("the last page");
    assert_eq!((top.span.last, top.write), (u64::MAX, false));
    for wrong in [
        map(3, 0, 0, 0),
        map(3, 0, 0x800, 0x1000),
        map(3, 0, 0x1000, 0x800),
        map(3, 0x10, 0x1000, 0x1000),
        map(3, 0, 0u64.wrapping_sub(0x1000), 0x2000),
        map(3, 0u64.wrapping_sub(0x1000), 0, 0x2000),
        map(3, 0, 0, 0x1000)[..31].to_vec(),
    ] {
        assert_eq!(parse(&wrong), Err(Errno::INVAL), "{wrong:x?}");
    }
}

#[test]
fn unmaps_reach_to_the_end_of_all_addresses() {
    let parse = |bytes: &[u8]| match Request::parse(3, bytes) {
        Ok(Request::Unmap(span, echo)) => {
            assert_eq!(echo, &bytes[..24]);
            Ok((span.first, span.last))
        }
        Ok(other) => panic!("{other:?}"),
        Err(errno) => Err(errno),
    };
    assert_eq!(parse(&unmap(0, 0x1000, 0x1000)), Ok((0x1000, 0x1fff)));
    let rest = unmap(0, 0xfef0_0000, 0xffff_ffff_0110_0000);
    assert_eq!(parse(&rest), Ok((0xfef0_0000, u64::MAX)));
    assert_eq!(parse(&unmap(2, 0, 0)), Ok((0, u64::MAX)));
    assert_eq!(parse(&unmap(1, 0x1000, 0x1000)), Err(Errno::NOTSUP));
    for wrong in [
        unmap(0, 0, 0),
        unmap(2, 0x1000, 0x1000),
        unmap(0, 0x1000, 0u64.wrapping_sub(0x1000) + 1),
        unmap(0, 0x2000, 0u64.wrapping_sub(0x1000)),
    ] {
        assert_eq!(parse(&wrong), Err(Errno::INVAL), "{wrong:x?}");
    }
}

#[test]
fn questions_have_room_for_their_answer() {
    assert_eq!(Request::parse(4, &body(&[16, 0, 0, 0])), Ok(Request::DeviceInfo));
    assert_eq!(Request::parse(5, &body(&[32, 0, 7, 0, 0, 0, 0, 0])), Ok(Request::RegionInfo(7)));
    assert_eq!(Request::parse(7, &body(&[16, 0, 2, 0])), Ok(Request::IrqInfo(2)));
    assert_eq!(Request::parse(13, &[]), Ok(Request::Reset));
    for (command, wrong) in [(4, [15, 0, 0]), (5, [31, 0, 7]), (7, [15, 0, 2])] {
        assert_eq!(Request::parse(command, &body(&wrong)), Err(Errno::INVAL));
    }
}

#[test]
fn transfers_are_as_long_as_they_say() {
    let read = Request::Read { region: 7, offset: 0x40, count: 4 };
    assert_eq!(Request::parse(9, &transfer(0x40, 7, 4, &[])), Ok(read));
    assert_eq!(Request::parse(9, &transfer(0, 7, MAX_TRANSFER + 1, &[])), Err(Errno::INVAL));
    assert_eq!(Request::parse(9, &transfer(0, 7, u32::MAX, &[])), Err(Errno::INVAL));
    let write = RegionWrite { region: 4, offset: 0x1000, data: &[1, 2, 3, 4] };
    assert_eq!(
        Request::parse(10, &transfer(0x1000, 4, 4, &[1, 2, 3, 4, 5])),
        Ok(Request::Write(write))
    );
    assert_eq!(Request::parse(10, &transfer(0x1000, 4, 4, &[1, 2, 3])), Err(Errno::INVAL));
}

#[test]
fn several_writes_are_of_eight_bytes_at_most() {
    let two = |count: u32, first: u32| {
        let head = body(&long(count.into()));
        let one = |count| transfer(8, 0, count, &[9; 8]);
        [head, one(first), one(8)].concat()
    };
    let write = |bytes| RegionWrite { region: 0, offset: 8, data: &[9; 8][..bytes] };
    assert_eq!(Request::parse(15, &two(2, 4)), Ok(Request::WriteMulti(vec![write(4), write(8)])));
    assert_eq!(Request::parse(15, &two(2, 9)), Err(Errno::INVAL));
    assert_eq!(Request::parse(15, &two(3, 4)), Err(Errno::INVAL));
    let endless = body(&[u32::MAX, u32::MAX]);
    assert_eq!(Request::parse(15, &endless), Err(Errno::INVAL));
}

#[test]
fn interrupts_have_one_action_and_one_kind_of_data() {
    let parse = |flags, start, count, data: &'static [u8]| {
        let bytes = [body(&[20, flags, 2, start, count]), data.to_vec()].concat();
        match Request::parse(8, bytes.leak()) {
            Ok(Request::SetIrqs(set)) => Ok(set),
            Ok(other) => panic!("{other:?}"),
            Err(errno) => Err(errno),
        }
    };
    let set = |action, data| SetIrqs { index: 2, start: 1, count: 2, action, data };
    assert_eq!(parse(0x24, 1, 2, &[]), Ok(set(IrqAction::Trigger, IrqData::Events)));
    assert_eq!(parse(0x09, 1, 2, &[]), Ok(set(IrqAction::Mask, IrqData::All)));
    assert_eq!(parse(0x12, 1, 2, &[0, 1]), Ok(set(IrqAction::Unmask, IrqData::Chosen(&[0, 1]))));
    for (flags, start, count) in
        [(0x20, 0, 1), (0x04, 0, 1), (0x23, 0, 1), (0x3c, 0, 1), (0x24, u32::MAX, 1), (0x22, 0, 9)]
    {
        assert_eq!(parse(flags, start, count, &[0, 1]), Err(Errno::INVAL), "{flags:#x}");
    }
}

#[test]
fn unknown_commands_are_not_supported() {
    for command in [0, 6, 11, 12, 14, 16, 17, 18, 19, u16::MAX] {
        assert_eq!(Request::parse(command, &[0; 64]), Err(Errno::NOTSUP), "{command}");
    }
}

proptest! {
    #[test]
    fn anything_is_answered(command in 0u16..20, body in prop::collection::vec(any::<u8>(), 0..200)) {
        match Request::parse(command, &body) {
            Ok(Request::Map(map)) => prop_assert!(map.span.first <= map.span.last),
            Ok(Request::Unmap(span, _)) => prop_assert!(span.first <= span.last),
            Ok(Request::WriteMulti(writes)) => prop_assert!(writes.len() * 24 <= body.len()),
            _ => {}
        }
    }
}
