//! Collections as the caller sees them, and how the wishes for a new one become its fixed settings.

use crate::Engine;
use crate::cache::CacheUse;
use crate::config::EngineConfig;
use crate::error::{Error, ErrorKind};
use crate::models::{ModelPool, TextWishes, kind_of, mismatch, model_ref};
use crate::recall::LiveRecall;
use crate::reencode::ReencodeStatus;
use crate::storage::VectorStore;
use crate::storage::embedded::EmbeddedStores;
use bilin_index::{IndexSpec, Metric};
use bilin_store::{Kind, Settings, Status};

/// Largest dimension of a collection of bare vectors.
pub const MAX_DIM: usize = 65_536;

/// What a new collection should be; everything has a default.
#[derive(Clone, Debug, Default)]
pub struct NewCollection {
    /// `None`: bare vectors where `dim` is given without a model, else what the model reads, else text.
    pub kind: Option<Kind>,
    /// `None`: the configured model of that kind.
    pub model: Option<String>,
    /// Needed for bare vectors; otherwise it must be the model's.
    pub dim: Option<usize>,
    /// `None`: cosine.
    pub metric: Option<Metric>,
    /// `None`: auto.
    pub index: Option<IndexSpec>,
    /// Recall at 10 that the index is calibrated to; `None`: the configured one.
    pub target_recall: Option<f32>,
    /// How texts are read; for text collections.
    pub texts: TextWishes,
}

/// A collection as it is now.
#[derive(Clone, Debug)]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Kind, model, dimension, metric, index.
    pub settings: Settings,
    /// Counts of the newest commit, index, warnings.
    pub status: Status,
    /// `ok` or `degraded`
    pub health: String,
    /// What live queries find, once some were measured; `None` where search is exact.
    pub live_recall: Option<LiveRecall>,
    /// How often its answers were there already, since the start.
    pub cache: CacheUse,
    /// The move to another model that is under way, or the last one since the start.
    pub reencode: Option<ReencodeStatus>,
}

/// All that is known of an open collection. A model that this build does not have is one more warning, and so is upkeep
/// that fails or is late, and a backup that does not reach the other place. `reencode` is asked for before the collection is, so that
/// a move which is told as done has changed it.
pub(crate) fn info(
    engine: &Engine,
    store: &dyn VectorStore,
    reencode: Option<ReencodeStatus>,
) -> CollectionInfo {
    let settings = store.settings();
    let mut status = store.status();
    status.warnings.extend(mismatch(&engine.models, store.name(), &settings));
    status.warnings.extend(engine.board.warnings(store.name(), &engine.config.upkeep, status.seq));
    status.warnings.extend(engine.offsite.warning(store.name()));
    let health = if status.warnings.is_empty() { "ok" } else { "degraded" }.to_owned();
    let live_recall = engine.recall.live(store.name(), store.view().approximate());
    let cache = engine.answers.used(store.name());
    CollectionInfo { name: store.name().to_owned(), settings, status, health, live_recall, cache, reencode }
}

/// The settings that `new` asks for.
pub(crate) fn settings(
    new: &NewCollection,
    config: &EngineConfig,
    models: &ModelPool,
) -> Result<Settings, Error> {
    let target_recall = new.target_recall.unwrap_or(config.target_recall);
    if !(target_recall > 0.0 && target_recall <= 1.0) {
        return Err(Error::invalid(format!(
            "target_recall must be over 0 and at most 1, got {target_recall}"
        )));
    }
    let kind = match (new.kind, &new.model, new.dim) {
        (Some(kind), _, _) => kind,
        (None, Some(model), _) => kind_of(models.get(model)?.card().modality),
        (None, None, Some(_)) => Kind::Vector,
        (None, None, None) => Kind::Text,
    };
    let metric = new.metric.unwrap_or(Metric::Cosine);
    let index = new.index.clone().unwrap_or(IndexSpec::AUTO);
    if kind != Kind::Text && !new.texts.is_empty() {
        return Err(Error::invalid(format!(
            "prompts and long texts are of text collections, and this one is to hold {}",
            crate::add::kind_words(kind)
        ))
        .with_hint("leave them out"));
    }
    let (model, dim) = match kind {
        Kind::Vector => (None, vector_dim(new)?),
        Kind::Text | Kind::Image => {
            let id = new.model.as_deref().unwrap_or(match kind {
                Kind::Image => &config.default_image_model,
                _ => &config.default_text_model,
            });
            let reads = kind_of(models.get(id)?.card().modality);
            if reads != kind {
                return Err(Error::invalid(format!(
                    "model {id:?} reads {}, and the collection is to hold {}",
                    crate::add::kind_words(reads),
                    crate::add::kind_words(kind)
                ))
                .with_hint("leave out the kind or the model; each follows from the other"));
            }
            let reading = new.texts.reading();
            let encoder = models.reading(id, &reading)?;
            let card = encoder.card();
            if let Some(dim) = new.dim
                && dim != card.dim
            {
                return Err(Error::invalid(format!(
                    "model {id:?} makes vectors of dimension {}, and dim {dim} was asked for",
                    card.dim
                ))
                .with_hint("leave out dim; it follows from the model"));
            }
            (
                Some(model_ref(
                    card,
                    &reading,
                    new.texts.headings.unwrap_or(config.headings && kind == Kind::Text),
                )),
                card.dim,
            )
        }
    };
    Ok(Settings { kind, model, dim, metric, index, target_recall })
}

fn vector_dim(new: &NewCollection) -> Result<usize, Error> {
    if let Some(model) = &new.model {
        return Err(Error::invalid(format!(
            "a collection of bare vectors has no model, and {model:?} was given"
        ))
        .with_hint("leave out the model, or make a collection of kind text or image"));
    }
    match new.dim {
        Some(dim) if (1..=MAX_DIM).contains(&dim) => Ok(dim),
        Some(dim) => Err(Error::invalid(format!("dim must be 1 to {MAX_DIM}, got {dim}"))),
        None => Err(Error::invalid("a collection of bare vectors needs its dimension")
            .with_hint("give dim, for example 384")),
    }
}

/// See [`crate::Engine::default_collection`].
pub(crate) fn default_of(
    stores: &EmbeddedStores,
    kind: Kind,
    configured: Option<&str>,
) -> Result<String, Error> {
    let words = crate::add::kind_words(kind);
    if let Some(name) = configured {
        let settings = stores.get(name)?.settings();
        return match settings.kind == kind {
            true => Ok(name.to_owned()),
            false => Err(Error::invalid(format!(
                "collection {name:?} is configured as the default for {words} and holds {}",
                crate::add::kind_words(settings.kind)
            ))
            .with_hint("configure a collection of that kind")),
        };
    }
    let fitting: Vec<String> = stores
        .all()
        .iter()
        .filter(|store| store.settings().kind == kind)
        .map(|store| store.name().to_owned())
        .collect();
    match fitting.as_slice() {
        [] => Err(Error::new(ErrorKind::NotFound, format!("there is no collection of {words}"))
            .with_hint("make one with bilin add NAME FOLDER")),
        [only] => Ok(only.clone()),
        several => match several.iter().find(|name| *name == "default") {
            Some(name) => Ok(name.clone()),
            None => Err(Error::new(
                ErrorKind::Conflict,
                format!("several collections hold {words}: {}", several.join(", ")),
            )
            .with_hint("configure the default one, or name one \"default\"")),
        },
    }
}
