// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the project's tests share: checks, reading KTAP, running `farfault`, judging a
//! guest's kernel log, comparing kernels, and checking the shape of the source tree.

pub mod allocations;
pub mod at_once;
mod chain;
pub mod check;
pub mod costs;
pub mod gdb;
pub mod hmm_selftests;
mod host_file;
pub mod hosting;
pub mod hostings;
pub mod imports;
pub mod junit;
pub mod keep;
pub mod kernel_config;
pub mod kernel_log;
pub mod ktap;
pub mod markdown;
pub mod matrix;
pub mod needs;
pub mod radar;
pub mod results;
pub mod run;
pub mod script;
pub mod select;
pub mod shard;
mod table;
pub mod tools;
pub mod unit;
