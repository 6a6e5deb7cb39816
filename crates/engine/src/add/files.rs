//! Files that come by API, read as those on disk are: their bytes become documents of passages, or of a picture each.
//!
//! A file that cannot be read refuses the request by its name; what within it could not be read (a member of an archive, a
//! record of a table) is told beside what could.

use super::{DocumentContent, NewDocument, kind_words};
use crate::Engine;
use crate::error::Error;
use bilin_encode::Encoder;
use bilin_ingest::{Content, Format, Found, Item, ReadOptions, Split, Wanted};
use bilin_store::{Kind, Metadata, Settings};
use std::path::Path;

/// The documents of a request, with its files read; and what of these could not be.
pub(super) fn unfold(
    engine: &Engine,
    settings: &Settings,
    encoder: Option<&dyn Encoder>,
    documents: Vec<NewDocument>,
) -> Result<(Vec<NewDocument>, Vec<String>), Error> {
    let (mut unfolded, mut problems) = (Vec::with_capacity(documents.len()), Vec::new());
    for document in documents {
        match document.content {
            Some(DocumentContent::File { name, bytes }) => {
                let NewDocument { id, metadata, .. } = document;
                let read = read(engine, settings, encoder, &name, bytes)
                    .map_err(|error| error.within(&format!("file {name:?}")))?;
                let whole = read.documents.len() == 1;
                for inner in read.documents {
                    // A file of one document may have been given another id.
                    let id = Some(id.clone().filter(|_| whole && inner.id == name).unwrap_or(inner.id));
                    let (content, metadata) = content(inner.items, &metadata);
                    unfolded.push(NewDocument { id, content: Some(content), metadata });
                }
                problems
                    .extend(read.problems.into_iter().map(|problem| format!("{name}: {}", problem.reason)));
            }
            content => unfolded.push(NewDocument { content, ..document }),
        }
    }
    Ok((unfolded, problems))
}

/// The picture of one document of an archive, or its passages; with what the request says of the whole file.
fn content(items: Vec<Item>, given: &Metadata) -> (DocumentContent, Metadata) {
    let (mut passages, mut picture) = (Vec::new(), None);
    for item in items {
        match item.content {
            Content::Text(text) => passages.push((text, item.metadata)),
            Content::Picture(bytes) => picture = Some((bytes, item.metadata)),
        }
    }
    match picture {
        None => (DocumentContent::Passages(passages), given.clone()),
        Some((bytes, mut metadata)) => {
            metadata.extend(given.clone());
            (DocumentContent::Picture(bytes), metadata)
        }
    }
}

fn read(
    engine: &Engine,
    settings: &Settings,
    encoder: Option<&dyn Encoder>,
    name: &str,
    bytes: Vec<u8>,
) -> Result<bilin_ingest::ReadFile, Error> {
    let wanted = match settings.kind {
        Kind::Text => Wanted::Text,
        Kind::Image => Wanted::Pictures,
        Kind::Vector => {
            let told = format!("it is a file, and the collection holds {}", kind_words(settings.kind));
            return Err(Error::invalid(told).with_hint("send it to a collection of text or pictures"));
        }
    };
    let Some(format) = Format::of_path_for(Path::new(name), wanted) else {
        let known = Format::extensions(wanted).join(", ");
        return Err(
            Error::invalid("files of this type cannot be read").with_hint(format!("these can: {known}"))
        );
    };
    let count_tokens = |text: &str| encoder.map_or_else(|| text.chars().count(), |it| it.count_tokens(text));
    let options = ReadOptions {
        split: Split::Auto,
        max_tokens: engine.config.max_passage_tokens,
        count_tokens: &count_tokens,
        overlap_tokens: engine.config.overlap_tokens,
        max_file_bytes: engine.config.max_file_bytes,
        limits: engine.config.document_limits,
    };
    let found = Found {
        path: name.into(),
        source: name.to_owned(),
        format,
        category: None,
        bytes: bytes.len() as u64,
        fields: Metadata::new(),
    };
    let mut read = bilin_ingest::read(&found, bytes, &options).map_err(|error| {
        let told = Error::invalid(error.to_string());
        match error.hint() {
            Some(hint) => told.with_hint(hint),
            None => told,
        }
    })?;
    read.documents.retain(|document| !document.items.is_empty());
    if read.documents.is_empty() {
        let nothing = match wanted {
            Wanted::Text => "it holds no text",
            Wanted::Pictures => "it holds no pictures",
        };
        let reason = read.problems.first().map_or(nothing, |problem| problem.reason.as_str());
        return Err(Error::invalid(reason.to_owned()).with_hint("nothing was added"));
    }
    Ok(read)
}
