//! What a query comes down to: its mode, what it looks for by words, how deep, and what cannot be done.
//!
//! A mode that was asked for is done or refused. The configured one is a wish: where it does not fit (pictures, vectors,
//! "like" a document, a full text that is not whole yet, no word to look for), meaning decides, and the answer says what is missing.

use super::{Fusion, Mode, PHRASES, Per, Query, Target};
use crate::Engine;
use crate::add::kind_words;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use crate::storage::VectorStore;
use bilin_ingest::terms::Wanted;
use bilin_store::{Kind, Settings};

/// One query, settled.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) collection: String,
    pub(super) mode: Mode,
    pub(super) per: Per,
    pub(super) fusion: Fusion,
    /// How much the best sentence counts beside its passage.
    pub(super) sentences: f32,
    /// Terms of the query, where words count.
    pub(super) wanted: Option<Wanted>,
    /// Candidates of each kind.
    pub(super) depth: usize,
    /// What is not done although it was wished.
    pub(super) degraded: Vec<String>,
}

impl Plan {
    pub(super) fn of(
        engine: &Engine,
        store: &dyn VectorStore,
        settings: &Settings,
        query: &Query,
        token: &CancelToken,
    ) -> Result<Plan, Error> {
        let config = &engine.config;
        let wished = query.mode.unwrap_or(config.search_mode);
        let mut plan = Plan {
            collection: store.name().to_owned(),
            mode: Mode::Dense,
            per: query.per,
            fusion: query.fusion.unwrap_or(config.fusion),
            sentences: query.sentences.unwrap_or(config.sentence_weight).clamp(0.0, 1.0),
            wanted: None,
            depth: query.top_k,
            degraded: Vec::new(),
        };
        if wished != Mode::Dense {
            match words(engine, store.name(), settings, &query.target, wished, token) {
                Ok(wanted) => {
                    plan.wanted = Some(wanted);
                    plan.mode = wished;
                }
                Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
                Err(error) if query.mode == Some(Mode::Lexical) => return Err(error),
                // Half of what was asked for is better than nothing, as long as it is told.
                Err(error) if error.kind == ErrorKind::Busy => plan.degraded.push("lexical".to_owned()),
                Err(error) if query.mode.is_some() => return Err(error),
                Err(_) => {}
            }
        }
        if !plan.is_plain() {
            plan.depth = query.top_k.max(config.search_candidates);
        }
        Ok(plan)
    }

    /// Whether the nearest items are all that is asked for.
    pub(super) fn is_plain(&self) -> bool {
        self.mode == Mode::Dense && self.per == Per::Item
    }

    /// Whether only items with certain phrases may be found.
    pub(super) fn has_phrases(&self) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| !wanted.phrases.is_empty())
    }

    /// The same with the words of quoted phrases instead of the phrases, where a question says more than they: quotes in a question
    /// often stress a term. Whoever quotes all of it, or asks for words alone, means it: `None`.
    pub(super) fn without_phrases(&self) -> Option<Plan> {
        let wanted =
            self.wanted.as_ref().filter(|wanted| self.mode == Mode::Hybrid && wanted.asks_around_phrases)?;
        let mut plan = self.clone();
        plan.wanted = Some(Wanted { phrases: Vec::new(), ..wanted.clone() });
        plan.degraded.push(PHRASES.to_owned());
        Some(plan)
    }
}

/// What a query looks for by words, or why it cannot.
fn words(
    engine: &Engine,
    collection: &str,
    settings: &Settings,
    target: &Target,
    mode: Mode,
    token: &CancelToken,
) -> Result<Wanted, Error> {
    if settings.kind != Kind::Text {
        let holds = kind_words(settings.kind);
        return Err(Error::invalid(format!(
            "mode {mode} looks for words, and collection {collection:?} holds {holds}"
        ))
        .with_hint("leave mode out, or send \"dense\""));
    }
    let Target::Text(text) = target else {
        return Err(Error::invalid(format!(
            "mode {mode} looks for the words of a text, and the query is none"
        ))
        .with_hint("send a text, or leave mode out"));
    };
    let wanted = Wanted::of(text);
    if wanted.is_empty() {
        return Err(Error::invalid("the query holds no word, number or symbol that could be looked for")
            .with_hint("ask with words, not with punctuation alone"));
    }
    let embedded = engine.stores.collection(collection)?;
    if !engine.fillers.whole_soon(&embedded, token)? {
        let lag = embedded.full_text_lag().ok().flatten();
        let (done, all) = lag.unwrap_or_default();
        return Err(Error::new(
            ErrorKind::Busy,
            format!("the full text of collection {collection:?} has {done} of {all} items so far"),
        )
        .with_hint("it is filled in the background; search by meaning (mode dense) meanwhile"));
    }
    Ok(wanted)
}
