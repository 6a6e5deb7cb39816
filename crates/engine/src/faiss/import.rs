//! `import`: a FAISS index file and its metadata into a collection.
//!
//! Two passes: the first decodes every vector to look for what cannot be kept, the second decodes again and commits in
//! batches. Decoding twice costs less than holding every decoded vector in memory.

use super::arrange::{Arranged, arrange, keeps_order};
use super::{ImportOptions, Imported, metadata};
use crate::Engine;
use crate::add::{self, AddEvent, AddProgress, check_id};
use crate::collection::NewCollection;
use crate::error::{Error, ErrorKind};
use crate::models::{TextWishes, kind_of, model_ref};
use crate::storage::VectorStore;
use bilin_encode::Reading;
use bilin_index::faiss::{self, Decoder, Index, MetricType, TransformKind, Vectors};
use bilin_index::{IndexSpec, Metric};
use bilin_store::{Batch, Clash, Kind, NewDocument, NewItem};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Most items in one commit.
const BATCH_ITEMS: usize = 8 << 10;
/// Most values of vectors in one commit (64 MiB), unless a single one is longer.
const BATCH_VALUES: usize = 16 << 20;
/// How far from one a length may be for inner products to be taken as cosines.
const UNIT_LENGTH_TOLERANCE: f32 = 1e-3;
/// The same for vectors that come out of codes, which change lengths.
const DECODED_LENGTH_TOLERANCE: f32 = 5e-2;

/// Ids that an error names.
const NAMED_CLASHES: usize = 5;

/// See [`Engine::import_faiss`].
pub(crate) fn import(
    engine: &Engine,
    collection: &str,
    path: &Path,
    options: &ImportOptions,
    progress: &dyn AddProgress,
) -> Result<Imported, Error> {
    let context = |error: Error| error.within(&format!("{:?}", path.display().to_string()));
    let entries = options.metadata.as_deref().map(metadata::read).transpose()?;
    let bytes = read_file(path, "index file")?;
    let wanted = RefCell::new(None);
    let first = faiss::read_beside(&bytes, &|name| {
        wanted.replace(Some(name.to_owned()));
        None
    });
    // Lists that lie in a file of their own: its base name was asked for, and it must lie beside the index.
    let side = match wanted.into_inner() {
        Some(name) => {
            let beside = path.parent().unwrap_or(Path::new("")).join(&name);
            Some((name, read_file(&beside, "file of inverted lists")?))
        }
        None => None,
    };
    let index = match &side {
        Some((name, lists)) => {
            faiss::read_beside(&bytes, &|asked| (asked == name).then_some(lists.as_slice()))
        }
        None => first,
    };
    let index = index.map_err(|error| context(error.into()))?;
    let vectors = if options.transformed { Vectors::Transformed } else { Vectors::Original };
    let decoder = Decoder::new(&index, vectors).map_err(|error| context(error.into()))?;
    if decoder.is_empty() {
        return Err(context(Error::invalid("the index holds no vectors, so there is nothing to import")));
    }
    let facts = Facts::of(&index, &decoder, options).map_err(context)?;
    let arranged = arrange(&decoder.ids(), keeps_order(&index), entries)?;
    let (store, created) = target(engine, collection, &facts, options)?;
    let result = without_clashes(&*store, arranged, options.on_conflict.unwrap_or(Clash::Replace))
        .and_then(|(arranged, kept)| {
            let written = write(&*store, &decoder, arranged, progress)?;
            Ok(Imported { kept, ..written })
        })
        .and_then(|written| add::watch_maintenance(engine, &*store, progress).map(|()| written));
    let written = match result {
        Ok(written) => written,
        Err(error) => {
            if created && error.kind != ErrorKind::Cancelled {
                engine.stores.remove(collection)?;
            }
            return Err(error);
        }
    };
    Ok(Imported {
        source: faiss::describe(&index),
        is_exact: decoder.is_exact(),
        metric: facts.metric,
        dim: decoder.dim(),
        created,
        ..written
    })
}

/// Reads a whole file.
pub(super) fn read_file(path: &Path, what: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("cannot read {what} {:?}: {error}", path.display().to_string()))
            .with_hint("check the spelling and the permissions; nothing was changed")
            .with_source(error)
    })
}

/// What every vector has in common, found by looking at each of them.
struct Facts {
    dim: usize,
    metric: Metric,
}

impl Facts {
    fn of(index: &Index<'_>, decoder: &Decoder<'_>, options: &ImportOptions) -> Result<Facts, Error> {
        let mut vector = vec![0.0; decoder.dim()];
        let (mut first_zero, mut are_unit) = (None, true);
        let tolerance = if decoder.is_exact() { UNIT_LENGTH_TOLERANCE } else { DECODED_LENGTH_TOLERANCE };
        for row in 0..decoder.len() {
            decoder.decode(row, &mut vector)?;
            let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
            are_unit &= (length - 1.0).abs() <= tolerance;
            if length == 0.0 {
                first_zero.get_or_insert(decoder.id(row));
            }
        }
        let metric = match (options.metric, index.header.metric) {
            (Some(metric), _) => metric,
            (None, _) if is_normalised(index) => Metric::Cosine,
            (None, MetricType::L2) => Metric::L2,
            (None, MetricType::InnerProduct) if are_unit => Metric::Cosine,
            (None, MetricType::InnerProduct) => Metric::InnerProduct,
            (None, MetricType::Other { code, .. }) => {
                return Err(Error::invalid(format!(
                    "it compares by FAISS's metric {code}, which collections do not have"
                ))
                .with_hint("choose one with --metric l2, --metric ip or --metric cosine"));
            }
        };
        match first_zero {
            Some(id) if metric == Metric::Cosine => {
                Err(Error::invalid(format!("the vector with id {id} is all zeros, which has no cosine"))
                    .with_hint("choose --metric l2 or --metric ip; nothing was changed"))
            }
            _ => Ok(Facts { dim: decoder.dim(), metric }),
        }
    }
}

/// True when the index scales vectors to length one itself.
fn is_normalised(index: &Index<'_>) -> bool {
    match &index.kind {
        faiss::Kind::PreTransform { chain, .. } => {
            chain.iter().any(|transform| matches!(transform.kind, TransformKind::Normalise(2.0)))
        }
        faiss::Kind::IdMap { inner, .. } => is_normalised(inner),
        _ => false,
    }
}

/// The collection to import into, and whether it was made just now.
fn target(
    engine: &Engine,
    collection: &str,
    facts: &Facts,
    options: &ImportOptions,
) -> Result<(Arc<dyn VectorStore>, bool), Error> {
    let store = match engine.stores.get(collection) {
        Ok(store) => store,
        Err(error) if error.kind == ErrorKind::NotFound => {
            let new = new_collection(engine, facts, options)?;
            return Ok((engine.create_store(collection, &new)?, true));
        }
        Err(error) => return Err(error),
    };
    let settings = store.settings();
    let refuse = |message: String, hint: &str| {
        Err(Error::new(ErrorKind::Conflict, message).with_hint(format!("{hint}; nothing was changed")))
    };
    if settings.dim != facts.dim {
        return refuse(
            format!(
                "collection {collection:?} holds vectors of dimension {}, the index {}",
                settings.dim, facts.dim
            ),
            "import into another collection",
        );
    }
    if settings.metric != facts.metric {
        return refuse(
            format!(
                "collection {collection:?} compares by {}, the index by {}",
                settings.metric, facts.metric
            ),
            "import into another collection, or say with --metric that the vectors suit this one",
        );
    }
    let model = options.model.as_deref().map(|id| engine.models.get(id)).transpose()?;
    let given = model.as_ref().map(|model| model_ref(model.card(), &Reading::default(), false));
    let is_comparable = match (&settings.model, &given) {
        (Some(held), Some(given)) => held.is_comparable(given),
        (held, given) => held.is_none() && given.is_none(),
    };
    if !is_comparable {
        let held = settings.model.as_ref().map_or("of no model", |model| model.id.as_str());
        return refuse(
            format!("collection {collection:?} holds vectors {held}, and nothing says that the index does"),
            "if the same model made the index, name it with --model",
        );
    }
    if options.index.as_ref().is_some_and(|index| *index != settings.index) {
        return refuse(
            format!("collection {collection:?} has the index {}", settings.index),
            "leave out --index, or import into another collection",
        );
    }
    Ok((store, false))
}

fn new_collection(engine: &Engine, facts: &Facts, options: &ImportOptions) -> Result<NewCollection, Error> {
    let mut kind = Kind::Vector;
    if let Some(id) = &options.model {
        let model = engine.models.get(id)?;
        kind = kind_of(model.card().modality);
        if model.card().dim != facts.dim {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "model {id:?} makes vectors of dimension {}, the index holds {}",
                    model.card().dim,
                    facts.dim
                ),
            )
            .with_hint("leave out --model for a collection of bare vectors; nothing was changed"));
        }
    }
    Ok(NewCollection {
        kind: Some(kind),
        model: options.model.clone(),
        dim: Some(facts.dim),
        metric: Some(facts.metric),
        index: Some(options.index.clone().unwrap_or(IndexSpec::AUTO)),
        // Whatever is configured for texts to come: these vectors were made without headings.
        texts: TextWishes { headings: (kind == Kind::Text).then_some(false), ..TextWishes::default() },
        ..NewCollection::default()
    })
}

/// The vectors to take in, and how many documents stay out because the collection has them.
fn without_clashes(
    store: &dyn VectorStore,
    arranged: Vec<Arranged>,
    clash: Clash,
) -> Result<(Vec<Arranged>, usize), Error> {
    if clash == Clash::Replace {
        return Ok((arranged, 0));
    }
    let ids: BTreeSet<&str> = arranged.iter().map(|next| next.document.as_str()).collect();
    let mut held = BTreeSet::new();
    for id in ids {
        if store.document_file(id)?.is_some() {
            held.insert(id.to_owned());
        }
    }
    if clash == Clash::Fail && !held.is_empty() {
        let named: Vec<String> = held.iter().take(NAMED_CLASHES).map(|id| format!("{id:?}")).collect();
        let (count, name) = (held.len(), store.name());
        let message = format!(
            "{count} documents of the index are in collection {name:?} already, {} among them",
            named.join(", ")
        );
        return Err(Error::new(ErrorKind::Conflict, message)
            .with_hint("say with --on-conflict keep or replace whose documents count; nothing was changed"));
    }
    let arranged = arranged.into_iter().filter(|next| !held.contains(&next.document)).collect();
    Ok((arranged, held.len()))
}

/// Decodes and commits, batch by batch.
fn write(
    store: &dyn VectorStore,
    decoder: &Decoder<'_>,
    arranged: Vec<Arranged>,
    progress: &dyn AddProgress,
) -> Result<Imported, Error> {
    for Arranged { document, .. } in &arranged {
        check_id(document)?;
    }
    let total = arranged.len();
    let limit = (BATCH_VALUES / decoder.dim()).clamp(1, BATCH_ITEMS);
    let mut imported = Imported {
        source: String::new(),
        items: 0,
        added: 0,
        updated: 0,
        kept: 0,
        seq: store.view().seq(),
        is_exact: true,
        metric: store.settings().metric,
        dim: decoder.dim(),
        created: false,
    };
    let mut arranged = arranged.into_iter().peekable();
    while arranged.peek().is_some() {
        if progress.cancelled() {
            let message = format!("the import was stopped; {} of {total} vectors are in", imported.items);
            return Err(Error::new(ErrorKind::Cancelled, message)
                .with_hint("run the same command again for the rest"));
        }
        let mut upsert: Vec<NewDocument> = Vec::new();
        let mut items = 0;
        while let Some(next) = arranged.peek() {
            let follows = upsert.last().is_some_and(|last| last.id == next.document);
            // A document is one commit, whatever its size.
            if items >= limit && !follows {
                break;
            }
            let Some(Arranged { row, document, entry }) = arranged.next() else { break };
            let mut vector = vec![0.0; decoder.dim()];
            decoder.decode(row, &mut vector)?;
            let item = NewItem {
                vector,
                text: entry.text,
                metadata: entry.metadata,
                thumbnail: None,
                sentences: None,
            };
            match upsert.last_mut() {
                Some(last) if follows => last.items.push(item),
                _ => upsert.push(NewDocument { id: document, file: None, items: vec![item] }),
            }
            items += 1;
        }
        let applied = store.apply(Batch { upsert, ..Batch::default() })?;
        imported.items += items;
        imported.added += applied.added;
        imported.updated += applied.updated;
        imported.seq = applied.seq;
        progress.event(&AddEvent::Imported { items: imported.items, total });
    }
    Ok(imported)
}
