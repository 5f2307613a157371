// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Element types whose every bit pattern is a value, so that the device may
//! read and write them as bytes.
#![allow(unsafe_code, reason = "an unsafe trait and its promises")]

/// A number: no padding, no invalid bit pattern, of 1, 2, 4 or 8 bytes.
///
/// # Safety
/// That is so.
pub unsafe trait Plain: Copy {
    /// The value's bytes, repeated to fill 8.
    fn pattern(self) -> u64;
}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        // SAFETY: a primitive number.
        unsafe impl Plain for $ty {
            fn pattern(self) -> u64 {
                let bytes = self.to_le_bytes();
                u64::from_le_bytes(std::array::from_fn(|i| bytes[i % bytes.len()]))
            }
        }
    )*};
}
plain!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64);
