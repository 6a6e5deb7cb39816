//! What another server needs to follow this one: copies of the newest commits, and the pieces of their files.
//!
//! A file is named by its position in the copy, so that no path comes from a caller.

use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::extract::{JsonOrNothing, PathParts, QueryString};
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bilin_engine::{Engine, ReplicaCopy};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What the follower has.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WantReplica {
    /// `taken_unix_s` of the copy that it has; its files are left out of the answer then.
    have: Option<u64>,
}

/// A copy of a collection's newest commit.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReplicaView {
    /// Names the copy: when it was made, seconds since 1970.
    pub(crate) taken_unix_s: u64,
    /// The commit that it holds.
    pub(crate) seq: u64,
    /// Its files, the manifest last; empty where the follower has this copy.
    pub(crate) files: Vec<ReplicaFile>,
}

/// One file of a copy.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReplicaFile {
    /// Within the copy.
    #[schema(example = "vectors/000000.rows")]
    pub(crate) path: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// Of its content, hexadecimal.
    pub(crate) blake3: String,
}

/// A copy of the newest commit, for a server that follows this one
///
/// Made when it is not there yet, and read back whole before it is told of; the two newest are kept.
#[utoipa::path(post, path = "/v1/collections/{collection}/replica", operation_id = "makeReplica", tag = "keeping",
    params(("collection" = String, Path, description = "name of the collection")), request_body = WantReplica,
    responses((status = 200, body = ReplicaView), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 507, body = ErrorBody)))]
pub(super) async fn make(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    JsonOrNothing(wish): JsonOrNothing<WantReplica>,
) -> Result<Answer<ReplicaView>, ApiError> {
    let asked = name.clone();
    let look = move |engine: &Engine| engine.replica_if_there(&asked, wish.have);
    let there = state.crossing.run(Lane::Look, &state.engine, look).await?;
    let make = move |engine: &Engine| engine.replica(&name, wish.have);
    let ReplicaCopy { taken_unix_s, seq, files } = match there {
        Some(copy) => copy,
        None => state.crossing.run(Lane::Upkeep, &state.engine, make).await?,
    };
    let file = |file: bilin_engine::BackupFile| ReplicaFile {
        path: file.path,
        bytes: file.bytes,
        blake3: file.blake3,
    };
    Ok(Answer(ReplicaView { taken_unix_s, seq, files: files.into_iter().map(file).collect() }))
}

/// Which piece.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PieceWish {
    /// Where it begins in the file, bytes.
    #[serde(default)]
    #[param(required = false)]
    offset: u64,
}

/// A piece of a file of a copy, at most 8 MiB
#[utoipa::path(get, path = "/v1/collections/{collection}/replica/{taken}/{file}", operation_id = "replicaPiece",
    tag = "keeping",
    params(("collection" = String, Path, description = "name of the collection"),
        ("taken" = u64, Path, description = "taken_unix_s of the copy"),
        ("file" = usize, Path, description = "position of the file in the copy, from 0"), PieceWish),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = 400, body = ErrorBody),
        (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn piece(
    State(state): State<AppState>,
    PathParts((name, taken, file)): PathParts<(String, u64, usize)>,
    QueryString(wish): QueryString<PieceWish>,
) -> Result<Response, ApiError> {
    let read = move |engine: &Engine| engine.replica_piece(&name, taken, file, wish.offset);
    let bytes = state.crossing.run(Lane::Look, &state.engine, read).await?;
    // No compression: rows do not get shorter by it.
    let headers =
        [(header::CONTENT_TYPE, "application/octet-stream"), (header::CONTENT_ENCODING, "identity")];
    Ok((headers, bytes).into_response())
}
