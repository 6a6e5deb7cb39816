//! The tutorial's contract, unchanged: `/text-search`, its picture counterpart `/image-search`, and `/health`.
//!
//! Field names and shapes are those that its users' programs read: `similarity` is the cosine, rounded to 4 places as a
//! decimal number, and every metadata value of a text result is a string.

use super::access::within_scope;
use super::admission::{AdmissionStatus, Level};
use super::answers::{Served, Wanted, answer, rendered};
use super::collections::CollectionView;
use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::extract::{Json, QueryString, multipart};
use super::state::AppState;
use super::telemetry::note_query;
use super::top_k::TopK;
use crate::access::Caller;
use crate::follow::Following;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Json as Answer};
use bilin_engine::{
    self as engine, Found, Kind, Metadata, OffsiteState, OffsiteStatus, Query, Target, WatchStatus,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use utoipa::ToSchema;

/// Results when `top_k` is left out.
const DEFAULT_TOP_K: usize = 3;

/// A question.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextSearch {
    /// At most 8 000 characters.
    #[schema(example = "FAISS的架构包含哪些模块?", min_length = 1, max_length = 8000)]
    query: String,
    /// How many results, 1 to 1000.
    #[serde(default)]
    #[schema(value_type = u64, minimum = 1, maximum = 1000, default = 3)]
    top_k: Option<TopK>,
}

/// What was found, and how.
#[derive(ToSchema)]
#[expect(dead_code, reason = "shape of the answer in the API description; it is written in two parts")]
pub struct TextSearchResponse {
    #[serde(flatten)]
    found: TextFound,
    #[serde(flatten)]
    extra: Extra,
}

/// What the tutorial's answers do not have, and ours have where there is something to say.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Extra {
    /// There where the answer was not made for this request: it was given before, or was being made for another at this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cached: Option<bool>,
}

impl Extra {
    fn of(served: &Served) -> Extra {
        Extra { cached: served.cached.then_some(true) }
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TextFound {
    /// The question, as it came.
    query: String,
    /// Most similar first.
    results: Vec<TextResult>,
}

/// One passage.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TextResult {
    /// 1 for the most similar.
    rank: usize,
    /// Cosine similarity, 4 places.
    #[schema(example = 0.8575)]
    similarity: f64,
    /// The passage.
    text: String,
    /// Every value as a string.
    metadata: BTreeMap<String, String>,
}

/// To 4 decimal places, as the tutorial prints them.
fn four_places(value: f32) -> f64 {
    (f64::from(value) * 1e4).round() / 1e4
}

/// Strings as they are, everything else as JSON writes it.
fn as_string(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Search the default text collection
///
/// The tutorial's route: its clients work unchanged.
#[utoipa::path(post, path = "/text-search", operation_id = "textSearch", tag = "tutorial", request_body = TextSearch,
    responses((status = 200, body = TextSearchResponse), (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn text_search(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<TextSearch>,
) -> Result<Response, ApiError> {
    note_query(&request.query);
    let query = Query {
        top_k: request.top_k.map_or(DEFAULT_TOP_K, |k| k.0),
        ..Query::new(Target::Text(request.query.clone()))
    };
    let render = |answer: engine::Answer| {
        let results = answer.results.into_iter().map(|found| TextResult {
            rank: found.rank,
            similarity: four_places(found.similarity),
            text: found.text.unwrap_or_default(),
            metadata: found.metadata.iter().map(|(key, value)| (key.clone(), as_string(value))).collect(),
        });
        rendered(&TextFound { results: results.collect(), query: request.query })
    };
    let collection = state.engine.default_collection(Kind::Text, state.text_collection.as_deref())?;
    within_scope(&caller, &collection)?;
    let served = answer(&state, Wanted { collection, query, form: "text-search", render }).await?;
    served.respond(&Extra::of(&served))
}

/// A picture to look for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "shape of the form in the API description")]
pub struct ImageSearch {
    /// A jpeg, png, webp, gif or bmp file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// How many results, 1 to 1000; default 3.
    #[schema(minimum = 1, maximum = 1000, default = 3)]
    top_k: Option<u64>,
}

/// `top_k` may also stand in the query string, as FastAPI's clients send it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageSearchParams {
    top_k: Option<String>,
}

/// Pictures that were found, and how.
#[derive(ToSchema)]
#[expect(dead_code, reason = "shape of the answer in the API description; it is written in two parts")]
pub struct ImageSearchResponse {
    #[serde(flatten)]
    found: ImagesFound,
    #[serde(flatten)]
    extra: Extra,
}

/// Pictures that were found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImagesFound {
    /// Most similar first.
    results: Vec<ImageResult>,
}

/// One picture.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImageResult {
    /// 1 for the most similar.
    rank: usize,
    /// Cosine similarity, 4 places.
    similarity: f64,
    /// Squared L2 distance of unit vectors, as FAISS's IndexFlatL2 gives it, 4 places.
    l2_distance: f64,
    /// Where the picture came from.
    image_path: String,
    /// The metadata field of that name, else the file's name without ending.
    product_id: String,
    /// The metadata field of that name; null when it has none.
    category: Option<String>,
    /// The metadata field of that name; null when it has none.
    #[schema(value_type = Option<f64>)]
    price: Option<Value>,
    /// All fields.
    #[schema(value_type = Object)]
    metadata: Metadata,
}

impl From<Found> for ImageResult {
    fn from(found: Found) -> ImageResult {
        let field = |name: &str| found.metadata.get(name).filter(|v| !v.is_null());
        let image_path = field("image_path").or(field("source")).map_or_else(|| found.id.clone(), as_string);
        let file_name = image_path.rsplit(['/', '\\']).next().unwrap_or_default();
        let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
        ImageResult {
            rank: found.rank,
            similarity: four_places(found.similarity),
            l2_distance: four_places(found.l2_distance),
            product_id: field("product_id").map_or_else(|| stem.to_owned(), as_string),
            category: field("category").map(as_string),
            price: field("price").cloned(),
            image_path,
            metadata: found.metadata,
        }
    }
}

/// Find pictures alike in the default picture collection
#[utoipa::path(post, path = "/image-search", operation_id = "imageSearch", tag = "tutorial",
    request_body(content = ImageSearch, content_type = "multipart/form-data"),
    responses((status = 200, body = ImageSearchResponse), (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn image_search(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    QueryString(params): QueryString<ImageSearchParams>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut picture = None;
    let mut top_k = params.top_k.as_deref().map(TopK::from_text).transpose()?;
    for part in multipart(request, &state).await? {
        match part.name.as_str() {
            "file" if picture.is_none() => picture = Some(part.bytes.into()),
            "top_k" => top_k = Some(TopK::from_text(part.text()?)?),
            other => {
                return Err(ApiError::invalid(
                    format!("expected the form fields file (once) and top_k, received \"{other}\""),
                    "send the picture in the field \"file\"",
                ));
            }
        }
    }
    let Some(picture) = picture else {
        return Err(ApiError::invalid(
            "expected a picture in the form field \"file\", received none",
            "send a jpeg, png, webp, gif or bmp file as multipart field \"file\"",
        ));
    };
    let query = Query { top_k: top_k.map_or(DEFAULT_TOP_K, |k| k.0), ..Query::new(Target::Picture(picture)) };
    let render = |answer: engine::Answer| {
        rendered(&ImagesFound { results: answer.results.into_iter().map(ImageResult::from).collect() })
    };
    let collection = state.engine.default_collection(Kind::Image, state.image_collection.as_deref())?;
    within_scope(&caller, &collection)?;
    let served = answer(&state, Wanted { collection, query, form: "image-search", render }).await?;
    served.respond(&Extra::of(&served))
}

/// How the service is, under the tutorial's names and ours.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthResponse {
    /// `healthy` or `degraded`.
    #[schema(example = "healthy")]
    status: String,
    /// Vectors in the default text collection.
    index_vector_count: usize,
    /// Where the default text collection lies; empty when there is none.
    corpus_source: String,
    /// Passages in the default text collection.
    total_sentences: usize,
    /// Model of the default text collection, else the one that new text collections get.
    model_path: String,
    /// What is left out because many ask at once.
    load: LoadView,
    /// All collections.
    collections: Vec<CollectionView>,
    /// Collections that could not be opened, with the reason.
    broken: BTreeMap<String, String>,
    /// How following another server goes; null where none is followed.
    following: Option<FollowingView>,
    /// How sending backups to another place goes; null when none is configured.
    offsite: Option<OffsiteView>,
    /// Folders that are watched, by the collection that they come into.
    watching: BTreeMap<String, WatchView>,
}

/// A replica, and how far behind it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FollowingView {
    /// The address of the primary, or the folder of its backups.
    from: String,
    /// Whether it is near enough to be asked: what `/readyz` says.
    ready: bool,
    /// Seconds since everything here is known to have been what the primary had.
    lag_seconds: f64,
    /// Whether the last look at the primary failed; the log says why.
    failing: bool,
}

impl From<&Following> for FollowingView {
    fn from(following: &Following) -> FollowingView {
        FollowingView {
            from: following.from().to_owned(),
            ready: following.not_ready().is_none(),
            lag_seconds: following.lag().as_secs_f64(),
            failing: following.failure().is_some(),
        }
    }
}

/// How many ask, and what is left out because of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LoadView {
    /// `whole` where everything is done as asked; then what is left out, each with all before it.
    level: Level,
    /// Searches that may be inside at one time, as their times allow.
    limit: usize,
    /// Places taken.
    inside: usize,
    /// Requests that were turned away since the start.
    shed: u64,
    /// Whether the cache that servers share answers; null where there is none.
    shared_cache: Option<bool>,
}

impl LoadView {
    fn of(state: &AppState) -> LoadView {
        let AdmissionStatus { level, limit, inside, shed } = state.crossing.status();
        LoadView {
            level,
            limit,
            inside,
            shed: shed.iter().map(|(_, count)| count).sum(),
            shared_cache: state.shared_cache.as_ref().map(|shared| shared.is_up()),
        }
    }
}

/// Folders that are watched for a collection.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WatchView {
    /// As they were named.
    #[schema(example = json!(["./slides"]))]
    folders: Vec<String>,
    /// Of them, those that cannot be looked at, with the reason; what was added from them stays.
    missing: BTreeMap<String, String>,
    /// Of them, those that are listed every few seconds since no events come from them, with the reason.
    polled: BTreeMap<String, String>,
    /// Files in them.
    files: usize,
    /// Of them, those that are still written.
    waiting: usize,
    /// How often changes were taken in.
    passes: u64,
    /// When that was last done, seconds since 1970.
    last_pass_unix_s: Option<u64>,
    /// Why it failed the last time; null when it did not.
    failure: Option<String>,
}

impl From<WatchStatus> for WatchView {
    fn from(status: WatchStatus) -> WatchView {
        let shown = |path: PathBuf| path.display().to_string();
        let named = |told: BTreeMap<PathBuf, String>| {
            told.into_iter().map(|(path, reason)| (shown(path), reason)).collect()
        };
        WatchView {
            folders: status.folders.into_iter().map(shown).collect(),
            missing: named(status.missing),
            polled: named(status.polled),
            files: status.files,
            waiting: status.waiting,
            passes: status.passes,
            last_pass_unix_s: status.last_pass_unix_s,
            failure: status.failure,
        }
    }
}

/// Backups beyond this machine.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OffsiteView {
    /// The place.
    #[schema(example = "s3://backups/course")]
    address: String,
    /// By collection; those of which nothing was sent since the start are missing.
    collections: BTreeMap<String, OffsiteCollectionView>,
}

/// How sending the backups of one collection goes, since the start.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OffsiteCollectionView {
    /// When the newest backup that is known to be there was taken, seconds since 1970.
    newest_unix_s: Option<u64>,
    /// Why the last attempt failed; it is made again. Null when it did not.
    error: Option<String>,
}

impl From<OffsiteState> for OffsiteView {
    fn from(state: OffsiteState) -> OffsiteView {
        let view = |status: OffsiteStatus| OffsiteCollectionView {
            newest_unix_s: status.newest_unix_s,
            error: status.error,
        };
        OffsiteView {
            address: state.address,
            collections: state.collections.into_iter().map(|(name, status)| (name, view(status))).collect(),
        }
    }
}

/// How the service and every collection are
#[utoipa::path(get, path = "/health", operation_id = "health", tag = "tutorial", responses((status = 200, body = HealthResponse)))]
pub(super) async fn health(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
) -> Result<Answer<HealthResponse>, ApiError> {
    let configured = state.text_collection.clone();
    let load = LoadView::of(&state);
    let following = state.following.as_deref().map(FollowingView::from);
    let response = state
        .crossing
        .run(Lane::Look, &state.engine, move |engine| {
            let mut health = engine.health();
            health.collections.retain(|info| caller.may_use(&info.name));
            health.broken.retain(|(name, _)| caller.may_use(name));
            let config = engine.config();
            // None, or several and none chosen: nothing to report under the tutorial's names, which is not an error here.
            let name = engine.default_collection(Kind::Text, configured.as_deref()).ok();
            let default = name.and_then(|name| health.collections.iter().find(|c| c.name == name));
            let count = default.map_or(0, |c| c.status.items);
            let source = default.map(|c| config.data.join("collections").join(&c.name).display().to_string());
            let model = default.and_then(|c| c.settings.model.as_ref()).map(|m| m.id.clone());
            Ok(HealthResponse {
                index_vector_count: count,
                total_sentences: count,
                corpus_source: source.unwrap_or_default(),
                model_path: model.unwrap_or_else(|| config.default_text_model.clone()),
                status: match &following {
                    Some(following) if !following.ready => "degraded".to_owned(),
                    _ => health.status,
                },
                load,
                following,
                broken: health.broken.into_iter().collect(),
                offsite: engine.offsite_status().map(|mut state| {
                    state.collections.retain(|name, _| caller.may_use(name));
                    OffsiteView::from(state)
                }),
                watching: engine
                    .watch_status()
                    .into_iter()
                    .filter(|(name, _)| caller.may_use(name))
                    .map(|(name, watch)| (name, watch.into()))
                    .collect(),
                collections: health.collections.into_iter().map(CollectionView::from).collect(),
            })
        })
        .await?;
    Ok(Answer(response))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarity_has_four_decimal_places() {
        assert_eq!(serde_json::to_string(&four_places(0.857_512_3)).unwrap(), "0.8575");
        assert_eq!(four_places(1.0), 1.0);
        assert_eq!(four_places(-0.123_46), -0.1235);
    }

    #[test]
    fn metadata_values_become_strings() {
        let values = serde_json::json!(["a", 3, 2.5, true, null, ["x"], {"k": 1}]);
        let texts: Vec<_> = values.as_array().unwrap().iter().map(as_string).collect();
        assert_eq!(texts, ["a", "3", "2.5", "true", "", "[\"x\"]", "{\"k\":1}"]);
    }
}
