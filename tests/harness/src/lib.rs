// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the project's tests share: checks, reading KTAP, running `farfault`, judging a
//! guest's kernel log, and checking the shape of the source tree.

pub mod check;
pub mod hmm_selftests;
pub mod imports;
pub mod kernel_log;
pub mod ktap;
pub mod markdown;
pub mod matrix;
pub mod run;
