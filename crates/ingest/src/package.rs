//! ZIP packages (office documents, EPUB, archives) read under limits.
//!
//! Nothing that the archive says about its own sizes is believed: bytes are counted as they come out, over all parts of a file
//! and, for an archive of documents, over all documents within ([`Unpacked`]). Names are only names: nothing is written to disk,
//! so `../../etc/passwd` is a string like any other.

pub(crate) mod relations;

use crate::encoding;
use crate::error::IngestError;
use crate::limits::Limits;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::time::{Duration, Instant};
use zip::ZipArchive;
use zip::result::ZipError;

/// The first bytes of a ZIP archive with at least one entry.
pub(crate) const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
/// The first bytes of a compound file: the old office formats, and new ones under a password.
pub(crate) const COMPOUND_MAGIC: &[u8] = &[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];
/// Unpacked bytes that are always allowed, whatever the ratio: small files may compress well.
const RATIO_FREE_BYTES: u64 = 16 << 20;

/// Bytes read between two looks at the clock.
const BYTES_BETWEEN_LOOKS: u64 = 1 << 20;

/// Bytes that may still be unpacked from one file, shared by what lies within, and when its document is given up.
#[derive(Debug)]
pub(crate) struct Unpacked {
    left: Cell<u64>,
    limit: u64,
    seconds: u64,
    begun: Cell<Instant>,
}

impl Unpacked {
    /// For a file of this length.
    pub(crate) fn of_file(file_bytes: u64, limits: &Limits) -> Self {
        let by_ratio = file_bytes.saturating_mul(limits.unpacking_ratio).max(RATIO_FREE_BYTES);
        let limit = limits.unpacked_bytes.min(by_ratio);
        let (seconds, begun) = (limits.seconds, Cell::new(Instant::now()));
        Self { left: Cell::new(limit), limit, seconds, begun }
    }

    /// The next document of an archive has its own time.
    pub(crate) fn begin_document(&self) {
        self.begun.set(Instant::now());
    }

    /// An error when the document's time is over.
    pub(crate) fn check_time(&self) -> Result<(), IngestError> {
        match self.clock().is_late() {
            true => Err(IngestError::TooSlow { seconds: self.seconds }),
            false => Ok(()),
        }
    }

    /// The time of the document that is read now.
    pub(crate) fn clock(&self) -> Clock {
        Clock { begun: self.begun.get(), allowed: Duration::from_secs(self.seconds) }
    }
}

/// When a document was begun and how long it may take; for whoever looks at the time from another place or thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    begun: Instant,
    allowed: Duration,
}

impl Clock {
    pub(crate) fn is_late(self) -> bool {
        self.begun.elapsed() >= self.allowed
    }
}

/// An open package.
pub(crate) struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// Position by name in lower case: parts are named without regard to case.
    names: HashMap<String, usize>,
    unpacked: &'a Unpacked,
    format: &'static str,
}

/// An entry as the archive names it.
pub(crate) struct Entry {
    pub(crate) index: usize,
    pub(crate) raw_name: Vec<u8>,
    /// The name as the format asks: UTF-8 where marked, else code page 437.
    pub(crate) name: String,
    pub(crate) encrypted: bool,
    pub(crate) is_folder: bool,
}

impl<'a> Package<'a> {
    /// Opens the bytes of a file; `format` names it in messages.
    pub(crate) fn open(
        bytes: &'a [u8],
        format: &'static str,
        limits: &Limits,
        unpacked: &'a Unpacked,
    ) -> Result<Self, IngestError> {
        if bytes.starts_with(COMPOUND_MAGIC) {
            return Err(of_compound_file(bytes, format));
        }
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(format, &error))?;
        if archive.len() > limits.entries {
            return Err(IngestError::Unfolds { unit: "entries", limit: limits.entries as u64 });
        }
        let mut package = Self { archive, names: HashMap::new(), unpacked, format };
        for entry in package.entries() {
            let name = String::from_utf8_lossy(&entry.raw_name).replace('\\', "/").to_lowercase();
            package.names.entry(name.trim_start_matches('/').to_owned()).or_insert(entry.index);
        }
        Ok(package)
    }

    /// All entries in the order of the archive's directory.
    pub(crate) fn entries(&mut self) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.archive.len());
        for index in 0..self.archive.len() {
            let Ok(file) = self.archive.by_index_raw(index) else { continue };
            entries.push(Entry {
                index,
                raw_name: file.name_raw().to_vec(),
                name: file.name().map(Cow::into_owned).unwrap_or_default(),
                encrypted: file.encrypted(),
                is_folder: file.is_dir()
                    || file.name_raw().ends_with(b"/")
                    || file.name_raw().ends_with(b"\\"),
            });
        }
        entries
    }

    /// The bytes of a part; none if there is no such part.
    pub(crate) fn part(&mut self, name: &str) -> Result<Option<Vec<u8>>, IngestError> {
        match self.names.get(&name.to_lowercase()) {
            Some(&index) => self.unpack(index).map(Some),
            None => Ok(None),
        }
    }

    /// A part as text: UTF-8, or UTF-16 with a byte order mark, as XML may be.
    pub(crate) fn text_part(&mut self, name: &str) -> Result<Option<String>, IngestError> {
        self.part(name)?.map(encoding::decode).transpose()
    }

    /// An error when the document's time is over; asked wherever much may follow.
    pub(crate) fn check_time(&self) -> Result<(), IngestError> {
        self.unpacked.check_time()
    }

    /// The bytes of the entry at `index`.
    pub(crate) fn unpack(&mut self, index: usize) -> Result<Vec<u8>, IngestError> {
        let format = self.format;
        let file = self.archive.by_index(index).map_err(|error| damaged(format, &error))?;
        let left = self.unpacked.left.get();
        let mut bytes = Vec::new();
        let mut file = file.take(left.saturating_add(1));
        loop {
            self.unpacked.check_time()?;
            let read = file.by_ref().take(BYTES_BETWEEN_LOOKS).read_to_end(&mut bytes);
            if read.map_err(|error| IngestError::Damaged { format, reason: error.to_string() })? == 0 {
                break;
            }
        }
        let taken = bytes.len() as u64;
        if taken > left {
            return Err(IngestError::Unfolds { unit: "bytes", limit: self.unpacked.limit });
        }
        self.unpacked.left.set(left - taken);
        Ok(bytes)
    }
}

fn damaged(format: &'static str, error: &ZipError) -> IngestError {
    match error {
        ZipError::UnsupportedArchive(reason) if *reason == ZipError::PASSWORD_REQUIRED => {
            IngestError::Encrypted { format }
        }
        _ => IngestError::Damaged { format, reason: error.to_string() },
    }
}

/// A compound file where a package was expected: its directory says whether a package is encrypted in it.
fn of_compound_file(bytes: &[u8], format: &'static str) -> IngestError {
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    if bytes.windows(name.len()).any(|window| window == name) {
        return IngestError::Encrypted { format };
    }
    IngestError::Damaged { format, reason: "it is in an older binary format under a newer name".into() }
}
