//! The line in front of one encoder.
//!
//! Who calls does the work: a caller that may start a pass leads it on its own thread, for itself and those behind it; the others
//! sleep until they are told their vectors, or that the next pass is theirs to lead. No thread belongs to the line.
//!
//! Invariants:
//! * Where few stand in line, a pass has all threads, for the one at the head is answered soonest so. Where many do ([`LEAST_APART`]), as
//!   many passes run beside one another as there are threads, each on one, and share the line out: none of them waits at each layer
//!   for what another thread has not done yet.
//! * While somebody stands in line, some pass is under way, and no thread is without one but while the head of the line needs all.
//! * First come, first served: a pass takes a run of tickets from the head and stops at the first that does not fit. Its first
//!   ticket is always taken, so every pass makes the line shorter.
//! * A pass holds at most [`INPUTS_PER_THREAD`] and [`TOKENS_PER_THREAD`] for each thread that it has; longer requests come in pieces,
//!   each of which stands in line anew. So a text waits for the rest of a pass under way and for those before it, whatever they belong to.
//! * Tickets that nobody waits for any more leave the line before a pass is put together, wherever they stand.
//! * Every ticket that leaves the line is told exactly once how it ended. When a pass fails, each of its tickets is encoded alone,
//!   so an error (or a panic) reaches the caller whose input it is.

use super::lanes::Lanes;
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

/// Inputs of a pass at most, for each of its threads.
const INPUTS_PER_THREAD: usize = 16;
/// Tokens of a pass at most, for each of its threads.
const TOKENS_PER_THREAD: usize = 512;
/// Callers for each thread, from which on passes run beside one another: with fewer, each would read all weights for one text.
const LEAST_APART: usize = 2;
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

/// What a pass may hold for each of its threads, and how many threads there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) threads: usize,
    pub(super) inputs: usize,
    pub(super) tokens: usize,
}

impl Bounds {
    pub(super) fn of(threads: usize) -> Bounds {
        Bounds { threads: threads.max(1), inputs: INPUTS_PER_THREAD, tokens: TOKENS_PER_THREAD }
    }

    /// Whether a pass with `threads` may hold as much.
    fn fits(&self, threads: usize, inputs: usize, tokens: usize) -> bool {
        inputs <= threads * self.inputs && tokens <= threads * self.tokens
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
    /// Its pass has its turn, and the caller leads it, with as many threads.
    Lead(Vec<Ticket>, usize),
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
    /// Threads of the passes under way, or given to a caller who is about to wake.
    taken: usize,
    /// Callers in the pass that began last.
    last: usize,
}

/// See the head of this file.
pub(super) struct Queue {
    encoder: Arc<dyn Encoder>,
    bounds: Bounds,
    line: Mutex<Line>,
    lanes: Arc<Lanes>,
    observer: Arc<OnceLock<EncodeObserver>>,
}

impl Queue {
    pub(super) fn new(
        encoder: Arc<dyn Encoder>,
        bounds: Bounds,
        lanes: Arc<Lanes>,
        observer: Arc<OnceLock<EncodeObserver>>,
    ) -> Queue {
        Queue { encoder, bounds, line: Mutex::default(), lanes, observer }
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
                if !piece.is_empty() && !self.bounds.fits(self.bounds.threads, piece.len() + 1, tokens + more)
                {
                    break;
                }
                tokens += more;
                piece.extend(inputs.next());
            }
            vectors.extend(self.encode_piece(pool, piece, tokens, token)?);
        }
        Ok(vectors)
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
                Word::Lead(tickets, threads) => {
                    let pass = Pass { queue: self, tickets, threads };
                    match threads < self.bounds.threads {
                        true => self.lanes.lend(pool, |lane| pass.run(lane)),
                        false => pass.run(pool),
                    }
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
        if line.taken < self.bounds.threads {
            self.let_go(line);
        }
        while let Some(threads) = self.width(line) {
            let tickets = self.gather(line, threads);
            let Some(first) = tickets.first() else { return };
            line.taken += threads;
            let leader = Arc::clone(&first.slot);
            leader.tell(Word::Lead(tickets, threads));
        }
    }

    /// Tells those that nobody waits for any more.
    fn let_go(&self, line: &mut Line) {
        line.tickets.retain(|ticket| {
            let is_wanted = !ticket.token.is_cancelled();
            if !is_wanted {
                ticket.slot.tell(Word::Ended(Outcome::Dropped));
                let (modality, inputs) = (self.encoder.card().modality, ticket.inputs.len());
                self.report(&EncodeEvent::Dropped { modality, inputs });
            }
            is_wanted
        });
    }

    /// How many threads the next pass has; none while it may not start.
    fn width(&self, line: &Line) -> Option<usize> {
        let (all, head) = (self.bounds.threads, line.tickets.front()?);
        let is_small = self.bounds.fits(1, head.inputs.len(), head.tokens);
        // Those of the last pass come again, as a rule: a crowd that is elsewhere for a moment is one still.
        let are_many = line.tickets.len() + line.last >= LEAST_APART * all;
        let threads = if is_small && (line.taken > 0 || are_many) { 1 } else { all };
        (line.taken + threads <= all).then_some(threads)
    }

    /// The next pass, from the head of the line, which is not empty: what falls to each thread that has none.
    fn gather(&self, line: &mut Line, threads: usize) -> Vec<Ticket> {
        let in_line: usize = line.tickets.iter().map(|ticket| ticket.inputs.len()).sum();
        let share = (in_line * threads).div_ceil(self.bounds.threads - line.taken);
        let (mut gathered, mut inputs, mut tokens) = (Vec::new(), 0, 0);
        while let Some(next) = line.tickets.front() {
            inputs += next.inputs.len();
            tokens += next.tokens;
            if !gathered.is_empty() && (inputs > share || !self.bounds.fits(threads, inputs, tokens)) {
                break;
            }
            gathered.extend(line.tickets.pop_front());
        }
        line.last = gathered.len();
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

    /// Threads of the passes under way; what tests wait for.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.line().taken
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
    threads: usize,
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
        line.taken -= self.threads;
        self.queue.start(&mut line);
    }
}
