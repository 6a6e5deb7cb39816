//! [`Engine`]: the use cases over one data folder.
//!
//! Blocking and thread safe: any number of threads may add and search at once. Two thread pools of the configured size
//! keep them apart: searches run in the foreground pool, adding and maintenance in the background pool, so that a search
//! never queues behind a batch of documents and the operating system shares the CPUs between the two. No lock is held
//! while a pool works for a caller, so a pool thread that waits can always take up other work.

use crate::add::{self, AddOptions, AddProgress, AddReport, Added, NewDocument};
use crate::cache::{AnswerCache, QueryVectors};
use crate::cancel::CancelToken;
use crate::collection::{self, CollectionInfo, NewCollection};
use crate::config::EngineConfig;
use crate::duplicates::{self, DuplicateOptions, Duplicates};
use crate::error::{Error, ErrorKind};
use crate::faiss::{self, ExportOptions, Exported, ImportOptions, Imported};
use crate::full_text::Fillers;
use crate::health::{self, Health};
use crate::history::Histories;
use crate::lookup::{self, FoundDocument};
use crate::models::ModelPool;
use crate::offsite::Offsite;
use crate::passes::{EncodeObserver, Passes, QueryInput};
use crate::recall::Recorder;
use crate::reencode::Reencodings;
use crate::rerank::Rerankers;
use crate::search::{self, Answer, Manner, Mode, Query, Restraint};
use crate::storage::VectorStore;
use crate::storage::embedded::EmbeddedStores;
use crate::tune::{self, TuneOptions, Tuned, Tunings};
use crate::upkeep::Board;
use crate::watch::WatchBoard;
use bilin_encode::{Encoder, Modality, ModelCard, Prompt};
use bilin_store::{Applied, Facets, Filter, Kind};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most texts in one `encode_texts`.
pub const MAX_TEXTS_PER_REQUEST: usize = 100_000;

/// The whole of bilin over one data folder.
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) stores: EmbeddedStores,
    pub(crate) models: ModelPool,
    /// Where queries share forward passes.
    pub(crate) passes: Passes,
    /// Answers that were given already.
    pub(crate) answers: Arc<AnswerCache>,
    /// Vectors of queries that were asked before.
    pub(crate) query_vectors: QueryVectors,
    /// Searches and other things that somebody waits for.
    pub(crate) foreground: ThreadPool,
    /// Adding and maintenance.
    pub(crate) background: ThreadPool,
    /// What upkeep knows.
    pub(crate) board: Board,
    /// What live queries find.
    pub(crate) recall: Recorder,
    /// Moves to other models.
    pub(crate) reencodings: Reencodings,
    /// What is being tuned.
    pub(crate) tunings: Tunings,
    /// Cross-encoders that are open.
    pub(crate) rerankers: Rerankers,
    /// What is known of watched folders.
    pub(crate) watching: WatchBoard,
    /// Backups beyond this machine.
    pub(crate) offsite: Offsite,
    /// Full texts that are being filled.
    pub(crate) fillers: Fillers,
    /// What evaluations and studies came to.
    pub(crate) histories: Histories,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Engine {
    /// Locks and opens the data folder and every collection in it. A collection that cannot be opened is reported by
    /// [`Engine::health`] and does not stop the others. Models are opened when they are first needed.
    pub fn open(config: EngineConfig) -> Result<Engine, Error> {
        let threads = config.thread_count();
        let foreground = pool("search", threads)?;
        let background = pool("add", threads)?;
        let stores = EmbeddedStores::open(&config.data)?;
        Ok(Engine {
            answers: Arc::new(AnswerCache::new(&config)),
            query_vectors: QueryVectors::new(config.cache.vector_bytes),
            histories: Histories::new(&config.data),
            config,
            stores,
            models: ModelPool::default(),
            passes: Passes::new(threads),
            foreground,
            background,
            board: Board::default(),
            recall: Recorder::default(),
            reencodings: Reencodings::default(),
            tunings: Tunings::default(),
            rerankers: Rerankers::default(),
            watching: WatchBoard::default(),
            offsite: Offsite::default(),
            fillers: Fillers::default(),
        })
    }

    /// How this engine runs.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Every collection, by name.
    pub fn collections(&self) -> Vec<CollectionInfo> {
        let all = self.stores.all();
        all.iter().map(|store| collection::info(self, &**store, self.reencode_status(store.name()))).collect()
    }

    /// How many collections are open.
    pub fn open_count(&self) -> usize {
        self.stores.all().len()
    }

    /// How many collections could not be opened.
    pub fn broken_count(&self) -> usize {
        self.stores.broken().len()
    }

    /// One collection.
    pub fn collection(&self, name: &str) -> Result<CollectionInfo, Error> {
        let reencode = self.reencode_status(name);
        Ok(collection::info(self, &*self.stores.get(name)?, reencode))
    }

    /// Makes an empty collection.
    pub fn create(&self, name: &str, new: &NewCollection) -> Result<CollectionInfo, Error> {
        let reencode = self.reencode_status(name);
        Ok(collection::info(self, &*self.create_store(name, new)?, reencode))
    }

    pub(crate) fn create_store(
        &self,
        name: &str,
        new: &NewCollection,
    ) -> Result<Arc<dyn VectorStore>, Error> {
        let settings = collection::settings(new, &self.config, &self.models)?;
        self.stores.create(name, &settings, self.config.rows_per_segment)
    }

    /// Removes a collection with everything in it.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.stores.remove(name)?;
        self.answers.forget(name);
        if let Err(error) = self.histories.forget(name) {
            tracing::warn!(collection = name, %error, "the history of its evaluations cannot be removed");
        }
        Ok(())
    }

    /// Walks, reads, encodes and commits in batches; creates the collection when missing (its kind from the options, or
    /// from what most of the files are). Unchanged files are not read again, changed ones are replaced. A bad file is a
    /// problem in the report and does not stop the others.
    pub fn add_paths(
        &self,
        collection: &str,
        paths: &[PathBuf],
        options: &AddOptions,
        progress: &dyn AddProgress,
    ) -> Result<AddReport, Error> {
        let report = add::add_paths(self, collection, paths, options, progress);
        self.nudge();
        report
    }

    /// Adds or replaces documents by id, all or none; durable when it returns.
    pub fn add_documents(&self, collection: &str, documents: Vec<NewDocument>) -> Result<Added, Error> {
        let add = |documents| {
            self.writing(collection, |_| add::documents::add_documents(self, collection, documents))
        };
        // Vectors are of one model for good, so nothing can take the collection's place but a backup.
        let kept = match self.stores.get(collection)?.settings().kind {
            Kind::Vector => None,
            Kind::Text | Kind::Image => Some(documents.clone()),
        };
        match (add(documents), kept) {
            (Err(error), Some(documents)) if self.stores.has_successor(collection, &error) => add(documents),
            (added, _) => added,
        }
    }

    /// Deletes documents by id, as one commit. Unknown ids delete nothing.
    pub fn delete_documents(&self, collection: &str, ids: &[String]) -> Result<Applied, Error> {
        self.deleting(collection, |store| lookup::delete(store, ids))
    }

    /// Deletes every document of which an item satisfies the filter, as one commit.
    pub fn delete_where(&self, collection: &str, filter: &Filter) -> Result<Applied, Error> {
        self.deleting(collection, |store| lookup::delete_where(store, filter))
    }

    /// Deletes from what serves, also when that changes at this moment.
    fn deleting(
        &self,
        collection: &str,
        delete: impl Fn(&dyn VectorStore) -> Result<Applied, Error>,
    ) -> Result<Applied, Error> {
        self.stores.on_what_serves(collection, || self.writing(collection, &delete))
    }

    /// Takes the vectors of a FAISS index file, and the metadata beside it, into a collection; makes it when it is missing.
    /// What is refused has changed nothing.
    pub fn import_faiss(
        &self,
        collection: &str,
        index: &Path,
        options: &ImportOptions,
        progress: &dyn AddProgress,
    ) -> Result<Imported, Error> {
        let imported = faiss::import(self, collection, index, options, progress);
        self.nudge();
        imported
    }

    /// Writes a collection as a FAISS index file and a list of metadata into a folder, which is made when it is missing.
    pub fn export_faiss(
        &self,
        collection: &str,
        folder: &Path,
        options: &ExportOptions,
        progress: &dyn AddProgress,
    ) -> Result<Exported, Error> {
        faiss::export(self, collection, folder, options, progress)
    }

    /// A document by id.
    pub fn document(&self, collection: &str, id: &str) -> Result<Option<FoundDocument>, Error> {
        self.reading(collection, |store| lookup::document(store, id))
    }

    /// The file that a document came from; `None` where it came by API, or there is no such document.
    pub fn document_file(&self, collection: &str, id: &str) -> Result<Option<PathBuf>, Error> {
        self.reading(collection, |store| Ok(store.document_file(id)?.flatten().map(PathBuf::from)))
    }

    /// The small JPEG of a picture document.
    pub fn thumbnail(&self, collection: &str, id: &str) -> Result<Option<Vec<u8>>, Error> {
        self.reading(collection, |store| store.view().thumbnail(id))
    }

    /// The most frequent values of a field, at most [`crate::MAX_FACETS`], with the number of items that have them.
    pub fn facets(&self, collection: &str, field: &str, filter: Option<&Filter>) -> Result<Facets, Error> {
        self.reading(collection, |store| lookup::facets(store, field, filter))
    }

    /// Finds what is inside twice; `progress` gets items looked at and items in all, and stops it with `false`.
    ///
    /// # Errors
    /// Also [`ErrorKind::Cancelled`].
    pub fn duplicates(
        &self,
        collection: &str,
        options: &DuplicateOptions,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Duplicates, Error> {
        self.reading(collection, |store| duplicates::duplicates(self, &*store.view(), options, progress))
    }

    /// Finds the nearest items.
    pub fn search(&self, collection: &str, query: &Query) -> Result<Answer, Error> {
        self.search_cancellable(collection, query, &CancelToken::new())
    }

    /// As [`Engine::search`]; a query that is cancelled before its turn at the encoder comes is not encoded.
    ///
    /// # Errors
    /// Also [`ErrorKind::Cancelled`].
    pub fn search_cancellable(
        &self,
        collection: &str,
        query: &Query,
        token: &CancelToken,
    ) -> Result<Answer, Error> {
        self.reading(collection, |store| search::search(self, store, query, &Manner::default(), token))
    }

    /// As [`Engine::search_cancellable`], for a service that many ask: vectors of queries are remembered, and less is done where
    /// `restraint` says so.
    ///
    /// # Errors
    /// As there.
    pub fn serve(
        &self,
        collection: &str,
        query: &Query,
        restraint: Restraint,
        token: &CancelToken,
    ) -> Result<Answer, Error> {
        let manner = Manner { remembers: true, restraint };
        self.reading(collection, |store| search::search(self, store, query, &manner, token))
    }

    /// Vectors of texts, `[n, dim]` row-major, and `dim`. `None` = the configured text model.
    pub fn encode_texts(
        &self,
        model: Option<&str>,
        texts: &[String],
        prompt: Prompt,
    ) -> Result<(Vec<f32>, usize), Error> {
        self.encode_texts_cancellable(model, texts, prompt, &CancelToken::new())
    }

    /// As [`Engine::encode_texts`]; what is not encoded yet when it is cancelled never is.
    ///
    /// # Errors
    /// Also [`ErrorKind::Cancelled`].
    pub fn encode_texts_cancellable(
        &self,
        model: Option<&str>,
        texts: &[String],
        prompt: Prompt,
        token: &CancelToken,
    ) -> Result<(Vec<f32>, usize), Error> {
        if texts.len() > MAX_TEXTS_PER_REQUEST {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("{} texts in one request, the limit is {MAX_TEXTS_PER_REQUEST}", texts.len()),
            )
            .with_hint("send them in several requests"));
        }
        let encoder = self.text_encoder(model)?;
        if let Some(index) = texts.iter().position(|text| text.trim().is_empty()) {
            return Err(Error::invalid(format!("text {index} is empty")));
        }
        let inputs = texts.iter().map(|text| QueryInput::Text { text: text.clone(), prompt }).collect();
        let vectors = self.passes.encode(&self.foreground, &encoder, inputs, token)?;
        Ok((vectors, encoder.card().dim))
    }

    /// Tokens that a model reads of texts, prompts and special tokens included, all texts together.
    pub fn count_tokens(
        &self,
        model: Option<&str>,
        texts: &[String],
        prompt: Prompt,
    ) -> Result<usize, Error> {
        let encoder = self.text_encoder(model)?;
        let count = |text: &String| encoder.token_ids(text, prompt).len();
        Ok(match texts {
            [text] => count(text),
            texts => self.foreground.install(|| texts.par_iter().map(count).sum()),
        })
    }

    /// The card of a model that reads text, opened if need be; `None` = the configured one.
    pub fn text_model(&self, model: Option<&str>) -> Result<ModelCard, Error> {
        Ok(self.text_encoder(model)?.card().clone())
    }

    /// A model that reads text; `None` = the configured one.
    fn text_encoder(&self, model: Option<&str>) -> Result<Arc<dyn Encoder>, Error> {
        let id = model.unwrap_or(&self.config.default_text_model);
        let encoder = self.models.get(id)?;
        match encoder.card().reads(Modality::Text) {
            true => Ok(encoder),
            false => Err(Error::invalid(format!("model {id:?} reads pictures, not text"))
                .with_hint("leave out the model for the default text model")),
        }
    }

    /// `observer` is told of every forward pass that queries share, from now on. Only the first one given counts.
    pub fn observe_encoding(&self, observer: EncodeObserver) {
        self.passes.observe(observer);
    }

    /// Measures which index suits a collection; changes it when told to.
    pub fn tune(
        &self,
        collection: &str,
        options: &TuneOptions,
        progress: &(dyn Fn(usize, usize) -> bool + Sync),
    ) -> Result<Tuned, Error> {
        tune::tune(self, collection, options, progress)
    }

    /// Whether everything works; never fails.
    pub fn health(&self) -> Health {
        health::health(self)
    }

    /// The models of this build, and those at a path that are open.
    pub fn models(&self) -> Vec<ModelCard> {
        self.models.cards()
    }

    /// Refuses a model that is neither of this build nor configured nor that of a collection: callers on other machines must
    /// not have files of this one opened.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] naming what may be asked for.
    pub fn check_offered(&self, model: Option<&str>) -> Result<(), Error> {
        let Some(asked) = model else { return Ok(()) };
        let mut offered: BTreeSet<String> = bilin_encode::builtin().into_iter().map(|card| card.id).collect();
        for configured in [&self.config.default_text_model, &self.config.default_image_model] {
            offered.extend([configured.clone(), bilin_encode::full_id(configured)]);
        }
        offered.extend(
            self.stores.all().iter().filter_map(|store| store.settings().model.map(|model| model.id)),
        );
        if offered.contains(asked) {
            return Ok(());
        }
        let offered: Vec<&str> = offered.iter().map(String::as_str).collect();
        let told = format!("this service has no model {asked:?}, only {}", offered.join(", "));
        Err(Error::new(ErrorKind::NotFound, told).with_hint(
            "it gets to know a model at a path by bilin serve --model, or from a collection made with bilin add --model",
        ))
    }

    /// Unpacks the models that open collections need, so that the first search need not wait for it.
    pub fn warm_up(&self) -> Result<(), Error> {
        for store in self.stores.all() {
            self.models.for_settings(store.name(), &store.settings())?;
        }
        if let Some(model) = &self.config.rerank.model {
            self.rerankers.get(model)?;
        }
        Ok(())
    }

    /// Begins to fill, in the background, every full text that is not whole, and unpacks the dictionary where searches need it.
    pub fn begin_full_texts(&self) {
        if self.config.search_mode != Mode::Dense {
            bilin_ingest::terms::warm_up();
        }
        for collection in self.stores.collections() {
            if let Err(error) = self.fillers.begin(&collection) {
                tracing::error!(collection = collection.name(), %error, "cannot fill the full text");
            }
        }
    }

    /// Fills the full text of a collection on this thread until it is whole or `progress` (told how many of how many slots are
    /// done) says no; says whether it is whole.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn fill_full_text(
        &self,
        collection: &str,
        progress: &dyn Fn(usize, usize) -> bool,
    ) -> Result<bool, Error> {
        let filled = self.stores.collection(collection)?.fill_full_text(progress);
        filled.map_err(|error| crate::error::for_collection(error, collection))
    }

    /// The collection that `/text-search` and `/image-search` mean: the configured one, else the only one of that kind,
    /// else (several) the one named `default`, else an error that names them.
    pub fn default_collection(&self, kind: Kind, configured: Option<&str>) -> Result<String, Error> {
        collection::default_of(&self.stores, kind, configured)
    }
}

/// Threads of a purpose's own, `bilin-NAME-0` and so on.
pub(crate) fn pool(name: &'static str, threads: usize) -> Result<ThreadPool, Error> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(move |index| format!("bilin-{name}-{index}"))
        .build()
        .map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot start {threads} threads: {error}")).with_source(error)
        })
}
