//! How an answer is put into a cache that is not ours alone, and what is trusted of what comes back.
//!
//! ```text
//! 0   4   magic "BLNA"
//! 4   1   version, now 1
//! 5   3   zeros
//! 8   8   length of the body, u64 LE
//! 16  32  key that it was put under
//! 48  16  first half of the BLAKE3 of bytes 0..48 and the body
//! 64  ..  body
//! ```
//! Other programs may write there, entries may be cut or come from another key or version: what does not fit in every point is no answer.
//! The checksum finds damage, not malice: who may write into the shared cache may answer in our name, as its password guards.

use super::key::Key;

const MAGIC: &[u8; 4] = b"BLNA";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 64;
const SUM_AT: usize = 48;

/// Why a value of a shared cache was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Not ours, or of another version.
    #[error("it is not an answer of this version")]
    Foreign,
    /// Shorter or longer than it says.
    #[error("it is {received} bytes long, and {expected} were expected")]
    Length {
        /// By its head.
        expected: u64,
        /// As it came.
        received: u64,
    },
    /// Put there under another key.
    #[error("it is the answer to another query")]
    OtherKey,
    /// Damaged.
    #[error("its checksum does not fit")]
    Checksum,
}

pub(super) fn seal(key: &Key, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEAD_BYTES + body.len());
    value.extend_from_slice(MAGIC);
    value.extend_from_slice(&[VERSION, 0, 0, 0]);
    value.extend_from_slice(&(body.len() as u64).to_le_bytes());
    value.extend_from_slice(&key.0);
    let sum = checksum(&value, body);
    value.extend_from_slice(&sum);
    value.extend_from_slice(body);
    value
}

/// The body of a value, after every check.
pub(super) fn open<'a>(key: &Key, value: &'a [u8]) -> Result<&'a [u8], Unfit> {
    let received = value.len() as u64;
    let Some((head, body)) = value.split_at_checked(HEAD_BYTES) else {
        return Err(Unfit::Length { expected: HEAD_BYTES as u64, received });
    };
    if head[..4] != *MAGIC || head[4..8] != [VERSION, 0, 0, 0] {
        return Err(Unfit::Foreign);
    }
    let mut length = [0; 8];
    length.copy_from_slice(&head[8..16]);
    let length = u64::from_le_bytes(length);
    if length != body.len() as u64 {
        return Err(Unfit::Length { expected: length.saturating_add(HEAD_BYTES as u64), received });
    }
    if head[16..SUM_AT] != key.0 {
        return Err(Unfit::OtherKey);
    }
    match head[SUM_AT..] == checksum(&head[..SUM_AT], body) {
        true => Ok(body),
        false => Err(Unfit::Checksum),
    }
}

fn checksum(head: &[u8], body: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    let mut sum = [0; 16];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_byte_and_every_cut_is_found() {
        let key = Key([7; 32]);
        let value = seal(&key, b"{\"results\":[]}");
        assert_eq!(open(&key, &value), Ok(&b"{\"results\":[]}"[..]));
        assert_eq!(open(&Key([8; 32]), &value), Err(Unfit::OtherKey));
        for at in 0..value.len() {
            let mut flipped = value.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(open(&key, &flipped).is_err(), "byte {at}");
            assert!(open(&key, &value[..at]).is_err(), "cut at {at}");
        }
        let longer = [value.as_slice(), b" "].concat();
        assert!(matches!(open(&key, &longer), Err(Unfit::Length { .. })));
        assert_eq!(open(&key, b""), Err(Unfit::Length { expected: 64, received: 0 }));
    }
}
