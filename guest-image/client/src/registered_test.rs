// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registered buffers against a fake device.

use crate::fake::Fake;
use crate::{Device, Error};
use farfault_abi::uapi::REGISTER_WRITE;

#[test]
fn commands_reach_registered_buffers() {
    let fake = Fake::new();
    let device = Device::with(fake.kernel()).unwrap();
    let mut queue = device.queue(8).unwrap();
    let source: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let mut target = vec![0_f32; 100];
    let mut counts = [0; 256];
    let text = *b"aab";
    {
        let source = device.register(&source).unwrap();
        let text = device.register(&text).unwrap();
        let mut target = device.register_mut(&mut target).unwrap();
        assert_ne!(source.device_address(), crate::loan::address_of(&source[..]));
        queue.scope(|s| s.copy_registered(&source, &mut target)?.wait()).unwrap();
        assert_eq!(source[..], target[..]);
        target[0] = 5.0;
        queue.scope(|s| s.saxpy_registered(2.0, &source, &mut target)?.wait()).unwrap();
        assert_eq!((target[0], target[10]), (5.0, 30.0));
        queue.scope(|s| s.histogram_registered(&text, &mut counts)?.wait().map(drop)).unwrap();
        queue.scope(|s| s.fill_registered(&mut target, 1.0)?.wait()).unwrap();
        let writable = fake.state().registered.iter().filter(|r| r.flags == REGISTER_WRITE).count();
        assert_eq!((fake.state().registered.len(), writable), (3, 1));
    }
    assert!(fake.state().registered.is_empty());
    assert!(target.iter().all(|&value| value == 1.0));
    assert_eq!((counts[usize::from(b'a')], counts[usize::from(b'b')]), (2, 1));
}

#[test]
fn lengths_must_agree() {
    let fake = Fake::new();
    let device = Device::with(fake.kernel()).unwrap();
    let mut queue = device.queue(8).unwrap();
    let (source, mut target) = ([1_u8; 4], [0_u8; 5]);
    let source = device.register(&source).unwrap();
    let mut target = device.register_mut(&mut target).unwrap();
    let result = queue.scope(|s| s.copy_registered(&source, &mut target)?.wait());
    assert!(matches!(result, Err(Error::Lengths { left: 4, right: 5 })));
}

#[test]
fn another_device_does_not_know_the_buffer() {
    let (one, two) = (Fake::new(), Fake::new());
    let (one, two) = (Device::with(one.kernel()).unwrap(), Device::with(two.kernel()).unwrap());
    let (bytes, mut target) = ([1_u8; 4], [0_u8; 4]);
    let bytes = one.register(&bytes).unwrap();
    let mut target = two.register_mut(&mut target).unwrap();
    for device in [&one, &two] {
        let mut queue = device.queue(8).unwrap();
        let result = queue.scope(|s| s.copy_registered(&bytes, &mut target)?.wait());
        assert!(matches!(result, Err(Error::OtherDevice)));
    }
    let filled = one.queue(8).unwrap().scope(|s| s.fill_registered(&mut target, 7)?.wait());
    assert!(matches!(filled, Err(Error::OtherDevice)));
    assert_eq!(target[..], [0; 4]);
    // A clone is the same device.
    let clone = two.clone();
    clone.queue(8).unwrap().scope(|s| s.fill_registered(&mut target, 7)?.wait()).unwrap();
    assert_eq!(target[..], [7; 4]);
}
