// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A linked list that the device can follow.
#![allow(unsafe_code, reason = "turns a stored pointer back into the reference it was made from")]

use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A node: a value, and a link to another node that lives as long.
///
/// Nodes may lie anywhere: in a `Box`, a `Vec`, an arena. Links are atomic, so
/// the program may relink nodes while the device walks over them; the device
/// then sees the old link or the new one.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Node<'a> {
    next: AtomicPtr<Node<'a>>,
    value: u64,
    neighbour: PhantomData<&'a ()>,
}

impl<'a> Node<'a> {
    pub(crate) const NEXT: u64 = offset_of!(Node<'_>, next) as u64;
    pub(crate) const VALUE: u64 = offset_of!(Node<'_>, value) as u64;

    /// A node that is the end of a list.
    pub fn new(value: u64) -> Self {
        Self { next: AtomicPtr::default(), value, neighbour: PhantomData }
    }

    /// Its value.
    pub fn value(&self) -> u64 {
        self.value
    }

    /// Makes `next` the node after this one.
    pub fn link(&self, next: &'a Node<'a>) {
        self.next.store(ptr::from_ref(next).cast_mut(), Ordering::Release);
    }

    /// The node after this one.
    pub fn next(&self) -> Option<&'a Node<'a>> {
        let next = self.next.load(Ordering::Acquire);
        // SAFETY: null, or stored by link() from a reference of that lifetime.
        unsafe { next.as_ref() }
    }
}
