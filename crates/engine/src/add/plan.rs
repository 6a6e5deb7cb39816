//! What an `add` is about to do: which collection, which kind of files, which files.
//!
//! Nothing is written before the plan stands: a path that does not exist, an unknown model, or pictures for a text
//! collection are errors that leave the disk as it was.

use super::{AddOptions, kind_words};
use crate::Engine;
use crate::error::{Error, ErrorKind};
use crate::models::{TextWishes, kind_of, model_ref};
use crate::storage::VectorStore;
use bilin_ingest::{Format, Found, Walk, Wanted, archive_counts, read_tables, walk};
use bilin_store::{Kind, Settings};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The collection and the files for it.
pub(super) struct Plan {
    pub(super) store: Arc<dyn VectorStore>,
    pub(super) walk: Walk,
    /// The collection was made for this add.
    pub(super) created: bool,
}

/// Makes the plan; the collection is created last, when everything else is known to be right.
pub(super) fn plan(
    engine: &Engine,
    collection: &str,
    paths: &[PathBuf],
    options: &AddOptions,
) -> Result<Plan, Error> {
    check_paths(paths)?;
    match engine.stores.get(collection) {
        Ok(store) => {
            let settings = store.settings();
            check_existing(collection, &settings, options)?;
            check_texts(engine, &*store, &settings, &options.texts)?;
            let wanted = wanted(collection, settings.kind)?;
            let walk = told(walk(paths, wanted), options);
            if walk.found.is_empty() && store.files_below(&walk.roots)?.is_empty() {
                check_other_kind(collection, &settings, paths, wanted)?;
            }
            Ok(Plan { store, walk, created: false })
        }
        Err(error) if error.kind == ErrorKind::NotFound => {
            let (kind, walk) = choose_kind(engine, collection, paths, options)?;
            let store = engine.create_store(collection, &options.new_collection(kind))?;
            Ok(Plan { store, walk, created: true })
        }
        Err(error) => Err(error),
    }
}

/// Every path must exist: a mistyped folder is never taken for an empty one.
fn check_paths(paths: &[PathBuf]) -> Result<(), Error> {
    if paths.is_empty() {
        return Err(Error::invalid("no path was given").with_hint("name at least one file or folder"));
    }
    for path in paths {
        match path.metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::new(ErrorKind::NotFound, format!("there is no file or folder {path:?}"))
                    .with_hint("check the spelling and the working folder; nothing was changed"));
            }
            Err(error) => {
                return Err(
                    Error::new(ErrorKind::Io, format!("cannot look at {path:?}: {error}")).with_source(error)
                );
            }
        }
    }
    Ok(())
}

/// Options name what a new collection gets; for an existing one they must agree with it.
fn check_existing(collection: &str, settings: &Settings, options: &AddOptions) -> Result<(), Error> {
    if let Some(kind) = options.kind
        && kind != settings.kind
    {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "collection {collection:?} holds {}, not {}",
                kind_words(settings.kind),
                kind_words(kind)
            ),
        )
        .with_hint("use another collection name"));
    }
    let model = settings.model.as_ref().map(|model| model.id.as_str());
    if let Some(wanted) = &options.model
        && model != Some(&*bilin_encode::full_id(wanted))
    {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "collection {collection:?} was made with model {:?}, not {wanted:?}",
                model.unwrap_or("none")
            ),
        )
        .with_hint("vectors of two models cannot be compared: use another collection name"));
    }
    if let Some(index) = &options.index
        && *index != settings.index
    {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("collection {collection:?} has index {}, not {index}", settings.index),
        )
        .with_hint("leave the index out, or use another collection name"));
    }
    Ok(())
}

/// Texts are read as those inside were. A collection without any takes what is wished for from now on.
fn check_texts(
    engine: &Engine,
    store: &dyn VectorStore,
    settings: &Settings,
    wishes: &TextWishes,
) -> Result<(), Error> {
    let name = store.name();
    let (Some(model), false) = (&settings.model, wishes.is_empty()) else { return Ok(()) };
    let Some(encoder) = engine.models.for_settings(name, settings)? else { return Ok(()) };
    let Some(conflict) = wishes.conflict(name, encoder.card(), &model.reading) else { return Ok(()) };
    if store.view().count() > 0 {
        return Err(conflict);
    }
    let reading = wishes.changed(&model.reading);
    let encoder = engine.models.reading(&model.id, &reading)?;
    let headings = wishes.headings.unwrap_or(model.reading.headings);
    store.set_model(&model_ref(encoder.card(), &reading, headings))
}

fn wanted(collection: &str, kind: Kind) -> Result<Wanted, Error> {
    match kind {
        Kind::Text => Ok(Wanted::Text),
        Kind::Image => Ok(Wanted::Pictures),
        Kind::Vector => Err(Error::invalid(format!(
            "collection {collection:?} holds bare vectors and has no model to read files with"
        ))
        .with_hint("send vectors by the API, or use another collection name for files")),
    }
}

/// Nothing for this collection was found: are the paths full of the other kind?
fn check_other_kind(
    collection: &str,
    settings: &Settings,
    paths: &[PathBuf],
    wanted: Wanted,
) -> Result<(), Error> {
    let (other, other_kind) = match wanted {
        Wanted::Text => (Wanted::Pictures, Kind::Image),
        Wanted::Pictures => (Wanted::Text, Kind::Text),
    };
    let found = walk(paths, other).found.len();
    if found == 0 {
        return Ok(());
    }
    let model = settings.model.as_ref().map_or("none", |model| model.id.as_str());
    Err(Error::invalid(format!(
        "collection {collection:?} holds {} (model {model:?}), and these paths hold only {} ({found} files)",
        kind_words(settings.kind),
        kind_words(other_kind)
    ))
    .with_hint("use another collection name for them"))
}

/// What a collection that does not exist yet will hold.
fn choose_kind(
    engine: &Engine,
    collection: &str,
    paths: &[PathBuf],
    options: &AddOptions,
) -> Result<(Kind, Walk), Error> {
    let given = match (&options.kind, &options.model) {
        (Some(kind), _) => Some(*kind),
        (None, Some(model)) => Some(kind_of(engine.models.get(model)?.card().modality)),
        (None, None) => None,
    };
    if let Some(kind) = given {
        let walk = told(walk(paths, wanted(collection, kind)?), options);
        return some_files(walk, paths).map(|walk| (kind, walk));
    }
    let (text, pictures) = (walk(paths, Wanted::Text), walk(paths, Wanted::Pictures));
    let (kind, walk) = match count(&text) >= count(&pictures) {
        true => (Kind::Text, text),
        false => (Kind::Image, told(pictures, options)),
    };
    some_files(walk, paths).map(|walk| (kind, walk))
}

/// Archives whose names are looked through to tell what a new collection will hold.
const ARCHIVES_COUNTED: usize = 32;

/// Files of the kind that was walked for, those within the first few archives among them.
fn count(walk: &Walk) -> usize {
    let is_archive = |found: &&Found| matches!(found.format, Format::Archive | Format::PictureArchive);
    let archives = walk.found.iter().filter(is_archive).take(ARCHIVES_COUNTED).map(|found| {
        let (texts, pictures) = archive_counts(&found.path);
        if found.format == Format::Archive { texts } else { pictures }
    });
    walk.found.iter().filter(|found| !is_archive(found)).count() + archives.sum::<usize>()
}

/// A walk with what is known of its pictures besides their bytes: the rows of tables, and the names of folders.
fn told(mut walk: Walk, options: &AddOptions) -> Walk {
    read_tables(&mut walk);
    if options.category_from_folder {
        for found in walk.found.iter_mut().filter(|found| found.format.wanted() == Wanted::Pictures) {
            let name = match found.format {
                Format::PictureArchive => found.path.file_stem(),
                _ => found.path.parent().and_then(Path::file_name),
            };
            // A folder below the one that was added is known already.
            if let (None, Some(name)) = (&found.category, name) {
                let name = name.to_string_lossy().into_owned();
                found.fields.entry("category").or_insert_with(|| name.into());
            }
        }
    }
    walk
}

/// An empty walk makes no collection.
fn some_files(walk: Walk, paths: &[PathBuf]) -> Result<Walk, Error> {
    if !walk.found.is_empty() {
        return Ok(walk);
    }
    let paths: Vec<_> = paths.iter().map(|path| format!("{path:?}")).collect();
    let mut message = format!("nothing to add in {}", paths.join(", "));
    if walk.passed_over > 0 {
        message += &format!(": {} files of other formats", walk.passed_over);
    }
    for problem in walk.problems.iter().take(3) {
        message += &format!("; {:?}: {}", problem.path, problem.reason);
    }
    Err(Error::invalid(message).with_hint(format!(
        "text collections take {}; picture collections take {}",
        Format::extensions(Wanted::Text).join(", "),
        Format::extensions(Wanted::Pictures).join(", ")
    )))
}
