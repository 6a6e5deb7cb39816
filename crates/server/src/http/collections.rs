//! `/v1/collections`: making, listing, looking at and removing collections.

use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::extract::{Json, PathParts};
use super::reencode::ReencodeView;
use super::state::AppState;
use crate::access::Caller;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use bilin_engine::{
    CacheUse, CollectionInfo, Effort, Engine, IndexSpec, Kind, LiveRecall, LongTexts, Metric, NewCollection,
    TextWishes,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a collection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KindName {
    /// Passages of text.
    Text,
    /// Pictures.
    Image,
    /// Vectors made elsewhere.
    Vector,
}

impl From<Kind> for KindName {
    fn from(kind: Kind) -> KindName {
        match kind {
            Kind::Text => KindName::Text,
            Kind::Image => KindName::Image,
            Kind::Vector => KindName::Vector,
        }
    }
}

impl From<KindName> for Kind {
    fn from(kind: KindName) -> Kind {
        match kind {
            KindName::Text => Kind::Text,
            KindName::Image => Kind::Image,
            KindName::Vector => Kind::Vector,
        }
    }
}

/// How texts are read that are longer than the model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LongTextsName {
    /// Only their beginning.
    Truncate,
    /// All of them, in windows whose vectors are averaged.
    Window,
}

impl From<LongTextsName> for LongTexts {
    fn from(name: LongTextsName) -> LongTexts {
        match name {
            LongTextsName::Truncate => LongTexts::Truncate,
            LongTextsName::Window => LongTexts::Window,
        }
    }
}

/// Wishes for a new collection; everything has a default.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CreateCollection {
    /// `text` (default), `image`, or `vector` (default when only `dim` is given).
    kind: Option<KindName>,
    /// Model id; the built-in one of that kind when left out.
    #[schema(example = "e5-small-zh-en")]
    model: Option<String>,
    /// Dimension, for collections of bare vectors.
    #[schema(minimum = 1)]
    dim: Option<usize>,
    /// `cosine` (default), `l2` or `ip`.
    #[schema(example = "cosine")]
    metric: Option<String>,
    /// `auto` (default), or an index in FAISS's words such as `Flat`, `IVF447,Flat`, `HNSW16`.
    #[schema(example = "auto")]
    index: Option<String>,
    /// Recall at 10 that the index is calibrated to; default 0.95.
    target_recall: Option<f32>,
    /// Put before queries; what the model's card says when left out.
    #[schema(example = "query: ")]
    query_prompt: Option<String>,
    /// Put before documents; what the model's card says when left out.
    #[schema(example = "passage: ")]
    document_prompt: Option<String>,
    /// `truncate` (default) or `window`, which reads all of a text as one item.
    long_texts: Option<LongTextsName>,
    /// Whether chapter and section are encoded with a text; what is shown stays the same. The configured default when left out.
    headings: Option<bool>,
}

/// A collection with its figures.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CollectionView {
    /// Its name.
    name: String,
    /// What it holds.
    kind: KindName,
    /// Items that can be found.
    count: usize,
    /// Documents that the items belong to.
    documents: usize,
    /// Number of its newest commit.
    seq: u64,
    /// Dimension of its vectors.
    dim: usize,
    /// `cosine`, `l2` or `ip`.
    metric: String,
    /// Model that made its vectors; null for bare vectors.
    model: Option<String>,
    /// Put before queries where that is not what the model's card says.
    query_prompt: Option<String>,
    /// Put before documents where that is not what the model's card says.
    document_prompt: Option<String>,
    /// How texts are read that are longer than the model reads; null where there is no text.
    long_texts: Option<LongTextsName>,
    /// Whether chapter and section are encoded with a text; null where there is no text.
    headings: Option<bool>,
    /// The index that serves it now.
    index: IndexView,
    /// Recall at 10 measured when the index was built; 1 where search is exact.
    recall: f32,
    /// Recall at 10 that is aimed at.
    target_recall: f32,
    /// What live queries find; null until some were measured, and where search is exact.
    live_recall: Option<LiveRecallView>,
    /// How often answers were there already, since the start.
    cache: CacheView,
    /// The move to another model that is under way, or the last one since the start; null when there was none.
    reencode: Option<ReencodeView>,
    /// Rows since the index was built, searched exactly.
    tail_rows: usize,
    /// Bytes on disk.
    disk_bytes: u64,
    /// `ok` or `degraded`.
    health: String,
    /// Why it is degraded.
    warnings: Vec<String>,
}

/// Answers that needed no work of their own.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CacheView {
    /// Answered from memory.
    hits: u64,
    /// Answered with what was being made for another request.
    joined: u64,
    /// Neither.
    misses: u64,
    /// Share of hits and joined in all; null before the first search.
    #[schema(example = 0.7)]
    hit_ratio: Option<f64>,
}

impl From<CacheUse> for CacheView {
    fn from(used: CacheUse) -> CacheView {
        let CacheUse { hits, joined, misses } = used;
        CacheView { hits, joined, misses, hit_ratio: used.ratio() }
    }
}

/// Recall at 10 of a sample of live queries, with its 95 % confidence interval.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LiveRecallView {
    /// Mean of the newest samples.
    #[schema(example = 0.96)]
    recall_at_10: f32,
    /// Lower end of the interval.
    #[schema(example = 0.94)]
    low: f32,
    /// Upper end of the interval.
    #[schema(example = 0.97)]
    high: f32,
    /// Queries it is of, at most 1000.
    #[schema(example = 200)]
    samples: usize,
}

impl From<LiveRecall> for LiveRecallView {
    fn from(live: LiveRecall) -> LiveRecallView {
        let LiveRecall { recall_at_10, low, high, samples } = live;
        LiveRecallView { recall_at_10, low, high, samples }
    }
}

/// The index of a collection.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IndexView {
    /// As it was asked for.
    #[schema(example = "auto")]
    requested: String,
    /// As it is.
    #[schema(example = "Flat")]
    current: String,
    /// Number of the built generation; null while everything is searched exactly.
    generation: Option<u64>,
    /// Search effort as calibrated: `nprobe` or `ef`; null for exact search.
    effort: Option<usize>,
    /// Candidates measured again behind codes, in multiples of those asked for, where a study was applied that chose it; null: as many
    /// as the codes' error asks for.
    refine: Option<usize>,
    /// Seconds since 1970 when it was built.
    built_unix_s: Option<i64>,
}

/// All collections.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CollectionList {
    collections: Vec<CollectionView>,
    /// Collections on disk that could not be opened.
    broken: Vec<BrokenCollection>,
}

/// A collection that could not be opened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BrokenCollection {
    name: String,
    reason: String,
}

impl From<CollectionInfo> for CollectionView {
    fn from(info: CollectionInfo) -> CollectionView {
        let generation = info.status.generation.as_ref();
        let reading = info.settings.model.as_ref().map(|model| model.reading.clone()).unwrap_or_default();
        let long_texts = match (info.settings.kind, reading.windows) {
            (Kind::Text, true) => Some(LongTextsName::Window),
            (Kind::Text, false) => Some(LongTextsName::Truncate),
            (Kind::Image | Kind::Vector, _) => None,
        };
        let index = IndexView {
            requested: info.settings.index.to_string(),
            current: generation.map_or(IndexSpec::FLAT, |g| g.spec.clone()).to_string(),
            generation: generation.map(|g| g.number),
            effort: generation.and_then(|g| match g.effort {
                Effort::Exact => None,
                Effort::Nprobe(value) | Effort::Ef(value) => Some(value),
            }),
            refine: generation.and_then(|g| g.refine),
            built_unix_s: generation.map(|g| g.built_unix_s),
        };
        CollectionView {
            kind: info.settings.kind.into(),
            count: info.status.items,
            documents: info.status.documents,
            seq: info.status.seq,
            dim: info.settings.dim,
            metric: info.settings.metric.to_string(),
            model: info.settings.model.map(|m| m.id),
            query_prompt: reading.query_prompt,
            document_prompt: reading.document_prompt,
            long_texts,
            headings: (info.settings.kind == Kind::Text).then_some(reading.headings),
            recall: generation.and_then(|g| g.recall_at_10).unwrap_or(1.0),
            index,
            target_recall: info.settings.target_recall,
            live_recall: info.live_recall.map(LiveRecallView::from),
            cache: info.cache.into(),
            reencode: info.reencode.map(ReencodeView::from),
            tail_rows: info.status.tail_rows,
            disk_bytes: info.status.disk_bytes,
            health: info.health,
            warnings: info.status.warnings,
            name: info.name,
        }
    }
}

/// All collections with their figures
#[utoipa::path(get, path = "/v1/collections", operation_id = "listCollections", tag = "collections",
    responses((status = 200, body = CollectionList)))]
pub(super) async fn list(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
) -> Result<Answer<CollectionList>, ApiError> {
    let mut health = state.crossing.run(Lane::Look, &state.engine, |engine| Ok(engine.health())).await?;
    health.collections.retain(|info| caller.may_use(&info.name));
    health.broken.retain(|(name, _)| caller.may_use(name));
    Ok(Answer(CollectionList {
        collections: health.collections.into_iter().map(CollectionView::from).collect(),
        broken: health.broken.into_iter().map(|(name, reason)| BrokenCollection { name, reason }).collect(),
    }))
}

/// One collection with its figures
#[utoipa::path(get, path = "/v1/collections/{collection}", operation_id = "getCollection", tag = "collections",
    params(("collection" = String, Path, description = "name of the collection")),
    responses((status = 200, body = CollectionView), (status = 404, body = ErrorBody)))]
pub(super) async fn get(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
) -> Result<Answer<CollectionView>, ApiError> {
    let info = state.crossing.run(Lane::Look, &state.engine, move |engine| engine.collection(&name)).await?;
    Ok(Answer(info.into()))
}

/// Make a collection
///
/// `{}` makes a text collection; `{"dim": 8, "metric": "l2"}` one for bare vectors.
#[utoipa::path(put, path = "/v1/collections/{collection}", operation_id = "createCollection", tag = "collections",
    params(("collection" = String, Path, description = "name of the collection")),
    request_body = CreateCollection,
    responses((status = 201, body = CollectionView), (status = 409, body = ErrorBody),
        (status = 422, body = ErrorBody)))]
pub(super) async fn create(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    Json(wish): Json<CreateCollection>,
) -> Result<(StatusCode, Answer<CollectionView>), ApiError> {
    let metric = wish.metric.as_deref().map(str::parse::<Metric>).transpose().map_err(|e| {
        ApiError::invalid(format!("metric: {e}"), "send \"cosine\", \"l2\" or \"ip\", or leave it out")
    })?;
    let index = wish.index.as_deref().map(str::parse::<IndexSpec>).transpose().map_err(|e| {
        ApiError::invalid(format!("index: {e}"), "send \"auto\", or words such as Flat, IVF447,Flat, HNSW16")
    })?;
    let new = NewCollection {
        kind: wish.kind.map(Kind::from),
        model: wish.model,
        dim: wish.dim,
        metric,
        index,
        target_recall: wish.target_recall,
        texts: TextWishes {
            query_prompt: wish.query_prompt,
            document_prompt: wish.document_prompt,
            long_texts: wish.long_texts.map(LongTexts::from),
            headings: wish.headings,
        },
    };
    let create = move |engine: &Engine| {
        engine.check_offered(new.model.as_deref())?;
        engine.create(&name, &new)
    };
    let info = state.crossing.run(Lane::Write, &state.engine, create).await?;
    Ok((StatusCode::CREATED, Answer(info.into())))
}

/// Remove a collection and everything in it
#[utoipa::path(delete, path = "/v1/collections/{collection}", operation_id = "deleteCollection", tag = "collections",
    params(("collection" = String, Path, description = "name of the collection")),
    responses((status = 204, description = "it is gone"), (status = 404, body = ErrorBody)))]
pub(super) async fn remove(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
) -> Result<StatusCode, ApiError> {
    state.crossing.run(Lane::Write, &state.engine, move |engine| engine.remove(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
