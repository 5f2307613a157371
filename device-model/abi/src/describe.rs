// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How the ABI describes itself.
//!
//! [`constants!`] and [`layout!`] define ordinary Rust constants and structs
//! and, from the same text, a table that says what they are. The C headers and
//! the compiled C probe are made from those tables, so no number of the
//! interface is written twice.

/// One constant, as Rust knows it and as its C definition is to be spelled.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// Rust name; C puts `FF_` before it.
    pub name: &'static str,
    /// The value.
    pub value: u64,
    /// Width of the Rust type in bytes: 4 or 8.
    pub width: usize,
    /// The expression it was defined with, for a header that reads the same.
    pub text: &'static str,
    /// Its documentation, one element per line.
    pub doc: &'static [&'static str],
}

/// One field of a structure.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name, the same in C.
    pub name: &'static str,
    /// Rust type: `u8` to `u64`, or an array of them.
    pub ty: &'static str,
    /// Bytes from the start of the structure.
    pub offset: usize,
    /// Bytes it takes.
    pub size: usize,
    /// Its documentation, one element per line.
    pub doc: &'static [&'static str],
}

/// One structure that device and guest, or kernel and program, share.
#[derive(Clone, Copy, Debug)]
pub struct Structure {
    /// C name.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// Fields in order; they fill the structure without padding.
    pub fields: &'static [Field],
    /// Its documentation, one element per line.
    pub doc: &'static [&'static str],
}

/// A part of the interface: what one module of this crate defines.
#[derive(Clone, Copy, Debug)]
pub struct HeaderSection {
    /// Heading for the header file.
    pub title: &'static str,
    /// Constants in order.
    pub constants: &'static [Constant],
    /// Structures in order.
    pub structures: &'static [Structure],
}

/// The mask with bits `high` down to `low` set, as the kernel's `GENMASK_ULL`.
#[must_use]
pub const fn genmask(high: u32, low: u32) -> u64 {
    (u64::MAX << low) & (u64::MAX >> (63 - high))
}

/// A value with a fixed little-endian form.
pub trait Wire: Copy {
    /// Reads it from the start of `bytes`, which must be long enough.
    fn get(bytes: &[u8]) -> Self;
    /// Writes it to the start of `bytes`, which must be long enough.
    fn put(self, bytes: &mut [u8]);
}

macro_rules! wire_integer {
    ($($ty:ty),*) => {$(
        impl Wire for $ty {
            fn get(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$ty>()];
                raw.copy_from_slice(&bytes[..size_of::<$ty>()]);
                <$ty>::from_le_bytes(raw)
            }
            fn put(self, bytes: &mut [u8]) {
                bytes[..size_of::<$ty>()].copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
wire_integer!(u8, u16, u32, u64);

impl<T: Wire + Default, const N: usize> Wire for [T; N] {
    fn get(bytes: &[u8]) -> Self {
        core::array::from_fn(|i| T::get(&bytes[i * size_of::<T>()..]))
    }
    fn put(self, bytes: &mut [u8]) {
        for (i, value) in self.into_iter().enumerate() {
            value.put(&mut bytes[i * size_of::<T>()..]);
        }
    }
}

/// Defines constants and the table [`HeaderSection`] shows of them.
macro_rules! constants {
    ($table:ident; $( $(#[doc = $doc:literal])* $name:ident: $ty:ty = $value:expr; )*) => {
        $( $(#[doc = $doc])* pub const $name: $ty = $value; )*
        pub(crate) const $table: &[$crate::describe::Constant] = &[
            $( $crate::describe::Constant {
                name: stringify!($name),
                value: $name as u64,
                width: size_of::<$ty>(),
                text: stringify!($value),
                doc: &[$($doc),*],
            }, )*
        ];
    };
}

/// Defines a structure with a fixed little-endian layout and no padding.
macro_rules! layout {
    ($table:ident; $( $(#[doc = $doc:literal])* $name:ident as $c_name:literal, $size:literal bytes {
        $( $(#[doc = $field_doc:literal])* $field:ident: $ty:ty, )*
    } )*) => {
        $(
            $(#[doc = $doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            pub struct $name { $( $(#[doc = $field_doc])* pub $field: $ty, )* }

            const _: () = assert!(size_of::<$name>() == $size);
            const _: () = assert!(0 $( + size_of::<$ty>() )* == $size, "padding");

            impl $name {
                /// Bytes in memory.
                pub const SIZE: usize = $size;
                /// Reads one from its little-endian form.
                #[must_use]
                pub fn from_bytes(bytes: &[u8; $size]) -> Self {
                    Self { $( $field: $crate::describe::Wire::get(
                        &bytes[core::mem::offset_of!(Self, $field)..]), )* }
                }
                /// Its little-endian form.
                #[must_use]
                pub fn to_bytes(&self) -> [u8; $size] {
                    let mut bytes = [0; $size];
                    $( $crate::describe::Wire::put(
                        self.$field, &mut bytes[core::mem::offset_of!(Self, $field)..]); )*
                    bytes
                }
            }
        )*
        pub(crate) const $table: &[$crate::describe::Structure] = &[
            $( $crate::describe::Structure {
                name: $c_name,
                size: $size,
                fields: &[ $( $crate::describe::Field {
                    name: stringify!($field),
                    ty: stringify!($ty),
                    offset: core::mem::offset_of!($name, $field),
                    size: size_of::<$ty>(),
                    doc: &[$($field_doc),*],
                }, )* ],
                doc: &[$($doc),*],
            }, )*
        ];
    };
}

pub(crate) use {constants, layout};
