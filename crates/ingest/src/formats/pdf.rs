//! PDF: the text of each page in reading order, with headings, lists, tables and listings, each on its page.
//!
//! The file's objects and fonts are read by `hayro-syntax` and `hayro-font` (decision 0024); what a page shows is made of them
//! here: `content` runs the text operators, `fonts` names the characters, `lines` and `columns` put them in reading order,
//! `furniture` takes running heads out, `bookmarks` and `headings` find the structure, `blocks` writes the outline.
//!
//! Invariants: no picture is unpacked and no stream before it was measured (`unpack`), so that memory is bounded by
//! [`Limits`]; a file is read on a thread of its own and given up after [`Limits::seconds`]; whatever a crate panics over is an
//! error of that file. Pages without text are named, never passed over in silence.
//!
//! Pages are counted from 1 in the order of the file, as readers count them, whatever is printed on them.

mod blocks;
mod bookmarks;
mod columns;
mod content;
mod fonts;
mod furniture;
mod headings;
mod lines;
mod unpack;

use crate::error::{IngestError, Problem};
use crate::limits::Limits;
use crate::outline::Section;
use content::{Budget, Stop};
use furniture::PageLines;
use hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use lines::Piece;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use unpack::{NoRoom, Room};

/// What such a file is called in messages.
pub(crate) const FORMAT: &str = "PDF";
/// Files may always unfold into this, however small they are.
const FREE_BYTES: u64 = 16 << 20;
/// Bytes of limits that one shown character is taken for.
const GLYPH_BYTES: u64 = 16;
/// Room for the parser's recursion.
const STACK_BYTES: usize = 32 << 20;
/// How long a reader that was told to stop may take to do so.
const GRACE: Duration = Duration::from_secs(2);
/// Readers that do not stop, over all files; beyond them no PDF is read any more.
const MAX_STUCK: usize = 4;
/// A page with fewer characters that a picture covers is a scanned one.
const SCANNED_CHARACTERS: usize = 12;
/// Part of the page that the picture covers.
const SCANNED_SHARE: f64 = 0.3;
/// Page ranges that a problem names.
const MAX_RANGES: usize = 20;

static STUCK: AtomicUsize = AtomicUsize::new(0);

/// What a file gave.
pub(crate) struct Read {
    pub(crate) sections: Vec<Section>,
    /// What could not be read, as said to the user.
    pub(crate) problems: Vec<Problem>,
}

/// Pages, counted from 1, whose text is not there or not known.
#[derive(Debug, Default, PartialEq)]
struct Unread {
    scanned: Vec<usize>,
    unknown: Vec<usize>,
}

/// Reads a file in the time that the limits give it.
pub(crate) fn read(path: &Path, bytes: Vec<u8>, limits: &Limits) -> Result<Read, IngestError> {
    if STUCK.load(Ordering::Relaxed) >= MAX_STUCK {
        return Err(damaged("earlier files hang the reader; start the program again"));
    }
    let (limits, cancelled) = (*limits, Arc::new(AtomicBool::new(false)));
    let deadline = Instant::now() + Duration::from_secs(limits.seconds);
    let (sender, receiver) = channel();
    let seen = Arc::clone(&cancelled);
    let reader = std::thread::Builder::new().name("pdf".into()).stack_size(STACK_BYTES).spawn(move || {
        // A crate that panics has left nothing behind that anybody else sees.
        let read = catch_unwind(AssertUnwindSafe(|| read_here(bytes, &limits, deadline, seen)));
        // Nobody may wait any more.
        let _ = sender.send(read.unwrap_or_else(|_| {
            Err(damaged("its structure is broken in a way that the reader does not expect"))
        }));
    })?;
    let wait = deadline.saturating_duration_since(Instant::now()) + GRACE;
    let (sections, unread, pages) = match receiver.recv_timeout(wait) {
        Ok(read) => {
            let _ = reader.join();
            read?
        }
        Err(RecvTimeoutError::Disconnected) => return Err(damaged("the reader ended early")),
        Err(RecvTimeoutError::Timeout) => {
            cancelled.store(true, Ordering::Relaxed);
            if receiver.recv_timeout(GRACE).is_err() {
                STUCK.fetch_add(1, Ordering::Relaxed);
            }
            return Err(IngestError::TooSlow { seconds: limits.seconds });
        }
    };
    let problems = unread.problems(path);
    if sections.is_empty() && !problems.is_empty() {
        return Err(IngestError::NoText { pages, scanned: unread.scanned.len() });
    }
    Ok(Read { sections, problems })
}

/// Reads a file on the caller's thread, for fuzzing: nothing stands between a panic and the caller.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: Vec<u8>, limits: &Limits) -> Result<(), IngestError> {
    let deadline = Instant::now() + Duration::from_secs(limits.seconds);
    read_here(bytes, limits, deadline, Arc::default()).map(|_| ())
}

#[cfg(test)]
pub(crate) use tests::seeds;

/// Reads a file on this thread, until the deadline.
fn read_here(
    bytes: Vec<u8>,
    limits: &Limits,
    deadline: Instant,
    cancelled: Arc<AtomicBool>,
) -> Result<(Vec<Section>, Unread, usize), IngestError> {
    let ratio = (bytes.len() as u64).saturating_mul(limits.unpacking_ratio);
    let most = limits.unpacked_bytes.min(ratio.max(FREE_BYTES));
    unpack::check_file(&bytes, most).map_err(unfolds)?;
    let pdf = open(bytes)?;
    let count = pdf.pages().len();
    if count == 0 {
        return Err(damaged("it has no pages"));
    }
    if count > limits.pages {
        return Err(IngestError::Unfolds { unit: "pages", limit: limits.pages as u64 });
    }
    let mut budget = Budget::new(Room::new(most), limits.unpacked_bytes / GLYPH_BYTES, deadline, cancelled);
    let mut fonts = fonts::Fonts::new();
    let mut pages: Vec<PageLines> = Vec::with_capacity(count);
    let mut unread = Unread::default();
    for (index, page) in pdf.pages().iter().enumerate() {
        let shown =
            content::read_page(page, &mut fonts, &mut budget).map_err(|stop| stopped(stop, limits))?;
        let characters = shown.glyphs.iter().filter(|glyph| !glyph.text.trim().is_empty()).count();
        if characters < SCANNED_CHARACTERS && shown.picture >= SCANNED_SHARE {
            unread.scanned.push(index + 1);
        } else if shown.unknown > characters {
            unread.unknown.push(index + 1);
        }
        pages.push(PageLines { lines: lines::of_page(&shown), height: shown.height });
    }
    let pieces: Vec<Piece> =
        pages.iter().flat_map(|page| &page.lines).flat_map(|line| &line.pieces).cloned().collect();
    let usual_size = lines::usual_size(&pieces);
    drop(pieces);
    furniture::remove(&mut pages, usual_size);
    let outline = blocks::outline(&pages, &bookmarks::read(&pdf), usual_size);
    Ok((outline.finish(), unread, count))
}

fn open(bytes: Vec<u8>) -> Result<Pdf, IngestError> {
    let is_pdf = bytes
        .get(..1024.min(bytes.len()))
        .is_some_and(|start| memchr::memmem::find(start, b"%PDF").is_some());
    Pdf::new(bytes).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => {
            IngestError::Encrypted { format: FORMAT }
        }
        LoadPdfError::Decryption(DecryptionError::UnsupportedAlgorithm) => {
            damaged("it is encrypted in a way that is not known")
        }
        LoadPdfError::Decryption(_) => damaged("its encryption is broken"),
        LoadPdfError::Invalid if is_pdf => {
            damaged("its table of objects is broken and could not be repaired")
        }
        LoadPdfError::Invalid => damaged("it does not begin as one"),
    })
}

fn damaged(reason: &str) -> IngestError {
    IngestError::Damaged { format: FORMAT, reason: reason.to_owned() }
}

fn unfolds(error: NoRoom) -> IngestError {
    IngestError::Unfolds { unit: "bytes", limit: error.limit }
}

fn stopped(stop: Stop, limits: &Limits) -> IngestError {
    match stop {
        Stop::NoRoom(error) => unfolds(error),
        Stop::TooSlow => IngestError::TooSlow { seconds: limits.seconds },
        Stop::TooManyGlyphs => {
            IngestError::Unfolds { unit: "characters", limit: limits.unpacked_bytes / GLYPH_BYTES }
        }
    }
}

impl Unread {
    fn problems(&self, path: &Path) -> Vec<Problem> {
        let named = [
            (
                &self.scanned,
                "no text, only a picture of it (scanned?)",
                "make the text searchable with a program for OCR, and add the file again",
            ),
            (
                &self.unknown,
                "text in fonts that do not say which characters they show",
                "make the PDF again from its source, or print it to PDF and use a program for OCR",
            ),
        ];
        let named = named.into_iter().filter(|(pages, ..)| !pages.is_empty());
        named
            .map(|(pages, reason, hint)| Problem {
                path: path.to_path_buf(),
                reason: format!("{}: {reason}", ranges(pages)),
                hint: Some(hint.to_owned()),
                is_partial: true,
            })
            .collect()
    }
}

/// `page 3`, `pages 3-5, 9`.
fn ranges(pages: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &page in pages {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == page => *last = page,
            _ => ranges.push((page, page)),
        }
    }
    let more = ranges.len().saturating_sub(MAX_RANGES);
    let shown: Vec<String> = ranges
        .iter()
        .take(MAX_RANGES)
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    let rest = if more > 0 { format!(" and {more} more ranges") } else { String::new() };
    format!("{} {}{rest}", if pages.len() == 1 { "page" } else { "pages" }, shown.join(", "))
}

#[cfg(test)]
mod tests;
