//! Reading, preparing, encoding and committing at the same time, on one thread each, joined by bounded queues.
//!
//! ```text
//! read + hash ──groups──▶ split / decode ──groups──▶ encode ──portions──▶ commit ──▶ messages to the caller's thread
//!   1 thread              the thread pool            the thread pool      1 thread
//! ```
//!
//! Files keep their (sorted) order, so a folder gives the same rows on every machine. A group of files becomes one
//! commit, except that a large new file takes several (its stamp comes with the last, so that an interrupted add reads
//! it again) and a file that changed is replaced in exactly one. Memory is bounded by the groups in flight: one in each
//! stage and one in each queue, of at most [`GROUP_FILES`], [`GROUP_BYTES`] and [`GROUP_DECODED_BYTES`] (or one file).

use super::file::{Content, content, key};
use super::prepare::{Job, Preparation, Prepared, PreparedDocument, PreparedItem, Source, decoded_bytes};
use super::write::{EncodedFile, Portion, Written, write};
use crate::error::{Error, ErrorKind};
use crate::models::encode_in_batches;
use crate::passes::Precedence;
use crate::sentences;
use crate::storage::VectorStore;
use bilin_encode::{Encoded, Input};
use bilin_ingest::{Found, Problem};
use bilin_store::{FileStamp, NewDocument, NewItem};
use rayon::ThreadPool;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

/// Files of a group at most.
const GROUP_FILES: usize = 32;
/// Bytes of a group's files at most (a single larger file is a group of its own).
const GROUP_BYTES: u64 = 32 << 20;
/// Decoded bytes of a group's pictures at most.
const GROUP_DECODED_BYTES: u64 = 128 << 20;
/// Groups waiting between two stages.
const QUEUE_GROUPS: usize = 1;
/// Messages waiting for the caller's thread.
const QUEUE_MESSAGES: usize = 1_024;
/// Items of a commit, about; a file that changed may take more.
const COMMIT_ITEMS: usize = 512;
/// How often the caller is asked whether to stop when nothing happens.
const POLL: Duration = Duration::from_millis(100);

/// What the stages tell the caller's thread.
pub(super) enum Message {
    /// A file is done, with this many items; `bytes` are those of its bytes that no commit counts.
    File { source: String, items: usize, bytes: u64 },
    /// A file was found unchanged.
    Unchanged { source: String, bytes: u64 },
    /// Something could not be added.
    Problem(Problem),
    /// Items of a file that hold nothing but marks.
    LeftOut(usize),
    /// A commit is durable.
    Written(Written),
}

/// The stages of one `add`.
pub(super) struct Pipeline<'a> {
    pub(super) store: &'a dyn VectorStore,
    pub(super) pool: &'a ThreadPool,
    /// Queries, which go before each piece that is encoded.
    pub(super) precedence: &'a Precedence,
    pub(super) preparation: Preparation<'a>,
    /// Set when the caller wants to stop, or a stage has failed.
    pub(super) stop: AtomicBool,
}

/// Files between two stages.
struct Group<T> {
    files: Vec<T>,
    /// Stamps to refresh.
    touched: Vec<FileStamp>,
}
impl<T> Default for Group<T> {
    fn default() -> Self {
        Group { files: Vec::new(), touched: Vec::new() }
    }
}

/// The group that the first stage is filling.
#[derive(Default)]
struct Gathered {
    group: Group<Job>,
    bytes: u64,
    decoded_bytes: u64,
}
impl Gathered {
    fn is_full(&self) -> bool {
        let Group { files, touched } = &self.group;
        files.len() + touched.len() >= GROUP_FILES || self.bytes >= GROUP_BYTES
    }

    /// Sends the group and starts the next; `false`: nobody listens any more. An empty group is not sent.
    fn send(&mut self, to: &SyncSender<Group<Job>>) -> bool {
        let Gathered { group, .. } = std::mem::take(self);
        (group.files.is_empty() && group.touched.is_empty()) || to.send(group).is_ok()
    }
}

/// Documents of one file that go into one commit.
struct Piece {
    found: Found,
    first: bool,
    stamp: Option<FileStamp>,
    known: bool,
    /// Items of the whole file.
    file_items: usize,
    documents: Vec<PreparedDocument>,
}

impl Pipeline<'_> {
    /// Runs all files through; `on` is told of everything on this thread and returns `true` to stop after the current
    /// commit. It is also asked, with `None`, while nothing happens.
    pub(super) fn run(
        &self,
        found: Vec<Found>,
        mut on: impl FnMut(Option<Message>) -> bool,
    ) -> Result<(), Error> {
        std::thread::scope(|scope| {
            let (to_prepare, jobs) = sync_channel(QUEUE_GROUPS);
            let (to_encode, prepared) = sync_channel(QUEUE_GROUPS);
            let (to_write, portions) = sync_channel(QUEUE_GROUPS);
            let (tell, messages) = sync_channel(QUEUE_MESSAGES);
            let (tell_read, tell_encode) = (tell.clone(), tell.clone());
            let stages: [ScopedJoinHandle<'_, Result<(), Error>>; 4] = [
                scope.spawn(move || self.watched(|| self.read(found, &to_prepare, &tell_read))),
                scope.spawn(move || self.watched(|| self.prepare(jobs, &to_encode))),
                scope.spawn(move || self.watched(|| self.encode(prepared, &to_write, &tell_encode))),
                scope.spawn(move || self.watched(|| self.write(portions, &tell))),
            ];
            loop {
                let message = match messages.recv_timeout(POLL) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if on(message) {
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
            let mut outcome = Ok(());
            for stage in stages {
                let ended = stage.join().unwrap_or_else(|_| {
                    Err(Error::new(ErrorKind::Internal, "a thread that adds files ended unexpectedly"))
                });
                outcome = outcome.and(ended);
            }
            outcome
        })
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A stage that fails (or panics) stops the others; they end when a queue to or from it closes.
    fn watched(&self, stage: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        struct StopOnPanic<'a>(&'a AtomicBool);
        impl Drop for StopOnPanic<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
        }
        let _guard = StopOnPanic(&self.stop);
        let ended = stage();
        if ended.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        ended
    }

    /// Compares files with their stamps and reads those that differ, in groups.
    fn read(
        &self,
        found: Vec<Found>,
        to_prepare: &SyncSender<Group<Job>>,
        tell: &SyncSender<Message>,
    ) -> Result<(), Error> {
        let mut gathered = Gathered::default();
        for found in found {
            if self.stopped() {
                return Ok(());
            }
            let (known, content) = self.look_at(&found)?;
            match content {
                Err(problem) => {
                    let _ = tell.send(Message::Problem(problem));
                    let _ = tell.send(Message::File { source: found.source, items: 0, bytes: found.bytes });
                }
                Ok(Content::Unchanged) => {
                    let _ = tell.send(Message::Unchanged { source: found.source, bytes: found.bytes });
                }
                Ok(Content::Touched(stamp)) => {
                    let _ = tell.send(Message::File { source: found.source, items: 0, bytes: found.bytes });
                    gathered.group.touched.push(stamp);
                }
                Ok(Content::New { bytes, stamp }) => {
                    let decoded = decoded_bytes(found.format, &bytes);
                    if gathered.decoded_bytes + decoded > GROUP_DECODED_BYTES && !gathered.send(to_prepare) {
                        return Ok(());
                    }
                    gathered.bytes += stamp.bytes;
                    gathered.decoded_bytes += decoded;
                    gathered.group.files.push(Job { found, bytes, stamp, known });
                }
            }
            if gathered.is_full() && !gathered.send(to_prepare) {
                return Ok(());
            }
        }
        gathered.send(to_prepare);
        Ok(())
    }

    /// Whether the file was added before, and what is to be done with it. A problem is this file's alone, an error the
    /// store's.
    fn look_at(&self, found: &Found) -> Result<(bool, Result<Content, Problem>), Error> {
        let key = match key(found) {
            Ok(key) => key,
            Err(problem) => return Ok((false, Err(problem))),
        };
        let stamp = self.store.file_stamp(key)?;
        Ok((stamp.is_some(), content(found, stamp.as_ref(), self.preparation.max_file_bytes)))
    }

    /// Splits texts and decodes pictures, a group at a time on all threads.
    fn prepare(
        &self,
        jobs: Receiver<Group<Job>>,
        to_encode: &SyncSender<Group<Prepared>>,
    ) -> Result<(), Error> {
        for Group { files, touched } in jobs {
            if self.stopped() {
                break;
            }
            let go_on = || {
                self.precedence.give_way();
                !self.stopped()
            };
            let prepare = |job| self.preparation.prepare(job, &go_on);
            let files = self.pool.install(|| files.into_par_iter().map(prepare).collect::<Vec<_>>());
            // What an archive holds may have been left half done.
            if self.stopped() {
                break;
            }
            if to_encode.send(Group { files, touched }).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Encodes and cuts into portions of a commit each.
    fn encode(
        &self,
        prepared: Receiver<Group<Prepared>>,
        to_write: &SyncSender<Portion>,
        tell: &SyncSender<Message>,
    ) -> Result<(), Error> {
        for Group { files, mut touched } in prepared {
            let mut pieces: Vec<Piece> = Vec::new();
            let mut items = 0;
            for mut file in files {
                for problem in file.problems.drain(..) {
                    let _ = tell.send(Message::Problem(problem));
                }
                if file.left_out > 0 {
                    let _ = tell.send(Message::LeftOut(file.left_out));
                }
                if file.failed {
                    let Found { source, bytes, .. } = file.found;
                    let _ = tell.send(Message::File { source, items: 0, bytes });
                    continue;
                }
                for piece in cut(file) {
                    let size = item_count(&piece.documents);
                    if items > 0 && items + size > COMMIT_ITEMS {
                        let portion = (std::mem::take(&mut pieces), std::mem::take(&mut touched));
                        if !self.encode_portion(portion.0, portion.1, to_write)? {
                            return Ok(());
                        }
                        items = 0;
                    }
                    items += size;
                    pieces.push(piece);
                }
            }
            let nothing = pieces.is_empty() && touched.is_empty();
            if !nothing && !self.encode_portion(pieces, touched, to_write)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// `false`: stopped, or nobody listens any more.
    fn encode_portion(
        &self,
        pieces: Vec<Piece>,
        touched: Vec<FileStamp>,
        to_write: &SyncSender<Portion>,
    ) -> Result<bool, Error> {
        let items = || pieces.iter().flat_map(|piece| &piece.documents).flat_map(|document| &document.items);
        let inputs: Vec<Input<'_>> = items().filter_map(|item| item.source.input()).collect();
        let encoder = self.preparation.encoder;
        let go_on = || {
            self.precedence.give_way();
            !self.stopped()
        };
        let encoded = self.pool.install(|| encode_in_batches(encoder, &inputs, go_on))?;
        drop(inputs);
        let Some(encoded) = encoded else { return Ok(false) };
        let mut sentences = None;
        if self.preparation.sentences {
            let told = items().map(PreparedItem::told);
            let headings = self.preparation.headings;
            sentences = self.pool.install(|| sentences::encode(encoder, told, headings, go_on))?;
            if sentences.is_none() {
                return Ok(false);
            }
        }
        let portion = assemble(pieces, touched, &encoded, sentences.unwrap_or_default());
        Ok(to_write.send(portion).is_ok())
    }

    /// Commits portions; what has come this far is written even when the caller wants to stop.
    fn write(&self, portions: Receiver<Portion>, tell: &SyncSender<Message>) -> Result<(), Error> {
        for portion in portions {
            let done: Vec<_> = portion
                .files
                .iter()
                .filter(|file| file.stamp.is_some())
                .map(|file| Message::File {
                    source: file.found.source.clone(),
                    items: file.file_items,
                    bytes: 0,
                })
                .collect();
            let written = write(self.store, portion)?;
            let _ = tell.send(Message::Written(written));
            for message in done {
                let _ = tell.send(message);
            }
        }
        Ok(())
    }
}

fn item_count(documents: &[PreparedDocument]) -> usize {
    documents.iter().map(|document| document.items.len()).sum()
}

/// A new file with more than [`COMMIT_ITEMS`] items is cut between its documents.
fn cut(file: Prepared) -> Vec<Piece> {
    let Prepared { found, stamp, known, documents, .. } = file;
    let file_items = item_count(&documents);
    if known || file_items <= COMMIT_ITEMS {
        return vec![Piece { found, first: true, stamp: Some(stamp), known, file_items, documents }];
    }
    let mut pieces: Vec<Piece> = Vec::new();
    let mut held: Vec<PreparedDocument> = Vec::new();
    let mut items = 0;
    let piece =
        |documents, first| Piece { found: found.clone(), first, stamp: None, known, file_items, documents };
    for document in documents {
        if items > 0 && items + document.items.len() > COMMIT_ITEMS {
            pieces.push(piece(std::mem::take(&mut held), pieces.is_empty()));
            items = 0;
        }
        items += document.items.len();
        held.push(document);
    }
    pieces.push(Piece { stamp: Some(stamp), ..piece(held, pieces.is_empty()) });
    pieces
}

/// Joins documents, their vectors and those of their sentences, which come in the same order.
fn assemble(
    pieces: Vec<Piece>,
    touched: Vec<FileStamp>,
    encoded: &Encoded,
    sentences: Vec<Option<Vec<u8>>>,
) -> Portion {
    let mut sentences = sentences.into_iter();
    let mut vectors = encoded.vectors.chunks_exact(encoded.dim.max(1));
    let files = pieces.into_iter().map(|piece| EncodedFile {
        first: piece.first,
        stamp: piece.stamp,
        known: piece.known,
        file_items: piece.file_items,
        documents: piece
            .documents
            .into_iter()
            .map(|document| NewDocument {
                id: document.id,
                file: None,
                items: document
                    .items
                    .into_iter()
                    .map(|item| NewItem {
                        vector: match item.source {
                            Source::Vector(vector) => vector,
                            Source::Text(_) | Source::Picture(_) => {
                                vectors.next().map(<[f32]>::to_vec).unwrap_or_default()
                            }
                        },
                        text: item.text,
                        metadata: item.metadata,
                        thumbnail: item.thumbnail,
                        sentences: sentences.next().flatten(),
                    })
                    .collect(),
            })
            .collect(),
        found: piece.found,
    });
    Portion { files: files.collect(), touched, truncated: encoded.truncated }
}
