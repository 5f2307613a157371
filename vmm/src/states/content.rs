// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The content of large files with holes: copied, and summed up so that a changed byte shows.

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Zeroes of this many bytes are no content: the file may have a hole there or not.
const BLOCK: u64 = 64 << 10;
/// What is copied at a time: it stays in a processor's cache.
const BUFFER: usize = 256 << 10;

/// Copies what `from` holds to the empty file `to`, holes as holes; its checksum.
pub fn copy(from: &File, to: &File) -> io::Result<String> {
    let length = from.metadata()?.len();
    to.set_len(length)?;
    sum(from, length, |offset, block| to.write_all_at(block, offset))
}

/// Copies what `from` holds to the empty file `to`, holes as holes, and nothing else.
pub fn fill(to: &File, from: &File) -> io::Result<()> {
    let length = from.metadata()?.len();
    to.set_len(length)?;
    let mut buffer = vec![0; BUFFER];
    let mut offset = 0;
    while let Some(data) = next(from, offset, Whence::SeekData)? {
        let end = next(from, data, Whence::SeekHole)?.unwrap_or(length);
        offset = data;
        while offset < end {
            let size = end.saturating_sub(offset).min(BUFFER as u64);
            let Some(bytes) = buffer.get_mut(..size as usize) else { break };
            from.read_exact_at(bytes, offset)?;
            to.write_all_at(bytes, offset)?;
            offset += size;
        }
    }
    Ok(())
}

/// The checksum of a file.
pub fn checksum(file: &File) -> io::Result<String> {
    sum(file, file.metadata()?.len(), |_, _| Ok(()))
}

/// Hands each block that is not all zero to `each`, and sums up all of them.
fn sum(
    file: &File,
    length: u64,
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&length.to_le_bytes());
    let mut buffer = vec![0; BLOCK as usize];
    let mut offset = 0;
    while let Some(block) = next(file, offset, Whence::SeekData)?.map(|data| data / BLOCK * BLOCK) {
        let size = BLOCK.min(length.saturating_sub(block));
        let Some(bytes) = buffer.get_mut(..size as usize).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        file.read_exact_at(bytes, block)?;
        if bytes.iter().any(|byte| *byte != 0) {
            hasher.update(&block.to_le_bytes());
            hasher.update(bytes);
            each(block, bytes)?;
        }
        offset = block + size;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Where the next content, or the next hole, at or behind `offset` begins.
fn next(file: &File, offset: u64, what: Whence) -> io::Result<Option<u64>> {
    let from = i64::try_from(offset).map_err(io::Error::other)?;
    match lseek(file, from, what) {
        Ok(place) => Ok(u64::try_from(place).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_has_the_same_content_and_the_same_holes() {
        let [from, to] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        from.set_len((3 << 20) + 5).unwrap();
        from.write_all_at(b"here", 1 << 20).unwrap();
        from.write_all_at(b"there", 3 << 20).unwrap();
        from.write_all_at(&[0; 4096], 2 << 20).unwrap();
        let sum = copy(&from, &to).unwrap();
        assert_eq!(checksum(&to).unwrap(), sum);
        assert_eq!(checksum(&from).unwrap(), sum, "zeroes and holes are the same");
        let other = tempfile::tempfile().unwrap();
        fill(&other, &from).unwrap();
        assert_eq!(checksum(&other).unwrap(), sum);
        assert!(other.metadata().unwrap().blocks() <= from.metadata().unwrap().blocks());
        let mut read = [0; 5];
        to.read_exact_at(&mut read, 3 << 20).unwrap();
        assert_eq!(&read, b"there");
        assert!(to.metadata().unwrap().blocks() * 512 <= 3 * BLOCK);
    }

    #[test]
    fn any_change_shows() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(b"x", 70_000).unwrap();
        let before = checksum(&file).unwrap();
        for (bytes, offset) in [(b"y", 70_000), (b"z", 500_000)] {
            file.write_all_at(bytes, offset).unwrap();
            assert_ne!(checksum(&file).unwrap(), before);
            file.write_all_at(b"\0", 500_000).unwrap();
        }
        file.write_all_at(b"x", 70_000).unwrap();
        assert_eq!(checksum(&file).unwrap(), before);
        file.set_len(2 << 20).unwrap();
        assert_ne!(checksum(&file).unwrap(), before, "longer by a hole");
        assert!(checksum(&tempfile::tempfile().unwrap()).is_ok());
    }
}
