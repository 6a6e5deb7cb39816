//! A collection of texts for the examples that search by words.
use bilin_index::{IndexSpec, Metric};
use bilin_store::{Batch, Collection, DataDir, Kind, NewDocument, NewItem, Settings, StoreError};
use std::sync::Arc;

const BATCH: usize = 2_048;

/// `notes`, with a document of one item for each vector of `dim` numbers and text; their ids are their positions.
pub fn filled(
    data: &DataDir,
    dim: usize,
    texts: impl IntoIterator<Item = (Vec<f32>, String)>,
) -> Result<Arc<Collection>, StoreError> {
    let settings = Settings {
        kind: Kind::Text,
        model: None,
        dim,
        metric: Metric::Cosine,
        index: IndexSpec::FLAT,
        target_recall: 0.95,
    };
    let notes = data.create("notes", &settings)?;
    let mut documents = texts.into_iter().enumerate().map(|(position, (vector, text))| {
        let item = NewItem {
            vector,
            text: Some(text),
            metadata: Default::default(),
            thumbnail: None,
            sentences: None,
        };
        NewDocument { id: position.to_string(), file: None, items: vec![item] }
    });
    loop {
        let upsert: Vec<NewDocument> = documents.by_ref().take(BATCH).collect();
        if upsert.is_empty() {
            return Ok(notes);
        }
        notes.apply(Batch { upsert, ..Batch::default() })?;
    }
}
