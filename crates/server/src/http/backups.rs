//! `/v1/backups`: making, listing, verifying, restoring and removing backups.
//!
//! These take as long as the collection is large and stand in a lane of their own; searches and small writes go on beside
//! them, also while a backup takes the place of a collection. A backup is named by its collection and its time.

use super::collections::CollectionView;
use super::crossing::Lane;
use super::error::{ApiError, ErrorBody};
use super::extract::{Json, JsonOrNothing, PathParts, QueryString};
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::State;
use bilin_engine::{Backup, Engine, Error, ErrorKind, OffsiteList, RemoteBackup, parse_utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Most backups of one collection that may be kept.
const MAX_KEPT: usize = 100_000;

/// One good backup.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BackupView {
    /// The collection that it is of.
    collection: String,
    /// Its time in UTC, which names it.
    #[schema(example = "20261122T120000Z")]
    time: String,
    /// The same time, seconds since 1970.
    taken_unix_s: u64,
    /// Number of the commit that it holds.
    seq: u64,
    /// Documents in it.
    documents: usize,
    /// Items in it.
    items: usize,
    /// Bytes of its files; those that it shares with the backup before are counted too.
    bytes: u64,
}

impl From<&Backup> for BackupView {
    fn from(backup: &Backup) -> BackupView {
        BackupView {
            collection: backup.collection.clone(),
            time: backup.time(),
            taken_unix_s: backup.taken_unix_s,
            seq: backup.seq,
            documents: backup.documents,
            items: backup.items,
            bytes: backup.bytes,
        }
    }
}

impl From<RemoteBackup> for BackupView {
    fn from(backup: RemoteBackup) -> BackupView {
        let RemoteBackup { collection, time, taken_unix_s, seq, documents, items, bytes } = backup;
        BackupView { collection, time, taken_unix_s, seq, documents, items, bytes }
    }
}

/// A backup that cannot be restored.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BadBackup {
    /// The collection that it is of; empty for one in the other place, which the reason names.
    collection: String,
    /// Its time in UTC, which names it; empty for one in the other place.
    #[schema(example = "20261122T120000Z")]
    time: String,
    /// What is wrong with it.
    reason: String,
}

impl BadBackup {
    fn elsewhere(reason: String) -> BadBackup {
        BadBackup { collection: String::new(), time: String::new(), reason }
    }
}

/// Backups, by collection, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BackupList {
    backups: Vec<BackupView>,
    /// Those whose manifest cannot be used.
    bad: Vec<BadBackup>,
}

/// Which backups to list.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListBackups {
    /// Only those of this collection, which need not exist any more.
    collection: Option<String>,
    /// Those in the other place instead of those on this machine.
    #[serde(default)]
    #[param(required = false)]
    remote: bool,
}

/// The backups there are
#[utoipa::path(get, path = "/v1/backups", operation_id = "listBackups", tag = "keeping", params(ListBackups),
    responses((status = 200, body = BackupList), (status = 422, body = ErrorBody)))]
pub(super) async fn list(
    State(state): State<AppState>,
    QueryString(wish): QueryString<ListBackups>,
) -> Result<Answer<BackupList>, ApiError> {
    if wish.remote {
        let look = move |engine: &Engine| engine.offsite_backups(wish.collection.as_deref());
        // A look elsewhere takes the time of the network.
        let OffsiteList { good, bad } = state.crossing.run(Lane::Upkeep, &state.engine, look).await?;
        return Ok(Answer(BackupList {
            backups: good.into_iter().map(BackupView::from).collect(),
            bad: bad.into_iter().map(BadBackup::elsewhere).collect(),
        }));
    }
    let look = move |engine: &Engine| engine.backups(wish.collection.as_deref());
    let lists = state.crossing.run(Lane::Look, &state.engine, look).await?;
    let mut found = BackupList { backups: Vec::new(), bad: Vec::new() };
    for list in lists {
        found.backups.extend(list.good.iter().map(BackupView::from));
        found.bad.extend(list.bad.into_iter().map(|(path, reason)| BadBackup {
            collection: list.collection.clone(),
            time: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            reason,
        }));
    }
    Ok(Answer(found))
}

/// Which backups to make.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MakeBackups {
    /// Only of this collection; of all that are open when left out.
    #[schema(example = "course")]
    collection: Option<String>,
    /// How many backups of each collection to keep, this one included; older ones are removed. As
    /// configured when left out: 7, unless something else is said.
    #[schema(minimum = 1, example = 7)]
    keep: Option<usize>,
    /// Answer when they were sent to the other place, too. The server sends them in any case when one is configured.
    remote: bool,
}

/// Backups that were made, or removed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BackupsDone {
    backups: Vec<BackupView>,
}

/// Make backups
///
/// Each is read back whole before it counts. Files that did not change are shared with the backup before.
#[utoipa::path(post, path = "/v1/backups", operation_id = "makeBackups", tag = "keeping", request_body = MakeBackups,
    responses((status = 200, body = BackupsDone), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 507, body = ErrorBody)))]
pub(super) async fn make(
    State(state): State<AppState>,
    JsonOrNothing(wish): JsonOrNothing<MakeBackups>,
) -> Result<Answer<BackupsDone>, ApiError> {
    let keep = kept(wish.keep.unwrap_or(state.engine.config().upkeep.backups_kept))?;
    let make = move |engine: &Engine| {
        let names = match wish.collection {
            Some(name) => vec![name],
            None => engine.collections().into_iter().map(|info| info.name).collect(),
        };
        let make = |name: &String| {
            let backup = engine.backup(name, keep)?;
            if wish.remote {
                engine.push_offsite(&backup)?;
            }
            Ok(backup)
        };
        names.iter().map(make).collect::<Result<Vec<Backup>, Error>>()
    };
    let made = state.crossing.run(Lane::Upkeep, &state.engine, make).await?;
    Ok(Answer(BackupsDone { backups: made.iter().map(BackupView::from).collect() }))
}

/// Which backup takes the place of its collection.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreBackup {
    /// The collection, which need not exist any more.
    #[schema(example = "course")]
    collection: String,
    /// The newest backup at or before this time (UTC); the newest of all when left out.
    #[serde(default)]
    #[schema(example = "20261122T120000Z")]
    at: Option<String>,
    /// From the other place instead of this machine.
    #[serde(default)]
    remote: bool,
}

/// What a restore did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RestoredView {
    backup: BackupView,
    collection: CollectionView,
}

/// Put a backup in the place of its collection
///
/// What stood there is moved to the quarantine folder and never deleted. Searches go on: each sees the one or the other.
#[utoipa::path(post, path = "/v1/backups/restore", operation_id = "restoreBackup", tag = "keeping",
    request_body = RestoreBackup,
    responses((status = 200, body = RestoredView), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody),
        (status = 507, body = ErrorBody)))]
pub(super) async fn restore(
    State(state): State<AppState>,
    Json(wish): Json<RestoreBackup>,
) -> Result<Answer<RestoredView>, ApiError> {
    let at = wish.at.as_deref().map(|at| time("at", at)).transpose()?;
    let restore = move |engine: &Engine| match wish.remote {
        true => engine.restore_offsite(&wish.collection, at),
        false => engine.restore(&wish.collection, at),
    };
    let (backup, info) = state.crossing.run(Lane::Upkeep, &state.engine, restore).await?;
    Ok(Answer(RestoredView { backup: BackupView::from(&backup), collection: info.into() }))
}

/// How many backups stay.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneBackups {
    /// Only those of this collection; of all when left out.
    #[serde(default)]
    #[schema(example = "course")]
    collection: Option<String>,
    /// How many of the newest of each collection stay.
    #[schema(minimum = 1, example = 7)]
    keep: usize,
}

/// Remove old backups
#[utoipa::path(post, path = "/v1/backups/prune", operation_id = "pruneBackups", tag = "keeping",
    request_body = PruneBackups,
    responses((status = 200, body = BackupsDone), (status = 422, body = ErrorBody)))]
pub(super) async fn prune(
    State(state): State<AppState>,
    Json(wish): Json<PruneBackups>,
) -> Result<Answer<BackupsDone>, ApiError> {
    let keep = kept(wish.keep)?;
    let prune = move |engine: &Engine| {
        let mut removed = Vec::new();
        for list in engine.backups(wish.collection.as_deref())? {
            removed.extend(engine.prune_backups(&list.collection, keep)?);
        }
        Ok(removed)
    };
    let removed = state.crossing.run(Lane::Upkeep, &state.engine, prune).await?;
    Ok(Answer(BackupsDone { backups: removed.iter().map(BackupView::from).collect() }))
}

/// Which backups to read back.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerifyBackups {
    /// Only those of this collection; of all when left out.
    #[schema(example = "course")]
    collection: Option<String>,
    /// Only the one of this time; of all times when left out.
    #[schema(example = "20261122T120000Z")]
    time: Option<String>,
}

/// What reading backups back found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerifiedBackups {
    /// Those that are as they were made.
    verified: Vec<BackupView>,
    /// Those that are not, with what differs.
    damaged: Vec<BadBackup>,
}

/// Read backups back whole and compare them with their manifests
#[utoipa::path(post, path = "/v1/backups/verify", operation_id = "verifyBackups", tag = "keeping",
    request_body = VerifyBackups,
    responses((status = 200, body = VerifiedBackups), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn verify(
    State(state): State<AppState>,
    JsonOrNothing(wish): JsonOrNothing<VerifyBackups>,
) -> Result<Answer<VerifiedBackups>, ApiError> {
    let at = wish.time.as_deref().map(|at| time("time", at)).transpose()?;
    if at.is_some() && wish.collection.is_none() {
        return Err(ApiError::invalid(
            "expected a collection beside time, received none",
            "name the collection whose backup is meant, or leave out the time",
        ));
    }
    let verify = move |engine: &Engine| verify_all(engine, wish.collection.as_deref(), at);
    Ok(Answer(state.crossing.run(Lane::Upkeep, &state.engine, verify).await?))
}

fn verify_all(engine: &Engine, collection: Option<&str>, at: Option<u64>) -> Result<VerifiedBackups, Error> {
    let mut found = VerifiedBackups { verified: Vec::new(), damaged: Vec::new() };
    let mut backups = Vec::new();
    if let (Some(name), Some(at)) = (collection, at) {
        backups.push(engine.backup_of(name, at)?);
    } else {
        for list in engine.backups(collection)? {
            backups.extend(list.good);
            found.damaged.extend(list.bad.into_iter().map(|(path, reason)| BadBackup {
                collection: list.collection.clone(),
                time: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                reason,
            }));
        }
    }
    for backup in &backups {
        match engine.verify_backup(backup) {
            Ok(()) => found.verified.push(BackupView::from(backup)),
            Err(error) if error.kind == ErrorKind::Damaged => found.damaged.push(BadBackup {
                collection: backup.collection.clone(),
                time: backup.time(),
                reason: error.message,
            }),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Remove one backup
#[utoipa::path(delete, path = "/v1/backups/{collection}/{time}", operation_id = "deleteBackup", tag = "keeping",
    params(("collection" = String, Path, description = "name of the collection"),
        ("time" = String, Path, description = "time of the backup, such as 20261122T120000Z")),
    responses((status = 200, body = BackupView), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn remove(
    State(state): State<AppState>,
    PathParts((name, at)): PathParts<(String, String)>,
) -> Result<Answer<BackupView>, ApiError> {
    let at = time("time", &at)?;
    let remove = move |engine: &Engine| engine.remove_backup(&name, at);
    let removed = state.crossing.run(Lane::Upkeep, &state.engine, remove).await?;
    Ok(Answer(BackupView::from(&removed)))
}

fn time(field: &str, text: &str) -> Result<u64, ApiError> {
    parse_utc(text).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        ApiError::invalid(
            format!("{field}: expected a time in UTC, received \"{shown}\""),
            "write it like 20261122T120000Z, 2026-11-22T12:00:00Z or 2026-11-22",
        )
    })
}

fn kept(keep: usize) -> Result<usize, ApiError> {
    if (1..=MAX_KEPT).contains(&keep) {
        return Ok(keep);
    }
    Err(ApiError::invalid(
        format!("keep: expected a whole number from 1 to {MAX_KEPT}, received {keep}"),
        "the newest backup always stays; DELETE /v1/backups/{collection}/{time} removes a single one",
    ))
}
