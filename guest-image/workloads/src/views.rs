// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bytes seen as numbers.
#![allow(unsafe_code, reason = "reinterprets bytes whose alignment was checked")]

use std::sync::atomic::AtomicU64;

/// Bytes as floats.
///
/// # Panics
/// If they are misaligned, or not a multiple of 4.
pub fn floats(bytes: &[u8]) -> &[f32] {
    // SAFETY: every bit pattern is a float.
    let (before, floats, after) = unsafe { bytes.align_to() };
    assert!(before.is_empty() && after.is_empty(), "misaligned floats");
    floats
}

/// Bytes as floats, to be changed.
///
/// # Panics
/// If they are misaligned, or not a multiple of 4.
pub fn floats_mut(bytes: &mut [u8]) -> &mut [f32] {
    // SAFETY: every bit pattern is a float, and of bytes.
    let (before, floats, after) = unsafe { bytes.align_to_mut() };
    assert!(before.is_empty() && after.is_empty(), "misaligned floats");
    floats
}

/// Bytes as 64-bit words.
///
/// # Panics
/// If they are misaligned, or not a multiple of 8.
pub fn words(bytes: &[u8]) -> &[u64] {
    // SAFETY: every bit pattern is a number.
    let (before, words, after) = unsafe { bytes.align_to() };
    assert!(before.is_empty() && after.is_empty(), "misaligned words");
    words
}

/// Bytes as 64-bit words, to be changed.
///
/// # Panics
/// If they are misaligned, or not a multiple of 8.
pub fn words_mut(bytes: &mut [u8]) -> &mut [u64] {
    // SAFETY: every bit pattern is a number, and of bytes.
    let (before, words, after) = unsafe { bytes.align_to_mut() };
    assert!(before.is_empty() && after.is_empty(), "misaligned words");
    words
}

/// Bytes as 64-bit words that may be changed by several parties.
///
/// # Panics
/// If they are misaligned, or not a multiple of 8.
pub fn atomics(bytes: &mut [u8]) -> &[AtomicU64] {
    // SAFETY: every bit pattern is a number, and the borrow is exclusive.
    let (before, words, after) = unsafe { bytes.align_to_mut::<AtomicU64>() };
    assert!(before.is_empty() && after.is_empty(), "misaligned words");
    words
}
