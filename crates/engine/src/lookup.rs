//! Single documents: reading them back, and taking them out; and what values their fields have.

use crate::error::Error;
use crate::storage::VectorStore;
use bilin_store::{Applied, Batch, Facets, Filter, Metadata};

/// A document as it is kept.
#[derive(Clone, Debug)]
pub struct FoundDocument {
    /// Its id.
    pub id: String,
    /// Its items, in order.
    pub items: Vec<FoundItem>,
}

/// An item as it is kept.
#[derive(Clone, Debug)]
pub struct FoundItem {
    /// Position in its document, from 0.
    pub ordinal: u32,
    /// Displayed text; `None` for pictures and bare vectors.
    pub text: Option<String>,
    /// Fields of the item.
    pub metadata: Metadata,
    /// Its vector; unit length under the cosine metric.
    pub vector: Option<Vec<f32>>,
}

/// A document by id, in the newest commit.
pub(crate) fn document(store: &dyn VectorStore, id: &str) -> Result<Option<FoundDocument>, Error> {
    let items = store.view().document(id)?;
    if items.is_empty() {
        return Ok(None);
    }
    let items = items.into_iter().map(|item| FoundItem {
        ordinal: item.ordinal,
        text: item.text,
        metadata: item.metadata,
        vector: Some(item.vector),
    });
    Ok(Some(FoundDocument { id: id.to_owned(), items: items.collect() }))
}

/// Most values of a field that are counted apart.
pub const MAX_FACETS: usize = 50;
/// Longest name of a field, bytes.
const MAX_FIELD_BYTES: usize = 256;

/// The most frequent values of a field among items that satisfy the filter.
pub(crate) fn facets(store: &dyn VectorStore, field: &str, filter: Option<&Filter>) -> Result<Facets, Error> {
    if field.is_empty() || field.len() > MAX_FIELD_BYTES || field.contains(['"', '\\']) {
        let shown: String = field.chars().take(60).collect();
        return Err(Error::invalid(format!(
            "expected the name of a field, 1 to {MAX_FIELD_BYTES} bytes without quotation marks and backslashes, got {shown:?}"
        ))
        .with_hint("fields are those of the metadata of results, such as category"));
    }
    store.view().facets(field, filter, MAX_FACETS)
}

/// Deletes documents by id as one commit; unknown ids delete nothing.
pub(crate) fn delete(store: &dyn VectorStore, ids: &[String]) -> Result<Applied, Error> {
    if ids.is_empty() {
        return Ok(Applied { seq: store.view().seq(), ..Applied::default() });
    }
    store.apply(Batch { delete: ids.to_vec(), ..Batch::default() })
}

/// Deletes every document of which an item satisfies the filter, as one commit.
pub(crate) fn delete_where(store: &dyn VectorStore, filter: &Filter) -> Result<Applied, Error> {
    store.apply(Batch { delete_where: vec![filter.clone()], ..Batch::default() })
}
