// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The accelerator as a pure library: no KVM, no system calls, no unsafe code.

#![forbid(unsafe_code)]
