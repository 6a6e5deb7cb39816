//! Forward passes for those who wait: queries and embeddings that come together are encoded together.
//!
//! Each encoder has one line ([`queue`]). Whoever comes while no pass is under way starts one at once, alone, and with all threads
//! unless many were there just before; nobody is ever held back to let a batch fill up. Who comes meanwhile stands in line. A few share
//! the next pass, many are shared out among passes of one thread each ([`lanes`]). So a lone query pays nothing, and a crowd shares the
//! reading of the weights.
//!
//! Adding does not stand in line: it encodes in the background pool and gives way between its pieces ([`precedence`]).

mod lanes;
mod precedence;
mod queue;
#[cfg(test)]
mod tests;

pub(crate) use precedence::Precedence;
pub(crate) use queue::QueryInput;

use crate::cancel::CancelToken;
use crate::error::Error;
use bilin_encode::{Encoder, Modality};
use lanes::Lanes;
use queue::{Bounds, Queue};
use rayon::ThreadPool;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// What happened in front of an encoder; for figures.
#[derive(Clone, Copy, Debug)]
pub enum EncodeEvent<'a> {
    /// A forward pass is over.
    Pass {
        /// What the model reads.
        modality: Modality,
        /// Texts or pictures that were encoded in it.
        inputs: usize,
        /// How long each request of it had waited for its beginning.
        waits: &'a [Duration],
    },
    /// A request left the line without having been encoded, because nobody waited for its answer any more.
    Dropped {
        /// What the model reads.
        modality: Modality,
        /// Its texts or pictures.
        inputs: usize,
    },
}

/// Called on the threads of requests, so it must be quick.
pub type EncodeObserver = Box<dyn Fn(&EncodeEvent<'_>) + Send + Sync>;

/// The lines in front of all models of an engine.
pub(crate) struct Passes {
    bounds: Bounds,
    queues: Mutex<BTreeMap<usize, Arc<Queue>>>,
    lanes: Arc<Lanes>,
    observer: Arc<OnceLock<EncodeObserver>>,
    precedence: Precedence,
}

impl Passes {
    /// For a foreground pool of `threads`.
    pub(crate) fn new(threads: usize) -> Passes {
        Passes {
            bounds: Bounds::of(threads),
            queues: Mutex::default(),
            lanes: Arc::default(),
            observer: Arc::default(),
            precedence: Precedence::default(),
        }
    }

    /// Vectors `[inputs, dim]` row-major, of all inputs or none. Called from outside the pools; waits for its turn.
    ///
    /// # Errors
    /// What the encoder says of these inputs, whatever others share the pass; [`crate::ErrorKind::Cancelled`] when `token` was
    /// cancelled before they were all encoded.
    pub(crate) fn encode(
        &self,
        pool: &ThreadPool,
        encoder: &Arc<dyn Encoder>,
        inputs: Vec<QueryInput>,
        token: &CancelToken,
    ) -> Result<Vec<f32>, Error> {
        let _first = self.precedence.enter();
        self.queue(encoder).encode(pool, inputs, token)
    }

    /// Who goes first.
    pub(crate) fn precedence(&self) -> &Precedence {
        &self.precedence
    }

    /// `observer` is told of every pass from now on. Only the first one given counts.
    pub(crate) fn observe(&self, observer: EncodeObserver) {
        let _ = self.observer.set(observer);
    }

    /// The line of an encoder. One that reads texts in another way, though its weights are the same, has a line of its own.
    fn queue(&self, encoder: &Arc<dyn Encoder>) -> Arc<Queue> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // A line keeps its encoder, so no other one ever lies at that address.
        let address = Arc::as_ptr(encoder).cast::<()>() as usize;
        let new = || {
            let (lanes, observer) = (Arc::clone(&self.lanes), Arc::clone(&self.observer));
            Arc::new(Queue::new(Arc::clone(encoder), self.bounds, lanes, observer))
        };
        Arc::clone(queues.entry(address).or_insert_with(new))
    }
}
