//! Moving a collection to another model: all of its content is encoded anew while it is searched and written to.
//!
//! The store makes a successor aside and lets it take the place of the collection in one step (`bilin_store::Successor`,
//! decision 0045); here it gets its vectors. Invariants: until the switch everything is the old model's, after it everything is the new
//! one's; what cannot be encoded anew (a picture whose file is gone or changed) is named and counted, and ends the job before
//! the switch unless it is to be left out; a collection has one such job at a time.
//!
//! | room | what happens there |
//! |---|---|
//! | `status` | what is told of a job; the table of jobs |
//! | `job` | from the first document to the switch |
//! | `content` | documents and their files become vectors |

mod content;
mod job;
mod status;

pub(crate) use status::Reencodings;
pub use status::{ReencodeStage, ReencodeStatus};

use crate::Engine;
use crate::add::kind_words;
use crate::error::{Error, ErrorKind};
use crate::models::{kind_of, model_ref, remember_for_encoder};
use bilin_encode::{Encoder, Reading};
use bilin_store::{Collection, Kind, ModelRef, Settings};
use status::Job;
use std::sync::Arc;
use std::thread::Builder;

/// What to move to, and how.
#[derive(Clone, Debug, Default)]
pub struct ReencodeOptions {
    /// Id of a model, or its path.
    pub model: String,
    /// Leave out documents that cannot be encoded anew, rather than stop before anything is changed.
    pub drop_missing: bool,
    /// Also when the model is the one that made the vectors.
    pub force: bool,
}

/// What a job is to do; nothing has begun.
struct Plan {
    source: Arc<Collection>,
    encoder: Arc<dyn Encoder>,
    /// Those of the collection to be.
    settings: Settings,
    drop_missing: bool,
}

/// Told of progress, from any thread; `false` = stop.
pub type Watch<'a> = dyn Fn(&ReencodeStatus) -> bool + Sync + 'a;

impl Engine {
    /// Moves a collection to another model; returns when it was switched. Searches and writes go on meanwhile.
    ///
    /// # Errors
    /// Invalid input for a collection of bare vectors and a model of the other kind; conflict for the model it has
    /// (without `force`), while it is moved, merged or restored already, and for documents that cannot be encoded anew
    /// (without `drop_missing`); no space; cancelled when `watch` said so. Nothing was changed then.
    pub fn reencode(
        &self,
        collection: &str,
        options: &ReencodeOptions,
        watch: &Watch<'_>,
    ) -> Result<ReencodeStatus, Error> {
        let plan = self.plan_reencode(collection, options)?;
        let job = self.reencodings.begin(collection, &plan)?;
        self.run_reencode(&job, plan, watch)
    }

    /// As [`Engine::reencode`], on a thread of its own; returns once it has begun. How it goes on is in
    /// [`Engine::reencode_status`].
    ///
    /// # Errors
    /// What [`Engine::reencode`] refuses before it begins.
    pub fn start_reencode(
        self: &Arc<Engine>,
        collection: &str,
        options: &ReencodeOptions,
    ) -> Result<ReencodeStatus, Error> {
        let plan = self.plan_reencode(collection, options)?;
        let job = self.reencodings.begin(collection, &plan)?;
        let (engine, working, name) = (Arc::clone(self), Arc::clone(&job), collection.to_owned());
        let spawned = Builder::new()
            .name("bilin-reencode".to_owned())
            // Nobody waits for what comes of it: it is in its status and in the log.
            .spawn(move || {
                if let Err(error) = engine.run_reencode(&working, plan, &|_| true) {
                    tracing::error!(collection = name, model = working.status().model, %error, "not moved");
                }
            });
        match spawned {
            Ok(thread) => {
                self.reencodings.keep(collection, &job, thread);
                Ok(job.status())
            }
            Err(error) => {
                let error = Error::new(ErrorKind::Io, format!("cannot start a thread: {error}"));
                job.end(&Err(&error));
                Err(error)
            }
        }
    }

    /// The job of a collection that runs, or the one that ran last since the start.
    pub fn reencode_status(&self, collection: &str) -> Option<ReencodeStatus> {
        self.reencodings.status(collection)
    }

    /// Stops the job of a collection, which stays as it was; returns at once with what was done.
    ///
    /// # Errors
    /// Not found when none runs.
    pub fn cancel_reencode(&self, collection: &str) -> Result<ReencodeStatus, Error> {
        self.stores.get(collection)?;
        self.reencodings.cancel(collection).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("collection {collection:?} is not being moved to a model"),
            )
            .with_hint("there is nothing to stop; GET of the collection tells how the last job ended")
        })
    }

    fn plan_reencode(&self, collection: &str, options: &ReencodeOptions) -> Result<Plan, Error> {
        let source = self.stores.collection(collection)?;
        let before = source.settings();
        let Some(model) = before.model.as_ref().filter(|_| before.kind != Kind::Vector) else {
            let told = format!(
                "collection {collection:?} holds bare vectors: there is neither text nor a picture to encode anew"
            );
            return Err(Error::invalid(told).with_hint("add vectors of the other model to a new collection"));
        };
        let reading = self.reading_after(model, &options.model)?;
        let encoder = self.models.reading(&options.model, &reading)?;
        let card = encoder.card();
        let reads = kind_of(card.modality);
        if reads != before.kind {
            return Err(Error::invalid(format!(
                "model {:?} reads {}, and collection {collection:?} holds {}",
                options.model,
                kind_words(reads),
                kind_words(before.kind)
            ))
            .with_hint("name a model of that kind; bilin model list shows the built-in ones"));
        }
        if !options.force && (&model.revision, &model.space) == (&card.revision, &card.space) {
            let told = format!(
                "collection {collection:?} holds vectors of model {:?} revision {} already",
                card.id, card.revision
            );
            return Err(Error::new(ErrorKind::Conflict, told)
                .with_hint("to encode everything anew with the same model, say --force"));
        }
        let settings = Settings {
            model: Some(model_ref(card, &reading, model.reading.headings)),
            dim: card.dim,
            ..before
        };
        Ok(Plan { source, encoder, settings, drop_missing: options.drop_missing })
    }

    /// How texts are read by the model `next` after `model`: long ones as before; prompts are those of the model that they were given
    /// for, so another one puts its own.
    fn reading_after(&self, model: &ModelRef, next: &str) -> Result<Reading, Error> {
        let before = remember_for_encoder(&model.reading);
        match self.models.get(next)?.card().id == model.id {
            true => Ok(before),
            false => Ok(Reading { long_texts: before.long_texts, ..Reading::default() }),
        }
    }

    fn run_reencode(&self, job: &Arc<Job>, plan: Plan, watch: &Watch<'_>) -> Result<ReencodeStatus, Error> {
        let name = plan.source.name().to_owned();
        let told = job.status();
        tracing::info!(collection = name, from = told.from, to = told.model, "moving to another model");
        // Ends the job whatever happens, a panic included.
        let _ends = status::Ends(job);
        let done = job::run(self, job, &plan, watch);
        job.end(&done.as_ref().map(|_| ()));
        let status = job.status();
        if done.is_ok() {
            tracing::info!(
                collection = name,
                model = status.model,
                items = status.items_done,
                missing = status.missing,
                writers_waited_ms = status.writers_waited_ms,
                "moved to another model"
            );
        }
        done.map(|()| status)
    }
}
