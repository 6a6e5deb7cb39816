//! The same thing twice: copies known by their content, and, where that is asked for, what is nearly the same by its vector.
//!
//! Content is the hash of a picture's file ([`CONTENT_HASH`] in its fields), else the text, else the vector. Neighbours come from
//! the collection's own index, a few of each item, so the work is n searches and memory is 28 bytes an item, whatever is found;
//! items that are alike are joined (union-find, Tarjan 1975), so in a group of near ones the last may be farther from the first
//! than was asked. A collection that changes meanwhile is seen as it was: all is of one view.

use crate::Engine;
use crate::add::CONTENT_HASH;
use crate::error::{Error, ErrorKind};
use crate::search::cosine;
use crate::storage::{ItemKey, Nearest, View, ViewItem};
use bilin_store::Metadata;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most groups that are answered.
pub const MAX_DUPLICATE_GROUPS: usize = 10_000;
/// Most items that are shown of a group.
pub const MAX_DUPLICATE_ITEMS: usize = 100;
/// Neighbours of each item that are looked at. Of larger crowds, each has others among its own.
const NEIGHBOURS: usize = 16;
/// Items looked at between two looks at the clock.
const PORTION: usize = 256;

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub struct DuplicateOptions {
    /// Least cosine of two items that count as nearly the same, above 0 and at most 1; `None` = only those of the same content.
    pub similarity: Option<f32>,
    /// Most groups, 1 to [`MAX_DUPLICATE_GROUPS`].
    pub limit: usize,
    /// After which time what was found so far is answered; `None` = when all is done.
    pub budget: Option<Duration>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Duplicates {
    /// The largest first, then by when they were added.
    pub groups: Vec<DuplicateGroup>,
    /// Items that were looked at.
    pub examined: usize,
    /// Whether these are all items, and all groups.
    pub complete: bool,
}

/// Items that are the same, or nearly.
#[derive(Clone, Debug)]
pub struct DuplicateGroup {
    /// Whether all of them have the same content.
    pub is_exact: bool,
    /// How many there are.
    pub count: usize,
    /// They, in the order in which they were added; at most [`MAX_DUPLICATE_ITEMS`].
    pub items: Vec<DuplicateItem>,
}

/// One of a group.
#[derive(Clone, Debug)]
pub struct DuplicateItem {
    /// Its document.
    pub id: String,
    /// Position in its document, from 0.
    pub ordinal: u32,
    /// Cosine to the first of the group.
    pub similarity: f32,
    /// Fields of the item.
    pub metadata: Metadata,
}

/// See [`Engine::duplicates`].
pub(crate) fn duplicates(
    engine: &Engine,
    view: &dyn View,
    options: &DuplicateOptions,
    progress: &dyn Fn(usize, usize) -> bool,
) -> Result<Duplicates, Error> {
    check(options)?;
    let deadline = options.budget.and_then(|budget| Instant::now().checked_add(budget));
    let keys = view.keys();
    let mut sets = Sets::new(keys.len());
    let mut contents: Vec<u128> = Vec::with_capacity(keys.len());
    let mut examined = 0;
    for portion in keys.chunks(PORTION) {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
        contents.extend(view.items(portion)?.iter().map(content));
        if let Some(similarity) = options.similarity {
            let near = |key: &ItemKey| near(view, *key, similarity);
            let found: Result<Vec<Vec<ItemKey>>, Error> =
                engine.background.install(|| portion.par_iter().map(near).collect());
            for (at, others) in (examined..).zip(found?) {
                others
                    .iter()
                    .filter_map(|key| keys.binary_search(key).ok())
                    .for_each(|other| sets.join(at, other));
            }
        }
        examined += portion.len();
        if !progress(examined, keys.len()) {
            return Err(Error::new(ErrorKind::Cancelled, "looking for duplicates was stopped"));
        }
    }
    let mut by_content: Vec<usize> = (0..contents.len()).collect();
    by_content.sort_unstable_by_key(|&at| (contents.get(at).copied(), at));
    for pair in by_content.windows(2) {
        if let &[one, other] = pair
            && contents.get(one) == contents.get(other)
        {
            sets.join(one, other);
        }
    }
    let mut groups: Vec<Vec<usize>> = sets.groups();
    let all = groups.len();
    groups.truncate(options.limit);
    let groups = groups.into_iter().map(|group| shown(view, &keys, &contents, &group));
    Ok(Duplicates {
        groups: groups.collect::<Result<_, Error>>()?,
        examined,
        complete: examined == keys.len() && all <= options.limit,
    })
}

fn check(options: &DuplicateOptions) -> Result<(), Error> {
    if let Some(similarity) = options.similarity
        && !(similarity > 0.0 && similarity <= 1.0)
    {
        return Err(Error::invalid(format!("similarity must be above 0 and at most 1, got {similarity}"))
            .with_hint("0.98 finds copies that were cut, scaled or compressed anew"));
    }
    if !(1..=MAX_DUPLICATE_GROUPS).contains(&options.limit) {
        let limit = options.limit;
        return Err(Error::invalid(format!("limit must be 1 to {MAX_DUPLICATE_GROUPS}, got {limit}"))
            .with_hint("ask for fewer groups"));
    }
    Ok(())
}

/// What two copies have in common.
fn content(item: &ViewItem) -> u128 {
    let hashed = match (item.metadata.get(CONTENT_HASH), &item.text) {
        (_, Some(text)) => blake3::hash(text.as_bytes()),
        (Some(serde_json::Value::String(hash)), None) => blake3::hash(hash.as_bytes()),
        (_, None) => {
            let mut hasher = blake3::Hasher::new();
            item.vector.iter().for_each(|value| {
                hasher.update(&value.to_le_bytes());
            });
            hasher.finalize()
        }
    };
    hashed.as_bytes().iter().take(16).fold(0, |number, &byte| number << 8 | u128::from(byte))
}

/// Items at least so similar to one, among its nearest.
fn near(view: &dyn View, key: ItemKey, similarity: f32) -> Result<Vec<ItemKey>, Error> {
    let vector = view.vector(key);
    // One more, for it finds itself.
    let request =
        Nearest { vector: &vector, k: NEIGHBOURS + 1, effort: None, filter: None, exclude: &[], only: None };
    let nearest = view.nearest(&request)?;
    let is_near = |other: &ItemKey| *other != key && cosine(&vector, &view.vector(*other)) >= similarity;
    Ok(nearest.into_iter().map(|near| near.key).filter(is_near).collect())
}

/// A group as it is answered.
fn shown(
    view: &dyn View,
    keys: &[ItemKey],
    contents: &[u128],
    group: &[usize],
) -> Result<DuplicateGroup, Error> {
    let first = group.first().and_then(|&at| contents.get(at));
    // What was not looked at itself, but found beside another, has no content yet.
    let is_exact = group.iter().all(|&at| contents.get(at) == first && first.is_some());
    let some: Vec<ItemKey> =
        group.iter().take(MAX_DUPLICATE_ITEMS).filter_map(|&at| keys.get(at).copied()).collect();
    let items = view.items(&some)?;
    let vector = items.first().map(|item| item.vector.clone()).unwrap_or_default();
    let items = items.into_iter().map(|item| DuplicateItem {
        similarity: cosine(&vector, &item.vector),
        id: item.document,
        ordinal: item.ordinal,
        metadata: item.metadata,
    });
    Ok(DuplicateGroup { is_exact, count: group.len(), items: items.collect() })
}

/// Union-find: each points towards the first of its set.
struct Sets(Vec<u32>);

impl Sets {
    fn new(count: usize) -> Sets {
        Sets((0..u32::try_from(count).unwrap_or(u32::MAX)).collect())
    }

    fn first(&mut self, mut at: usize) -> usize {
        loop {
            let next = self.0.get(at).map_or(at, |&next| next as usize);
            if next == at {
                return at;
            }
            // Halving the way on the way.
            let after = self.0.get(next).copied().unwrap_or(next as u32);
            if let Some(link) = self.0.get_mut(at) {
                *link = after;
            }
            at = after as usize;
        }
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        if let Some(link) = self.0.get_mut(one.max(other)) {
            *link = one.min(other) as u32;
        }
    }

    /// Sets of several, the largest first, then by their first.
    fn groups(mut self) -> Vec<Vec<usize>> {
        let mut by_first: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..self.0.len() {
            let first = self.first(at);
            if first != at {
                by_first.entry(first).or_insert_with(|| vec![first]).push(at);
            }
        }
        let mut groups: Vec<Vec<usize>> = by_first.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_joined_whatever_the_order() {
        let mut sets = Sets::new(9);
        for (one, other) in [(7, 3), (5, 7), (1, 2), (3, 5), (8, 8), (2, 1)] {
            sets.join(one, other);
        }
        assert_eq!(sets.groups(), [vec![3, 5, 7], vec![1, 2]]);
        assert!(Sets::new(0).groups().is_empty());
    }
}
