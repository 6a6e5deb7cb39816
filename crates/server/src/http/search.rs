//! `POST /v1/collections/{collection}/search`: by text, by vector, or like pictures and documents inside.

use super::answers::{Wanted, answer, rendered};
use super::documents::base64_picture;
use super::error::{ApiError, ErrorBody};
use super::extract::{Json, PathParts};
use super::state::AppState;
use super::telemetry::note_query;
use super::top_k::TopK;
use axum::extract::State;
use axum::response::Response;
use bilin_engine::{
    Alike, Answer, Filter, Found, MAX_ALIKE, Metadata, Query, Region, Snippet, Target, Timings,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Results when `top_k` is left out.
const DEFAULT_TOP_K: usize = 10;

/// How candidates are found and ranked.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By meaning: nearest vectors.
    Dense,
    /// By words: BM25 over the full text.
    Lexical,
    /// By both, fused.
    Hybrid,
}

impl From<Mode> for bilin_engine::Mode {
    fn from(mode: Mode) -> bilin_engine::Mode {
        match mode {
            Mode::Dense => bilin_engine::Mode::Dense,
            Mode::Lexical => bilin_engine::Mode::Lexical,
            Mode::Hybrid => bilin_engine::Mode::Hybrid,
        }
    }
}

/// What counts as one result.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Every item.
    #[default]
    Item,
    /// The best item of each section: of one document, chapter and section.
    Section,
    /// The best item of each document.
    Document,
}

impl From<Per> for bilin_engine::Per {
    fn from(per: Per) -> bilin_engine::Per {
        match per {
            Per::Item => bilin_engine::Per::Item,
            Per::Section => bilin_engine::Per::Section,
            Per::Document => bilin_engine::Per::Document,
        }
    }
}

impl From<bilin_engine::Mode> for Mode {
    fn from(mode: bilin_engine::Mode) -> Mode {
        match mode {
            bilin_engine::Mode::Dense => Mode::Dense,
            bilin_engine::Mode::Lexical => Mode::Lexical,
            bilin_engine::Mode::Hybrid => Mode::Hybrid,
        }
    }
}

/// One text, or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_list(wish: Option<OneOrMany>) -> Vec<String> {
        match wish {
            None => Vec::new(),
            Some(OneOrMany::One(one)) => vec![one],
            Some(OneOrMany::Many(many)) => many,
        }
    }

    /// Pictures of base64, counted before they are decoded.
    fn into_pictures(wish: Option<OneOrMany>) -> Result<Vec<Vec<u8>>, ApiError> {
        let list = OneOrMany::into_list(wish);
        if list.len() > MAX_ALIKE {
            let told = format!("at most {MAX_ALIKE} pictures are taken together, received {}", list.len());
            return Err(ApiError::invalid(told, "a few good examples are enough"));
        }
        list.iter().map(|picture| base64_picture(picture)).collect()
    }
}

/// A search: by `vector`, or by `text`, or by `image` and `like` (one, several or both), which a `text` may stand beside.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// A question or some words, for a text collection, or a picture collection whose model reads words too; at most 8 000
    /// characters. Beside `image`, `like` or what results should be unlike it counts as one more example: the mean of all.
    #[serde(default)]
    #[schema(example = "哪种索引最省内存?")]
    text: Option<String>,
    /// A jpeg, png, webp, gif or bmp file in base64, for a picture collection; or several, at most 8.
    #[serde(default)]
    image: Option<OneOrMany>,
    /// A vector of the collection's dimension.
    #[serde(default)]
    vector: Option<Vec<f32>>,
    /// Id of a document inside: finds its neighbours, without itself; or several, at most 8. `image` and `like` together ask for
    /// the mean of all of them.
    #[serde(default)]
    like: Option<OneOrMany>,
    /// Ids of documents inside that results should not be like, at most 8; beside `image`, `like` or `text`.
    #[serde(default)]
    unlike: Option<OneOrMany>,
    /// Pictures in base64 that results should not be like, at most 8; beside `image`, `like` or `text`.
    #[serde(default)]
    unlike_image: Option<OneOrMany>,
    /// The part of the one picture in `image` that counts: left, top, width and height in fractions of its sides, as it is looked
    /// at (upright).
    #[serde(default)]
    #[schema(value_type = Option<Vec<f32>>, min_items = 4, max_items = 4, example = json!([0.25, 0.25, 0.5, 0.5]))]
    region: Option<[f32; 4]>,
    /// How many results, 1 to 1000; default 10.
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1000, default = 10)]
    top_k: Option<TopK>,
    /// Only items whose metadata satisfy this.
    #[serde(default)]
    #[schema(example = "category = \"birds\" AND price < 10")]
    filter: Option<String>,
    /// How candidates are found and ranked; as configured (`search.mode`) when left out.
    #[serde(default)]
    mode: Option<Mode>,
    /// What counts as one result: every item, or the best of each section or document.
    #[serde(default)]
    per: Per,
    /// Put the best found in order by the service's cross-encoder (rerank.model), within its time; left out: as the service is
    /// configured.
    #[serde(default)]
    rerank: Option<bool>,
    /// Search effort instead of the calibrated one: IVF lists visited, or HNSW candidates kept.
    #[serde(default)]
    #[schema(minimum = 1)]
    effort: Option<usize>,
}

/// An answer.
#[derive(ToSchema)]
#[expect(dead_code, reason = "shape of the answer in the API description; it is written in two parts")]
pub struct SearchResponse {
    #[serde(flatten)]
    found: FoundView,
    #[serde(flatten)]
    served: ServedView,
}

/// How it was answered.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ServedView {
    timings_ms: TimingsView,
    /// Whether the answer was not made for this request: it was given before, or was being made for another at this moment.
    cached: bool,
}

/// What was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FoundView {
    /// Best first.
    results: Vec<ResultView>,
    /// What is missing from the answer: `lexical` while the full text is being filled, `similarity` where the model cannot be
    /// had, `phrases` where nothing has what the question quotes and its words were looked for instead, `query_truncated` where it reads only the beginning of the query, `rerank_budget` where reranking was not done in
    /// time, `term "…"` for a word that is too common to be counted; empty when all was done.
    degraded: Vec<String>,
    /// How far reranking came; null where there was none.
    reranked: Option<RerankedView>,
    /// The commit that was searched.
    seq: u64,
    /// The mode that decided the ranks.
    mode: Mode,
}

/// How far reranking came.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct RerankedView {
    /// How many results were looked at, from the best on.
    candidates: usize,
    /// How many were scored before the time was over; they stand before the others.
    scored: usize,
}

/// One result.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ResultView {
    /// 1 for the best.
    rank: usize,
    /// Its document.
    id: String,
    /// Position in its document, from 0.
    ordinal: u32,
    /// What decided the rank. Dense: cosine, inner product, or squared L2 (smaller is nearer), by the collection's metric.
    /// Lexical: BM25. Hybrid: what fusion made of both, comparable within one answer alone.
    score: f32,
    /// Cosine similarity, whatever decided the rank.
    similarity: f32,
    /// Squared L2 distance, as FAISS's IndexFlatL2 gives it.
    l2_distance: f32,
    /// What the cross-encoder says of it; larger is better. Null where it was not asked.
    reranked: Option<f32>,
    /// The passage; null for pictures and bare vectors.
    text: Option<String>,
    #[schema(value_type = Object)]
    metadata: Metadata,
    /// BM25, higher is better; null where words were not looked for, or none of them is in it.
    lexical: Option<f32>,
    /// The part of the text that fits the query best; null where words were not looked for.
    snippet: Option<SnippetView>,
}

/// A part of the displayed text.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SnippetView {
    /// A sentence or a few, as they stand in the passage.
    text: String,
    /// What matched: begin and end in characters (Unicode code points) of `text`, ordered.
    #[schema(example = json!([[0, 4]]))]
    highlights: Vec<[usize; 2]>,
}

impl From<Snippet> for SnippetView {
    fn from(snippet: Snippet) -> SnippetView {
        let highlights = snippet.highlights.into_iter().map(|range| [range.start, range.end]).collect();
        SnippetView { text: snippet.text, highlights }
    }
}

/// Where the time went, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct TimingsView {
    encode: f64,
    search: f64,
    fetch: f64,
    rerank: f64,
    total: f64,
}

impl From<Timings> for TimingsView {
    fn from(t: Timings) -> TimingsView {
        let round = |ms: f64| (ms * 1e3).round() / 1e3;
        TimingsView {
            encode: round(t.encode_ms),
            search: round(t.search_ms),
            fetch: round(t.fetch_ms),
            rerank: round(t.rerank_ms),
            total: round(t.total_ms),
        }
    }
}

impl From<Found> for ResultView {
    fn from(found: Found) -> ResultView {
        ResultView {
            rank: found.rank,
            id: found.id,
            ordinal: found.ordinal,
            score: found.score,
            similarity: found.similarity,
            l2_distance: found.l2_distance,
            reranked: found.reranked,
            text: found.text,
            metadata: found.metadata,
            lexical: found.lexical,
            snippet: found.snippet.map(SnippetView::from),
        }
    }
}

/// A filter as it is written.
pub(super) fn filter(text: Option<&str>) -> Result<Option<Filter>, ApiError> {
    text.map(str::parse::<Filter>).transpose().map_err(|e| {
        ApiError::invalid(format!("filter: {e}"), "write it like category = \"birds\" AND price < 10")
    })
}

impl SearchRequest {
    fn into_query(self) -> Result<Query, ApiError> {
        let by_examples = self.image.is_some() || self.like.is_some();
        let is_unlike = self.unlike.is_some() || self.unlike_image.is_some();
        let has_conditions = is_unlike || self.region.is_some();
        let target = match (self.text, self.vector, by_examples) {
            (Some(text), None, false) if !has_conditions => Target::Text(text),
            (None, Some(vector), false) if !has_conditions => Target::Vector(vector),
            (text, None, by_examples) if by_examples || (text.is_some() && is_unlike) => {
                Target::Alike(Alike {
                    text,
                    pictures: OneOrMany::into_pictures(self.image)?,
                    like: OneOrMany::into_list(self.like),
                    unlike: OneOrMany::into_list(self.unlike),
                    unlike_pictures: OneOrMany::into_pictures(self.unlike_image)?,
                    region: self.region.map(|[left, top, width, height]| Region { left, top, width, height }),
                })
            }
            (text, vector, _) => {
                let given = usize::from(vector.is_some()) + usize::from(text.is_some() || by_examples);
                return Err(match given {
                    0 | 1 if has_conditions => ApiError::invalid(
                        "unlike and unlike_image stand beside text, image or like, and region beside image; received them without",
                        "say in text, image or like what results should be like",
                    ),
                    given => ApiError::invalid(
                        format!(
                            "expected either vector, or text, image and like, received {given} of the two"
                        ),
                        "say what to look for in one of them; text, image and like may stand together",
                    ),
                });
            }
        };
        let filter = filter(self.filter.as_deref())?;
        let top_k = self.top_k.map_or(DEFAULT_TOP_K, |k| k.0);
        let mode = self.mode.map(Into::into);
        Ok(Query {
            top_k,
            filter,
            effort: self.effort,
            mode,
            per: self.per.into(),
            rerank: self.rerank,
            ..Query::new(target)
        })
    }
}

/// Search a collection
///
/// By text, by vector, or by examples: pictures (or a part of one) and documents inside, several together, unlike others, with a text
/// beside them where the model reads both; with a filter over metadata. Texts are found by
/// meaning, by words, or by both; what stands in quotes (`"…"`, `“…”`, `「…」`) must be there word by word.
#[utoipa::path(post, path = "/v1/collections/{collection}/search", operation_id = "searchCollection", tag = "search",
    params(("collection" = String, Path, description = "name of the collection")),
    request_body = SearchRequest,
    responses((status = 200, body = SearchResponse), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn search(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    Json(request): Json<SearchRequest>,
) -> Result<Response, ApiError> {
    if let Some(text) = &request.text {
        note_query(text);
    }
    let render = |answer: Answer| {
        rendered(&FoundView {
            results: answer.results.into_iter().map(ResultView::from).collect(),
            degraded: answer.degraded,
            reranked: answer.reranked.map(|r| RerankedView { candidates: r.candidates, scored: r.scored }),
            seq: answer.seq,
            mode: answer.mode.into(),
        })
    };
    let wanted = Wanted { collection: name, query: request.into_query()?, form: "search", render };
    let served = answer(&state, wanted).await?;
    served.respond(&ServedView { timings_ms: served.timings, cached: served.cached })
}
