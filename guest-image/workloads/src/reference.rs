// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the commands mean, done by the CPU.

/// Runs of bytes other than space and 0x09 to 0x0d.
pub fn word_count(text: &[u8]) -> u64 {
    let mut words = 0;
    let mut inside = false;
    for &byte in text {
        let space = matches!(byte, b' ' | 0x09..=0x0d);
        words += u64::from(!space && !inside);
        inside = !space;
    }
    words
}

/// How often each byte value occurs.
pub fn histogram(bytes: &[u8]) -> [u64; 256] {
    let mut counts = [0; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    counts
}

/// `y[i] += factor * x[i]`, each step rounded.
pub fn saxpy(factor: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// Byte i becomes byte i modulo 8 of `pattern`.
pub fn fill(bytes: &mut [u8], pattern: u64) {
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&pattern.to_le_bytes()[..chunk.len()]);
    }
}

/// Where two buffers first differ.
pub fn compare(left: &[u8], right: &[u8]) -> Option<usize> {
    left.iter().zip(right).position(|(left, right)| left != right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_between_spaces() {
        let cases: [(&[u8], u64); 5] =
            [(b"", 0), (b" \t\r\n\x0b\x0c", 0), (b"one", 1), (b" two words ", 2), (b"a\0b c", 2)];
        for (text, words) in cases {
            assert_eq!(word_count(text), words, "{text:?}");
        }
    }

    #[test]
    fn a_pattern_starts_anew_every_eight_bytes() {
        let mut bytes = [0; 11];
        fill(&mut bytes, 0x0807_0605_0403_0201);
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3]);
    }

    #[test]
    fn the_rest() {
        assert_eq!(histogram(b"aab")[usize::from(b'a')], 2);
        assert_eq!(compare(b"abc", b"abd"), Some(2));
        assert_eq!(compare(b"abc", b"abc"), None);
        let mut y = [1.0];
        saxpy(2.0, &[3.0], &mut y);
        assert_eq!(y, [7.0]);
    }
}
