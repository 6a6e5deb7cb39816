//! `/v1/collections/{collection}/documents`: adding, reading and deleting documents, and their thumbnails.
//!
//! An add is one commit: all of it is in and durable when answered, or nothing is. Document ids may hold slashes; they
//! are the rest of the path, or percent-encoded.

use super::crossing::{Lane, Weight};
use super::error::{ApiError, ErrorBody};
use super::extract::{Json, Object, Part, PathParts, media_type, multipart};
use super::page;
use super::state::AppState;
use axum::Json as Answer;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use bilin_engine::{DocumentContent, Engine, Filter, Kind, Metadata, NewDocument};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Documents that are as much work as a small write.
const DOCUMENTS_PER_PLACE: usize = 64;

/// Documents to add; one whose id exists is replaced.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddDocuments {
    #[schema(value_type = Vec<DocumentIn>)]
    documents: Vec<Object<DocumentIn>>,
}

/// One document; exactly one of `text`, `image` and `vector`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentIn {
    /// Left out: one is made.
    #[serde(default)]
    #[schema(example = "course/chapter1")]
    id: Option<String>,
    /// Text, for a text collection; cut into passages where it is long.
    #[serde(default)]
    text: Option<String>,
    /// A jpeg, png, webp, gif or bmp file in base64, for a picture collection.
    #[serde(default)]
    image: Option<String>,
    /// Numbers, for a collection of bare vectors.
    #[serde(default)]
    vector: Option<Vec<f32>>,
    /// Fields to show and to filter by.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Metadata>,
}

/// What an add did; it is durable.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AddedView {
    /// The commit.
    seq: u64,
    /// Documents that were new.
    added: usize,
    /// Documents that replaced one of the same id.
    updated: usize,
    /// Ids, in the order of the request.
    ids: Vec<String>,
    /// Items that were longer than the model reads.
    truncated: usize,
    /// What of the files could not be read, while the rest was.
    problems: Vec<String>,
}

/// A document as it is kept.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DocumentView {
    id: String,
    items: Vec<ItemView>,
}

/// One searchable part of a document.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ItemView {
    /// Position in the document, from 0.
    ordinal: u32,
    text: Option<String>,
    #[schema(value_type = Object)]
    metadata: Metadata,
    vector: Option<Vec<f32>>,
}

/// What a delete did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeletedView {
    /// The commit.
    seq: u64,
    /// Documents that are gone.
    deleted: usize,
}

/// A form of files for the same route.
#[derive(ToSchema)]
#[expect(dead_code, reason = "shape of the form in the API description")]
pub struct AddFiles {
    /// Pictures (or a .zip of them, with a table of their fields), or documents (.pptx, .docx, .xlsx, .epub, .md, .txt, .csv,
    /// .ipynb, .zip of these); may stand several times.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<String>,
    /// A JSON object: fields for all files.
    metadata: Option<String>,
}

/// Decodes base64, padded or not, or a `data:` URL as browsers make it.
pub(super) fn base64_picture(text: &str) -> Result<Vec<u8>, ApiError> {
    let body = match text.strip_prefix("data:") {
        Some(rest) => rest.split_once(";base64,").map_or(text, |(_, body)| body),
        None => text,
    };
    let lenient = base64::engine::GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent);
    base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, lenient).decode(body.trim()).map_err(
        |e| {
            ApiError::invalid(
                format!("image: expected a picture file in base64, received text that is not base64 ({e})"),
                "encode the file's bytes with the standard base64 alphabet",
            )
        },
    )
}

impl DocumentIn {
    fn into_new(self, index: usize) -> Result<NewDocument, ApiError> {
        let content = match (self.text, self.image, self.vector) {
            (Some(text), None, None) => DocumentContent::Text(text),
            (None, Some(image), None) => {
                let bytes = base64_picture(&image).map_err(|mut e| {
                    e.message = format!("documents[{index}].{}", e.message);
                    e
                })?;
                DocumentContent::Picture(bytes)
            }
            (None, None, Some(vector)) => DocumentContent::Vector(vector),
            (text, image, vector) => {
                let given =
                    [text.is_some(), image.is_some(), vector.is_some()].iter().filter(|g| **g).count();
                return Err(ApiError::invalid(
                    format!(
                        "documents[{index}]: expected exactly one of text, image and vector, received {given}"
                    ),
                    "give each document the one that its collection holds",
                ));
            }
        };
        Ok(NewDocument { id: self.id, content: Some(content), metadata: self.metadata.unwrap_or_default() })
    }
}

/// Add or replace documents
///
/// JSON, or a multipart form of files. Durable when answered; an id that exists is replaced.
#[utoipa::path(post, path = "/v1/collections/{collection}/documents", operation_id = "addDocuments", tag = "documents",
    params(("collection" = String, Path, description = "name of the collection")),
    request_body(content((AddDocuments = "application/json"), (AddFiles = "multipart/form-data"))),
    responses((status = 200, body = AddedView), (status = 404, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn add(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    request: Request,
) -> Result<Answer<AddedView>, ApiError> {
    let received = media_type(request.headers());
    let documents = match received.as_deref() {
        Some("multipart/form-data") => {
            let looked = name.clone();
            let info = state
                .crossing
                .run(Lane::Look, &state.engine, move |engine| engine.collection(&looked))
                .await?;
            let most = state.engine.config().max_file_bytes;
            files(multipart(request, &state).await?, info.settings.kind, most)?
        }
        Some(kind) if kind == "application/json" || kind.ends_with("+json") => {
            let Json(body) = Json::<AddDocuments>::from_request(request, &state).await?;
            body.documents
                .into_iter()
                .enumerate()
                .map(|(i, Object(d))| d.into_new(i))
                .collect::<Result<_, _>>()?
        }
        other => return Err(ApiError::content_type("application/json or multipart/form-data", other)),
    };
    let weight = Weight::of(documents.len(), DOCUMENTS_PER_PLACE);
    let added = state
        .crossing
        .run_for(weight, Lane::Write, &state.engine, move |engine| engine.add_documents(&name, documents))
        .await?;
    Ok(Answer(AddedView {
        seq: added.seq,
        added: added.added,
        updated: added.updated,
        ids: added.ids,
        truncated: added.truncated,
        problems: added.problems,
    }))
}

/// Files of a form, of at most so many bytes each, become documents named after them.
fn files(parts: Vec<Part>, kind: Kind, most_bytes: u64) -> Result<Vec<NewDocument>, ApiError> {
    let mut shared = Metadata::new();
    let mut documents = Vec::new();
    for part in parts {
        match (part.name.as_str(), part.file_name.as_deref()) {
            ("metadata", None) => {
                shared = super::extract::parse(&part.bytes).map_err(|mut e| {
                    e.message = format!("field \"metadata\": {}", e.message);
                    e
                })?;
            }
            ("file" | "files", Some(file_name)) => {
                let bytes = part.bytes.len() as u64;
                if bytes > most_bytes {
                    return Err(ApiError::invalid(
                        format!(
                            "file {file_name:?} has {bytes} bytes, more than the limit of {most_bytes} bytes"
                        ),
                        "split the file, or raise limits.file_bytes",
                    ));
                }
                documents.push(file(&part, file_name, kind)?);
            }
            (name, _) => {
                return Err(ApiError::invalid(
                    format!(
                        "expected the form fields file (with a file name) and metadata, received \"{name}\""
                    ),
                    "name each file's field \"file\"",
                ));
            }
        }
    }
    if documents.is_empty() {
        return Err(ApiError::invalid(
            "expected at least one file in the form, received none",
            "name each file's field \"file\"",
        ));
    }
    for document in &mut documents {
        for (key, value) in &shared {
            document.metadata.insert(key.clone(), value.clone());
        }
    }
    Ok(documents)
}

fn file(part: &Part, file_name: &str, kind: Kind) -> Result<NewDocument, ApiError> {
    // A browser may send a path; only its last part is a name.
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let mut metadata = Metadata::new();
    let content = match kind {
        Kind::Image if extension.eq_ignore_ascii_case("zip") => {
            DocumentContent::File { name: name.to_owned(), bytes: part.bytes.to_vec() }
        }
        Kind::Image => {
            metadata.insert("image_path".to_owned(), name.into());
            metadata.insert("product_id".to_owned(), stem.into());
            DocumentContent::Picture(part.bytes.to_vec())
        }
        Kind::Text if matches!(extension.to_ascii_lowercase().as_str(), "txt" | "text") => {
            metadata.insert("source".to_owned(), name.into());
            let text = part.text().map_err(|mut e| {
                e.message = format!("file \"{name}\" is not UTF-8 text");
                e
            })?;
            DocumentContent::Text(text.trim_start_matches('\u{feff}').to_owned())
        }
        Kind::Text => DocumentContent::File { name: name.to_owned(), bytes: part.bytes.to_vec() },
        Kind::Vector => {
            return Err(ApiError::invalid(
                "a collection of bare vectors takes no files",
                "send JSON documents with a vector each",
            ));
        }
    };
    Ok(NewDocument { id: Some(name.to_owned()), content: Some(content), metadata })
}

fn unknown(collection: &str, id: &str) -> ApiError {
    let shown: String = id.chars().take(80).collect();
    ApiError::not_found(
        format!("collection \"{collection}\" has no document \"{shown}\""),
        "ids are those of search results and of the answer to an add; percent-encode special characters",
    )
}

/// Read a document back
#[utoipa::path(get, path = "/v1/collections/{collection}/documents/{*id}", operation_id = "getDocument", tag = "documents",
    params(("collection" = String, Path, description = "name of the collection"),
        ("id" = String, Path, description = "id of the document; may hold slashes")),
    responses((status = 200, body = DocumentView), (status = 404, body = ErrorBody)))]
pub(super) async fn get(
    State(state): State<AppState>,
    PathParts((name, id)): PathParts<(String, String)>,
) -> Result<Answer<DocumentView>, ApiError> {
    let (collection, wanted) = (name.clone(), id.clone());
    let found = state
        .crossing
        .run(Lane::Look, &state.engine, move |engine| engine.document(&collection, &wanted))
        .await?
        .ok_or_else(|| unknown(&name, &id))?;
    let items = found.items.into_iter().map(|item| ItemView {
        ordinal: item.ordinal,
        text: item.text,
        metadata: item.metadata,
        vector: item.vector,
    });
    Ok(Answer(DocumentView { id: found.id, items: items.collect() }))
}

/// Delete a document
#[utoipa::path(delete, path = "/v1/collections/{collection}/documents/{*id}", operation_id = "deleteDocument", tag = "documents",
    params(("collection" = String, Path, description = "name of the collection"),
        ("id" = String, Path, description = "id of the document; may hold slashes")),
    responses((status = 200, body = DeletedView), (status = 404, body = ErrorBody)))]
pub(super) async fn delete(
    State(state): State<AppState>,
    PathParts((name, id)): PathParts<(String, String)>,
) -> Result<Answer<DeletedView>, ApiError> {
    let (collection, wanted) = (name.clone(), id.clone());
    let applied = state
        .crossing
        .run(Lane::Write, &state.engine, move |engine| engine.delete_documents(&collection, &[wanted]))
        .await?;
    if applied.deleted == 0 {
        return Err(unknown(&name, &id));
    }
    Ok(Answer(DeletedView { seq: applied.seq, deleted: applied.deleted }))
}

/// What to delete: exactly one of `ids` and `filter`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteDocuments {
    /// Ids of documents; unknown ones are passed over.
    #[serde(default)]
    #[schema(example = json!(["course/chapter1", "course/chapter2"]))]
    ids: Option<Vec<String>>,
    /// Every document of which an item satisfies this.
    #[serde(default)]
    #[schema(example = "category = \"birds\" AND price < 10")]
    filter: Option<String>,
}

/// Delete documents by id or by filter
///
/// One commit: all of them are gone and durably so when answered, or none is.
#[utoipa::path(post, path = "/v1/collections/{collection}/delete", operation_id = "deleteDocuments", tag = "documents",
    params(("collection" = String, Path, description = "name of the collection")),
    request_body = DeleteDocuments,
    responses((status = 200, body = DeletedView), (status = 404, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub(super) async fn delete_many(
    State(state): State<AppState>,
    PathParts(name): PathParts<String>,
    Json(wish): Json<DeleteDocuments>,
) -> Result<Answer<DeletedView>, ApiError> {
    let applied = match (wish.ids, wish.filter) {
        (Some(ids), None) => {
            let delete = move |engine: &Engine| engine.delete_documents(&name, &ids);
            state.crossing.run(Lane::Write, &state.engine, delete).await?
        }
        (None, Some(filter)) => {
            let filter = filter.parse::<Filter>().map_err(|error| {
                ApiError::invalid(
                    format!("filter: {error}"),
                    "write it like category = \"birds\" AND price < 10 AND NOT page IN (1, 2)",
                )
            })?;
            let delete = move |engine: &Engine| engine.delete_where(&name, &filter);
            state.crossing.run(Lane::Write, &state.engine, delete).await?
        }
        (ids, _) => {
            let given = if ids.is_some() { "both" } else { "none" };
            return Err(ApiError::invalid(
                format!("expected exactly one of ids and filter, received {given}"),
                "send the ids of documents, or a filter over their metadata",
            ));
        }
    };
    Ok(Answer(DeletedView { seq: applied.seq, deleted: applied.deleted }))
}

/// The small JPEG of a picture
///
/// A route beside `documents`, since an id may hold slashes and would swallow a suffix.
#[utoipa::path(get, path = "/v1/collections/{collection}/thumbnails/{*id}", operation_id = "getThumbnail", tag = "documents",
    params(("collection" = String, Path, description = "name of the collection"),
        ("id" = String, Path, description = "id of the document; may hold slashes")),
    responses((status = 200, content_type = "image/jpeg", description = "a small JPEG, with its hash as ETag"),
        (status = 304, description = "the client has it"), (status = 404, body = ErrorBody)))]
pub(super) async fn thumbnail(
    State(state): State<AppState>,
    PathParts((name, id)): PathParts<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (collection, wanted) = (name.clone(), id.clone());
    let jpeg = state
        .crossing
        .run(Lane::Look, &state.engine, move |engine| engine.thumbnail(&collection, &wanted))
        .await?
        .ok_or_else(|| unknown(&name, &id))?;
    // Under the same address another picture may stand later, so a browser asks again after a while, by the hash.
    let etag = format!("\"{}\"", blake3::hash(&jpeg).to_hex().get(..16).unwrap_or_default());
    let caching = [(header::ETAG, etag.as_str()), (header::CACHE_CONTROL, "private, max-age=60")];
    if page::has(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    Ok((StatusCode::OK, caching, [(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response())
}
