// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why init cannot go on: one line each, which the host shows to its user.

use nix::errno::Errno;
use std::io;
use std::path::PathBuf;

/// Why init cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Options of its configuration that init cannot do without.
    #[error("the kernel lacks {lacks}")]
    Kernel { lacks: String },
    #[error("cannot mount {kind} on {target}: {errno}")]
    Mount { kind: &'static str, target: &'static str, errno: Errno },
    #[error("cannot {action} {path}: {error}")]
    File { action: &'static str, path: PathBuf, error: io::Error },
    #[error("{path} is no description: {error}")]
    Description { path: PathBuf, error: serde_json::Error },
    /// What comes last in the initramfs has not been unpacked.
    #[error("the initramfs is not complete: the guest has too little memory for it")]
    Incomplete,
    #[error("the command description names no program")]
    EmptyCommand,
    /// The host has closed the control port before it gave a command.
    #[error("the host has gone without giving a command")]
    NoOrders,
    #[error("cannot load {path} with parameters '{params}': {errno} (the kernel log says why)")]
    Module { path: PathBuf, params: String, errno: Errno },
    #[error("farfault.ko has no parameter '{name}' (--driver-params); it has {known}")]
    NoParameter { name: String, known: String },
    #[error("{path} is not for this kernel (--no-driver does without the driver)", path = .path.display())]
    Foreign { path: PathBuf },
    #[error("farfault.ko is loaded but made no {node}: its probe failed (the kernel log says why)")]
    Unbound { node: &'static str },
    /// The host has said that it is plugged in.
    #[error("the kernel does not find the accelerator (its log says why)")]
    NoDevice,
    /// Persistent memory that its modules do not take.
    #[error("no {node} within {seconds} s (the kernel log says why)", node = .node.display())]
    NoPmem { node: PathBuf, seconds: u64 },
    #[error("no /dev/kvm: this CPU offers neither SVM nor VMX, so it cannot run a nested guest")]
    NoKvm,
    #[error("no virtio port named {names} within {seconds} s")]
    NoPort { names: String, seconds: u64 },
    /// A process that SIGKILL does not end, which only a kernel bug can cause.
    #[error("still alive {seconds} s after SIGKILL: {who} (stuck in the kernel)")]
    Unkillable { who: String, seconds: u64 },
    #[error("cannot {action}: {error}")]
    System { action: &'static str, error: io::Error },
}

impl Failure {
    /// A file with which `action` could not be done.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::File { action, path: path.into(), error }
    }
}

/// Names what was being done when a system call failed.
pub trait Doing<T> {
    /// Turns the error into a [`Failure`] that says what `action` it stopped.
    fn doing(self, action: &'static str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, action: &'static str) -> Result<T, Failure> {
        self.map_err(|error| Failure::System { action, error: error.into() })
    }
}

/// Reads a whole file, naming it when that fails.
pub fn read(path: impl Into<PathBuf>) -> Result<Vec<u8>, Failure> {
    let path = path.into();
    std::fs::read(&path).map_err(Failure::file("read", path))
}
