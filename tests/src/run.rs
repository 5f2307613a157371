// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs the `farfault` program as a user would.
