//! Finding things: what may be asked, what is answered.
//!
//! A query is checked ([`check`]), settled ([`plan`]), becomes a vector ([`target`]; of several things, [`alike`]), is searched in one view of the collection
//! by meaning, by words, or by both ([`fuse`]), the best looked at sentence by sentence ([`closer`]), and only the survivors' texts and fields are fetched ([`pick`]); [`run`] is
//! the way of it. Scores are made here, at the edge, from the vectors themselves ([`score`]); inside, a smaller distance is
//! closer.

mod alike;
mod check;
mod closer;
mod fuse;
mod mode;
mod pick;
mod plan;
mod restraint;
mod run;
mod score;
mod target;

pub use alike::{Alike, MAX_ALIKE, Region};
pub use mode::{Fusion, Mode, Per};
pub(crate) use restraint::Manner;
pub use restraint::{FEWER_RESULTS, LESS_EFFORT, NOT_RERANKED, Restraint};
pub(crate) use run::search;
pub(crate) use score::cosine;

use crate::rerank::Reranked;
use bilin_store::{Filter, Metadata};
use std::ops::Range;

/// What to look for.
#[derive(Clone, Debug)]
pub enum Target {
    /// A text, for text collections and for picture collections of a model that reads texts too.
    Text(String),
    /// An encoded picture, for picture collections.
    Picture(Vec<u8>),
    /// A vector of the collection's dimension, for any collection; the caller answers for its space.
    Vector(Vec<f32>),
    /// A document already inside, by id: its neighbours without itself. Of several items their mean direction counts.
    Like(String),
    /// Several pictures and documents together, and a text beside them, some of them taken away.
    Alike(Alike),
}

/// One search.
#[derive(Clone, Debug)]
pub struct Query {
    /// What to look for.
    pub target: Target,
    /// How many items at most, 1 to the configured limit.
    pub top_k: usize,
    /// Only items whose fields satisfy this.
    pub filter: Option<Filter>,
    /// Search effort of an approximate index instead of the calibrated one: IVF lists visited (nprobe), or HNSW
    /// candidates kept (ef).
    pub effort: Option<usize>,
    /// How candidates are found; `None` = as configured.
    pub mode: Option<Mode>,
    /// What counts as one result.
    pub per: Per,
    /// How the candidates of [`Mode::Hybrid`] become one ranking; `None` = as configured.
    pub fusion: Option<Fusion>,
    /// How much the best sentence counts beside its passage under [`Fusion::Share`], 0 to 1; `None` = as configured.
    pub sentences: Option<f32>,
    /// Whether the best found are put in order by the cross-encoder that is configured; `None` = as the configuration says.
    pub rerank: Option<bool>,
}

impl Query {
    /// The 3 best, without filter, with calibrated effort, in the configured mode.
    pub fn new(target: Target) -> Query {
        Query {
            target,
            top_k: 3,
            filter: None,
            effort: None,
            mode: None,
            per: Per::Item,
            fusion: None,
            sentences: None,
            rerank: None,
        }
    }
}

/// What becomes of a query text that is longer than its model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LongQueries {
    /// Its beginning is searched with, and the answer says so.
    #[default]
    Truncate,
    /// It is refused, with both lengths.
    Refuse,
}

/// In [`Answer::degraded`]: the query is longer than the model reads; its beginning was searched with.
pub const QUERY_TRUNCATED: &str = "query_truncated";
/// In [`Answer::degraded`]: no item has the phrases that the question quotes, so they were looked for as words.
pub const PHRASES: &str = "phrases";
/// In [`Answer::degraded`]: the time for reranking was over before all candidates were scored.
pub const RERANK_BUDGET: &str = "rerank_budget";
/// How an entry of [`Answer::degraded`] begins that names a term too common to be counted.
pub(crate) const TERM_LEFT_OUT: &str = "term ";

/// What was found.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Best first; fewer than `top_k` when the collection (or the filter) has no more.
    pub results: Vec<Found>,
    /// How far reranking came; `None` where there was none.
    pub reranked: Option<Reranked>,
    /// Where the time went.
    pub timings: Timings,
    /// The commit that was searched.
    pub seq: u64,
    /// The edition of the view that was searched; see [`crate::View::edition`].
    pub edition: Option<[u8; 32]>,
    /// The mode that decided.
    pub mode: Mode,
    /// What is missing: `lexical` where meaning alone decided because the full text is not whole yet, `similarity` where
    /// words decided and the model cannot be had, [`PHRASES`], [`QUERY_TRUNCATED`], [`RERANK_BUDGET`], `term "…"` for each that is too common to be counted.
    pub degraded: Vec<String>,
}

/// One result.
#[derive(Clone, Debug)]
pub struct Found {
    /// 1 for the nearest.
    pub rank: usize,
    /// Its document.
    pub id: String,
    /// Position in its document, from 0.
    pub ordinal: u32,
    /// What decided the rank. [`Mode::Dense`]: cosine, inner product or squared L2, by the collection's metric.
    /// [`Mode::Lexical`]: BM25. [`Mode::Hybrid`]: what fusion made of both; comparable within one answer alone.
    pub score: f32,
    /// Cosine similarity of query and item, whatever decided the rank; 0 where one of them has no direction.
    pub similarity: f32,
    /// Squared L2 distance, as FAISS's `IndexFlatL2` gives it; between unit vectors under the cosine metric.
    pub l2_distance: f32,
    /// What the cross-encoder says of it, as its makers show it; larger is better. `None` where it was not asked.
    pub reranked: Option<f32>,
    /// Displayed text; `None` for pictures and bare vectors.
    pub text: Option<String>,
    /// Fields of the item.
    pub metadata: Metadata,
    /// BM25, higher is better; `None` where the words of the query were not looked for, or none of them is in it.
    pub lexical: Option<f32>,
    /// The part of the text that fits the query best; `None` where words were not looked for.
    pub snippet: Option<Snippet>,
}

/// A part of a displayed text, as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// A sentence or a few.
    pub text: String,
    /// What matched, as ranges of characters of `text`; ordered, not touching each other.
    pub highlights: Vec<Range<usize>>,
}

/// Where the time went, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Text or picture to vector.
    pub encode_ms: f64,
    /// Filter and nearest neighbours.
    pub search_ms: f64,
    /// Texts and fields of the results.
    pub fetch_ms: f64,
    /// Reranking; 0 where there was none.
    pub rerank_ms: f64,
    /// All of it, checks included.
    pub total_ms: f64,
}
