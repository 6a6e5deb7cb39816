//! Checksums as hubs tell them: SHA-256 of a file, or git's name of a blob.
//!
//! Git names content by the SHA-1 of `blob LENGTH\0` and the content. SHA-1 stands against accidents and broken transfers; it is
//! what hubs have for small files, and what is large has a SHA-256.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes read at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// Of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Lower-case hex.
    Sha256(String),
    /// Lower-case hex.
    Git(String),
}

impl Checksum {
    /// From 64 hexadecimal digits.
    pub(crate) fn sha256(text: &str) -> Option<Checksum> {
        hex(text, 64).map(Checksum::Sha256)
    }

    /// From 40 hexadecimal digits.
    pub(crate) fn git(text: &str) -> Option<Checksum> {
        hex(text, 40).map(Checksum::Git)
    }

    /// Its digits.
    pub(crate) fn text(&self) -> &str {
        match self {
            Checksum::Sha256(text) | Checksum::Git(text) => text,
        }
    }

    /// Whether the file at `path` has it.
    pub(crate) fn is_of(&self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let mut context = match self {
            Checksum::Sha256(_) => Context::new(&SHA256),
            Checksum::Git(_) => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {}\0", file.metadata()?.len()).as_bytes());
                context
            }
        };
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                length => context.update(buffer.get(..length).unwrap_or_default()),
            }
        }
        let found: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(found == self.text())
    }
}

fn hex(text: &str, digits: usize) -> Option<String> {
    let is_hex = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_those_of_the_tools() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "hello\n").unwrap();
        // sha256sum, git hash-object
        let sha256 =
            Checksum::sha256("5891B5B522D5DF086D0FF0B110FBD9D21BB4FC7163AF34D08286A2E846F6BE03").unwrap();
        let git = Checksum::git("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        assert!(sha256.is_of(&path).unwrap() && git.is_of(&path).unwrap());
        std::fs::write(&path, "hello").unwrap();
        assert!(!sha256.is_of(&path).unwrap() && !git.is_of(&path).unwrap());
        assert_eq!((Checksum::sha256("ab"), Checksum::git(&"g".repeat(40))), (None, None));
    }
}
