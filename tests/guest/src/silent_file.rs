// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A file whose reads are never answered: the root of a FUSE file system with a server
//! that keeps them (include/uapi/linux/fuse.h).

use crate::Failure;
use crate::children::{Child, Signpost};
use crate::memory::PAGE;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

const INIT: u32 = 26;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INTERRUPT: u32 = 36;

/// The file, a page long. When dropped, reads fail.
pub struct SilentFile {
    path: PathBuf,
    _server: Child,
}

impl SilentFile {
    /// A file; each read of it reaches `asked`.
    pub fn new(asked: &Signpost) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("silent-{}", std::process::id()));
        File::create(&path)?;
        let channel = File::options().read(true).write(true).open("/dev/fuse")?;
        let fd = channel.as_raw_fd();
        let options = format!("fd={fd},rootmode={:o},user_id=0,group_id=0", libc::S_IFREG);
        mount(Some("silent"), &path, Some("fuse"), MsFlags::empty(), Some(options.as_str()))?;
        Ok(Self { path, _server: Child::start(|| serve(&channel, asked))? })
    }

    /// Opens it for reading.
    pub fn open(&self) -> std::io::Result<File> {
        let file = File::open(&self.path)?;
        // The kernel asks for its length now.
        file.metadata()?;
        Ok(file)
    }
}

impl Drop for SilentFile {
    fn drop(&mut self) {
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.path);
    }
}

/// Until the file system is gone.
fn serve(mut channel: &File, asked: &Signpost) -> Result<(), Failure> {
    let mut request = [0; 1 << 16];
    while channel.read(&mut request).is_ok() {
        // struct fuse_in_header: length, opcode, unique.
        let opcode = u32::from_le_bytes([request[4], request[5], request[6], request[7]]);
        let (error, body) = match opcode {
            READ => {
                asked.reach()?;
                continue;
            }
            INTERRUPT => continue,
            INIT => (0, init()),
            GETATTR => (0, attributes()),
            OPEN => (0, vec![0; 16]),
            FLUSH | RELEASE => (0, Vec::new()),
            _ => (-libc::ENOSYS, Vec::new()),
        };
        // struct fuse_out_header: length, error, unique.
        let mut reply = ((16 + body.len()) as u32).to_le_bytes().to_vec();
        reply.extend(error.to_le_bytes());
        reply.extend_from_slice(&request[8..16]);
        reply.extend(body);
        channel.write_all(&reply)?;
    }
    Ok(())
}

/// struct fuse_init_out of version 7.31. Pages are read ahead, asynchronously: then a fault
/// waits for its page, as with a disk, and not for FUSE's answer, which cannot be killed.
fn init() -> Vec<u8> {
    const ASYNC_READ: u32 = 1;
    let mut body = words(&[7, 31, 1 << 17, ASYNC_READ, 0, PAGE as u32]);
    body.resize(64, 0);
    body
}

/// struct fuse_attr_out: a regular file of one page.
fn attributes() -> Vec<u8> {
    let valid = [u32::MAX, 0, 0, 0];
    let (inode, size, blocks, times) = ([1, 0], [PAGE as u32, 0], [8, 0], [0; 9]);
    let rest = [libc::S_IFREG | 0o600, 1, 0, 0, 0, PAGE as u32, 0];
    words(&[&valid[..], &inode, &size, &blocks, &times, &rest].concat())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
