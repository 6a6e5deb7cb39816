//! The line in front of one encoder.
//!
//! Who calls does the work: a caller that may start a pass leads it on its own thread, for itself and those behind it; the others
//! sleep until they are told their vectors, or that the next pass is theirs to lead. No thread belongs to the line.
//!
//! Invariants:
//! * While somebody stands in line, as many passes are under way as may be; so nobody waits beside an idle encoder.
//! * First come, first served: a pass takes a run of tickets from the head and stops at the first that does not fit. Its first
//!   ticket is always taken, so every pass makes the line shorter.
//! * A pass holds at most [`INPUTS_PER_THREAD`] and [`TOKENS_PER_THREAD`]; longer requests come in pieces, each of which stands in
//!   line anew. So a text waits for the rest of a pass under way and for those before it, whatever they belong to.
//! * Tickets that nobody waits for any more leave the line before a pass is put together, wherever they stand.
//! * Every ticket that leaves the line is told exactly once how it ended. When a pass fails, each of its tickets is encoded alone,
//!   so an error (or a panic) reaches the caller whose input it is.

use super::{EncodeEvent, EncodeObserver};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use bilin_encode::{EncodeError, Encoded, Encoder, Input, ModelCard, Picture, Prompt};
use rayon::ThreadPool;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Inputs of a pass at most, for each thread of the pool.
const INPUTS_PER_THREAD: usize = 16;
/// Tokens of a pass at most, for each thread of the pool.
const TOKENS_PER_THREAD: usize = 512;
/// What a picture counts for.
const PICTURE_TOKENS: usize = 64;
/// Special tokens and prompt of a text, at most.
const EXTRA_TOKENS: usize = 8;
/// Callers in line at most; every one of them is a thread that sleeps.
const MAX_IN_LINE: usize = 4_096;

/// What is to be encoded; owned, since another caller's thread may do it.
#[derive(Clone)]
pub(crate) enum QueryInput {
    /// A text that is not blank, and the side it is on.
    Text { text: String, prompt: Prompt },
    /// A decoded picture.
    Picture(Picture),
}

impl QueryInput {
    fn input(&self) -> Input<'_> {
        match self {
            QueryInput::Text { text, prompt } => Input::Text { text, prompt: *prompt },
            QueryInput::Picture(picture) => Input::Picture(picture),
        }
    }

    /// About how many tokens the model reads, without cutting the text into them: as a rule a token is one character or more,
    /// so this is too many rather than too few.
    fn tokens(&self, card: &ModelCard) -> usize {
        match self {
            QueryInput::Text { text, .. } => {
                let most = card.max_tokens.unwrap_or(usize::MAX);
                // Counting stops where the model does.
                (text.chars().take(most).count() + EXTRA_TOKENS).min(most)
            }
            QueryInput::Picture(_) => PICTURE_TOKENS,
        }
    }
}

/// What a pass may hold, and how many may be under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) passes: usize,
    pub(super) inputs: usize,
    pub(super) tokens: usize,
}

impl Bounds {
    pub(super) fn of(threads: usize) -> Bounds {
        let threads = threads.max(1);
        Bounds { passes: 1, inputs: threads * INPUTS_PER_THREAD, tokens: threads * TOKENS_PER_THREAD }
    }
}

/// A piece of a request, in line or in a pass.
struct Ticket {
    inputs: Vec<QueryInput>,
    tokens: usize,
    since: Instant,
    token: CancelToken,
    slot: Arc<Slot>,
}

/// How a ticket ended.
enum Outcome {
    Vectors(Vec<f32>),
    Failed(EncodeError),
    Panicked(Box<dyn Any + Send>),
    Dropped,
    /// The pass broke off without a word.
    Lost,
}

/// What a sleeping caller is told.
enum Word {
    /// Its pass has its turn, and the caller leads it.
    Lead(Vec<Ticket>),
    /// Its ticket has ended.
    Ended(Outcome),
}

/// Where a caller sleeps.
#[derive(Default)]
struct Slot {
    word: Mutex<Option<Word>>,
    told: Condvar,
}

impl Slot {
    fn tell(&self, word: Word) {
        *self.word.lock().unwrap_or_else(PoisonError::into_inner) = Some(word);
        self.told.notify_one();
    }

    fn wait(&self) -> Word {
        let mut word = self.word.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match word.take() {
                Some(word) => return word,
                None => word = self.told.wait(word).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

#[derive(Default)]
struct Line {
    tickets: VecDeque<Ticket>,
    /// Passes under way, or given to a caller who is about to wake.
    passes: usize,
}

/// See the head of this file.
pub(super) struct Queue {
    encoder: Arc<dyn Encoder>,
    bounds: Bounds,
    line: Mutex<Line>,
    observer: Arc<OnceLock<EncodeObserver>>,
}

impl Queue {
    pub(super) fn new(
        encoder: Arc<dyn Encoder>,
        bounds: Bounds,
        observer: Arc<OnceLock<EncodeObserver>>,
    ) -> Queue {
        Queue { encoder, bounds, line: Mutex::default(), observer }
    }

    /// See [`super::Passes::encode`].
    pub(super) fn encode(
        &self,
        pool: &ThreadPool,
        inputs: Vec<QueryInput>,
        token: &CancelToken,
    ) -> Result<Vec<f32>, Error> {
        let mut vectors = Vec::with_capacity(inputs.len() * self.encoder.card().dim);
        let mut inputs = inputs.into_iter().peekable();
        while inputs.peek().is_some() {
            let (mut piece, mut tokens) = (Vec::new(), 0);
            while let Some(input) = inputs.peek() {
                let more = input.tokens(self.encoder.card());
                if !piece.is_empty() && !self.fits(piece.len() + 1, tokens + more) {
                    break;
                }
                tokens += more;
                piece.extend(inputs.next());
            }
            vectors.extend(self.encode_piece(pool, piece, tokens, token)?);
        }
        Ok(vectors)
    }

    fn fits(&self, inputs: usize, tokens: usize) -> bool {
        inputs <= self.bounds.inputs && tokens <= self.bounds.tokens
    }

    fn encode_piece(
        &self,
        pool: &ThreadPool,
        inputs: Vec<QueryInput>,
        tokens: usize,
        token: &CancelToken,
    ) -> Result<Vec<f32>, Error> {
        let slot = Arc::new(Slot::default());
        let ticket =
            Ticket { inputs, tokens, since: Instant::now(), token: token.clone(), slot: Arc::clone(&slot) };
        self.stand_in_line(ticket)?;
        loop {
            let outcome = match slot.wait() {
                Word::Ended(outcome) => outcome,
                Word::Lead(tickets) => {
                    Pass { queue: self, tickets }.run(pool);
                    continue;
                }
            };
            return match outcome {
                Outcome::Vectors(vectors) => Ok(vectors),
                Outcome::Failed(error) => Err(error.into()),
                Outcome::Panicked(payload) => resume_unwind(payload),
                Outcome::Dropped => {
                    token.check()?;
                    Err(lost())
                }
                Outcome::Lost => Err(lost()),
            };
        }
    }

    /// Joins the line; where a pass may start, the one at its head is told to lead it.
    fn stand_in_line(&self, ticket: Ticket) -> Result<(), Error> {
        let mut line = self.line();
        let waiting = line.tickets.len();
        if waiting >= MAX_IN_LINE {
            let told = format!("{waiting} requests already wait for model {:?}", self.encoder.card().id);
            return Err(Error::new(ErrorKind::Busy, told).with_hint("try again shortly"));
        }
        line.tickets.push_back(ticket);
        self.start(&mut line);
        Ok(())
    }

    /// Starts passes while there may be more and somebody stands in line.
    fn start(&self, line: &mut Line) {
        while line.passes < self.bounds.passes {
            let tickets = self.gather(line);
            let Some(first) = tickets.first() else { return };
            line.passes += 1;
            let leader = Arc::clone(&first.slot);
            leader.tell(Word::Lead(tickets));
        }
    }

    /// The next pass, from the head of the line; empty when nobody is left in it.
    fn gather(&self, line: &mut Line) -> Vec<Ticket> {
        line.tickets.retain(|ticket| {
            let is_wanted = !ticket.token.is_cancelled();
            if !is_wanted {
                ticket.slot.tell(Word::Ended(Outcome::Dropped));
                let (modality, inputs) = (self.encoder.card().modality, ticket.inputs.len());
                self.report(&EncodeEvent::Dropped { modality, inputs });
            }
            is_wanted
        });
        let (mut gathered, mut inputs, mut tokens) = (Vec::new(), 0, 0);
        while let Some(next) = line.tickets.front() {
            inputs += next.inputs.len();
            tokens += next.tokens;
            if !gathered.is_empty() && !self.fits(inputs, tokens) {
                break;
            }
            gathered.extend(line.tickets.pop_front());
        }
        gathered
    }

    fn report(&self, event: &EncodeEvent<'_>) {
        if let Some(observer) = self.observer.get() {
            observer(event);
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many stand in line; what tests wait for.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.line().tickets.len()
    }

    fn attempt(&self, pool: &ThreadPool, inputs: &[Input<'_>]) -> Result<Encoded, Outcome> {
        // What a panic leaves half done is the encoder's own and goes with it: encoders share nothing but their weights.
        match catch_unwind(AssertUnwindSafe(|| pool.install(|| self.encoder.encode(inputs)))) {
            Ok(Ok(encoded)) => Ok(encoded),
            Ok(Err(error)) => Err(Outcome::Failed(error)),
            Err(payload) => Err(Outcome::Panicked(payload)),
        }
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Internal, "a shared forward pass broke off")
}

/// A pass under way. However it ends, its tickets are told and the next one starts.
struct Pass<'a> {
    queue: &'a Queue,
    tickets: Vec<Ticket>,
}

impl Pass<'_> {
    fn run(mut self, pool: &ThreadPool) {
        let started = Instant::now();
        let waits: Vec<Duration> =
            self.tickets.iter().map(|ticket| started.duration_since(ticket.since)).collect();
        let inputs: Vec<Input<'_>> =
            self.tickets.iter().flat_map(|ticket| &ticket.inputs).map(QueryInput::input).collect();
        let (modality, count) = (self.queue.encoder.card().modality, inputs.len());
        let attempted = self.queue.attempt(pool, &inputs);
        drop(inputs);
        // Before anybody is told, so that whoever has an answer also finds it counted.
        self.queue.report(&EncodeEvent::Pass { modality, inputs: count, waits: &waits });
        match attempted {
            Ok(encoded) => {
                let mut rows = encoded.vectors.chunks_exact(encoded.dim.max(1));
                for ticket in self.tickets.drain(..) {
                    let vectors: Vec<f32> =
                        rows.by_ref().take(ticket.inputs.len()).flatten().copied().collect();
                    ticket.slot.tell(Word::Ended(Outcome::Vectors(vectors)));
                }
            }
            Err(outcome) if self.tickets.len() == 1 => {
                if let Some(ticket) = self.tickets.pop() {
                    ticket.slot.tell(Word::Ended(outcome));
                }
            }
            Err(_) => {
                for ticket in self.tickets.drain(..) {
                    let inputs: Vec<Input<'_>> = ticket.inputs.iter().map(QueryInput::input).collect();
                    let outcome = match self.queue.attempt(pool, &inputs) {
                        Ok(encoded) => Outcome::Vectors(encoded.vectors),
                        Err(outcome) => outcome,
                    };
                    ticket.slot.tell(Word::Ended(outcome));
                }
            }
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        for ticket in self.tickets.drain(..) {
            ticket.slot.tell(Word::Ended(Outcome::Lost));
        }
        let mut line = self.queue.line();
        line.passes -= 1;
        self.queue.start(&mut line);
    }
}
