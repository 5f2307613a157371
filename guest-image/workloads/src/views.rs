// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes seen as numbers. All of these panic if the bytes are misaligned, or no multiple of a
//! number's size.
#![allow(unsafe_code, reason = "reinterprets bytes whose alignment was checked")]

use std::sync::atomic::AtomicU64;

fn whole<'b, T>((before, numbers, after): (&[u8], &'b [T], &[u8])) -> &'b [T] {
    assert!(before.is_empty() && after.is_empty(), "misaligned numbers");
    numbers
}

fn whole_mut<'b, T>((before, numbers, after): (&mut [u8], &'b mut [T], &mut [u8])) -> &'b mut [T] {
    assert!(before.is_empty() && after.is_empty(), "misaligned numbers");
    numbers
}

/// Bytes as floats.
pub fn floats(bytes: &[u8]) -> &[f32] {
    // SAFETY: every bit pattern is a float.
    whole(unsafe { bytes.align_to() })
}

/// Bytes as floats, to be changed.
pub fn floats_mut(bytes: &mut [u8]) -> &mut [f32] {
    // SAFETY: every bit pattern is a float, and of bytes.
    whole_mut(unsafe { bytes.align_to_mut() })
}

/// Bytes as 64-bit words.
pub fn words(bytes: &[u8]) -> &[u64] {
    // SAFETY: every bit pattern is a number.
    whole(unsafe { bytes.align_to() })
}

/// Bytes as 64-bit words, to be changed.
pub fn words_mut(bytes: &mut [u8]) -> &mut [u64] {
    // SAFETY: every bit pattern is a number, and of bytes.
    whole_mut(unsafe { bytes.align_to_mut() })
}

/// Bytes as 64-bit words that may be changed by several parties.
pub fn atomics(bytes: &mut [u8]) -> &[AtomicU64] {
    // SAFETY: every bit pattern is a number, and the borrow is exclusive.
    whole_mut(unsafe { bytes.align_to_mut() })
}
