//! How a collection's texts are read: prompts and long texts as they are wished for, remembered, and given to the encoder.
//!
//! Invariant: texts of one collection are read in one way for life, since vectors of texts behind other prompts cannot be
//! compared; while a collection is empty its way may still change.

use crate::error::{Error, ErrorKind};
use bilin_encode::{LongTexts, ModelCard, Reading};
use bilin_store::{Metadata, ModelRef};
use std::borrow::Cow;

/// How a collection is to read its texts; everything has a default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextWishes {
    /// Put before a query; `None`: what the model's card says.
    pub query_prompt: Option<String>,
    /// Put before a document; `None`: what the model's card says.
    pub document_prompt: Option<String>,
    /// What becomes of texts longer than the model reads; `None`: they are cut off.
    pub long_texts: Option<LongTexts>,
    /// Whether chapter and section are encoded with a text, in front of it; `None`: they are not (decision 0042).
    pub headings: Option<bool>,
}

impl TextWishes {
    /// Whether nothing is wished for.
    pub(crate) fn is_empty(&self) -> bool {
        *self == TextWishes::default()
    }

    /// For the encoder of a new collection.
    pub(crate) fn reading(&self) -> Reading {
        Reading {
            query_prompt: self.query_prompt.clone(),
            document_prompt: self.document_prompt.clone(),
            long_texts: self.long_texts.unwrap_or_default(),
        }
    }

    /// For the encoder of a collection that reads as `remembered` says, with what is wished for instead.
    pub(crate) fn changed(&self, remembered: &bilin_store::Reading) -> Reading {
        let own = remember_for_encoder(remembered);
        Reading {
            query_prompt: self.query_prompt.clone().or(own.query_prompt),
            document_prompt: self.document_prompt.clone().or(own.document_prompt),
            long_texts: self.long_texts.unwrap_or(own.long_texts),
        }
    }

    /// Why texts of a collection cannot be read so: `card` says how they are.
    pub(crate) fn conflict(
        &self,
        collection: &str,
        card: &ModelCard,
        remembered: &bilin_store::Reading,
    ) -> Option<Error> {
        let prompts = [
            ("queries", &self.query_prompt, &card.query_prompt),
            ("documents", &self.document_prompt, &card.document_prompt),
        ];
        let differ = prompts.into_iter().find_map(|(side, wish, own)| {
            let wish = wish.as_ref().filter(|wish| *wish != own)?;
            Some(format!("puts {own:?} before {side}, not {wish:?}"))
        });
        let own = remember_for_encoder(remembered).long_texts;
        let differ = differ.or_else(|| {
            let wish = self.long_texts.filter(|wish| *wish != own)?;
            Some(format!("reads long texts by \"{}\", not \"{}\"", word(own), word(wish)))
        });
        let differ = differ.or_else(|| {
            let wish = self.headings.filter(|wish| *wish != remembered.headings)?;
            let with = |headings: bool| if headings { "with" } else { "without" };
            Some(format!(
                "encodes texts {} their headings, not {} them",
                with(remembered.headings),
                with(wish)
            ))
        })?;
        let told = Error::new(ErrorKind::Conflict, format!("collection {collection:?} {differ}"));
        Some(told.with_hint("what is inside was read so: leave it out, or use another collection name"))
    }
}

/// The word for a way to read long texts.
fn word(long_texts: LongTexts) -> &'static str {
    match long_texts {
        LongTexts::Truncate => "truncate",
        LongTexts::Window => "window",
    }
}

/// What a collection remembers, as an encoder takes it.
pub(crate) fn remember_for_encoder(remembered: &bilin_store::Reading) -> Reading {
    Reading {
        query_prompt: remembered.query_prompt.clone(),
        document_prompt: remembered.document_prompt.clone(),
        long_texts: if remembered.windows { LongTexts::Window } else { LongTexts::Truncate },
    }
}

/// What a collection remembers of a model that reads its texts so; `card` is that of the model when it does.
pub(crate) fn model_ref(card: &ModelCard, reading: &Reading, headings: bool) -> ModelRef {
    ModelRef {
        id: card.id.clone(),
        revision: card.revision.clone(),
        space: card.space.clone(),
        reading: bilin_store::Reading {
            query_prompt: reading.query_prompt.clone(),
            document_prompt: reading.document_prompt.clone(),
            windows: reading.long_texts == LongTexts::Window,
            headings,
        },
    }
}

/// What is encoded of an item that shows `text`: its headings in front of it, where the collection reads them. A text that opens
/// with its section's title, as a slide does, gets the chapter alone.
pub(crate) fn encoded_text<'t>(text: &'t str, metadata: &Metadata, headings: bool) -> Cow<'t, str> {
    if !headings {
        return Cow::Borrowed(text);
    }
    let of = |name: &str| metadata.get(name).and_then(serde_json::Value::as_str);
    let opens_with_title = of("section").is_some_and(|section| text.starts_with(section));
    let path = match opens_with_title {
        true => of("chapter").map(str::to_owned).filter(|chapter| !text.starts_with(chapter.as_str())),
        false => bilin_ingest::heading_path(metadata),
    };
    match path {
        Some(path) => Cow::Owned(format!("{path}\n{text}")),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_with_both() {
        let card =
            bilin_encode::builtin().into_iter().find(|card| !card.query_prompt.is_empty()).expect("a model");
        let conflict = |wishes: &TextWishes| {
            let own = bilin_store::Reading::default();
            wishes.conflict("notes", &card, &own).map(|error| error.message).unwrap_or_default()
        };
        let own = TextWishes {
            query_prompt: Some(card.query_prompt.clone()),
            document_prompt: Some(card.document_prompt.clone()),
            long_texts: Some(LongTexts::Truncate),
            headings: Some(false),
        };
        assert_eq!(conflict(&own), "");
        assert_eq!(conflict(&TextWishes::default()), "");
        let told = conflict(&TextWishes { document_prompt: Some("x".into()), ..own.clone() });
        assert_eq!(
            told,
            format!("collection \"notes\" puts {:?} before documents, not \"x\"", card.document_prompt)
        );
        let told = conflict(&TextWishes { headings: Some(true), ..own.clone() });
        assert_eq!(told, "collection \"notes\" encodes texts without their headings, not with them");
        let told = conflict(&TextWishes { long_texts: Some(LongTexts::Window), ..own });
        assert_eq!(told, "collection \"notes\" reads long texts by \"truncate\", not \"window\"");
    }

    #[test]
    fn a_wish_takes_the_place_of_what_is_remembered() {
        let remembered = bilin_store::Reading {
            query_prompt: Some("q".into()),
            windows: true,
            ..bilin_store::Reading::default()
        };
        let wishes = TextWishes { document_prompt: Some("d".into()), ..TextWishes::default() };
        let changed = wishes.changed(&remembered);
        assert_eq!(changed.query_prompt.as_deref(), Some("q"));
        assert_eq!(changed.document_prompt.as_deref(), Some("d"));
        assert_eq!(changed.long_texts, LongTexts::Window);
    }

    #[test]
    fn headings_stand_in_front_once() {
        let of = |fields: &[(&str, &str)]| -> Metadata {
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
        };
        let passage = of(&[("chapter", "第三讲"), ("section", "索引")]);
        assert_eq!(encoded_text("先分组。", &passage, false), "先分组。");
        assert_eq!(encoded_text("先分组。", &passage, true), "第三讲 > 索引\n先分组。");
        assert_eq!(encoded_text("索引\n\n先分组。", &passage, true), "第三讲\n索引\n\n先分组。");
        let title = of(&[("chapter", "第三讲"), ("section", "第三讲")]);
        assert_eq!(encoded_text("第三讲\n\n副题", &title, true), "第三讲\n\n副题");
        assert_eq!(encoded_text("无题。", &Metadata::new(), true), "无题。");
    }
}
