// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line.

mod options;
mod values;
