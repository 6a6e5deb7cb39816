//! What a file may unfold into before it is refused: compressed documents say little about their size by their length.

/// Bounds on what one file may unfold into, all checked while it is read and before memory is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that all parts of one file, or of one archive, may have together when unpacked.
    pub unpacked_bytes: u64,
    /// How many times larger than the file its parts may be together; the first 16 MiB are always allowed.
    pub unpacking_ratio: u64,
    /// Entries of an archive; parts of an office document are entries too.
    pub entries: usize,
    /// Elements within elements, in XML and HTML.
    pub depth: usize,
    /// Pages, slides or sheets of a document.
    pub pages: usize,
    /// Rows of all tables of a workbook together.
    pub rows: usize,
    /// How long one file may take to read.
    pub seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unpacked_bytes: 1 << 30,
            unpacking_ratio: 200,
            entries: 20_000,
            depth: 256,
            pages: 20_000,
            rows: 1_000_000,
            seconds: 120,
        }
    }
}
