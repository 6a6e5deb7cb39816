//! [`Snapshot::search_text`]: BM25 over the live rows of one commit.
//!
//! Formula: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with Lucene's
//! `ln(1 + (N - n + 0.5) / (n + 0.5))`, which is never negative. N, n and lengths are those of the snapshot's live rows, so
//! that a score depends neither on what was deleted nor on what others add meanwhile; a filter narrows the hits, not the
//! statistics. A phrase counts as one term that is there once.
//!
//! Time is bounded by postings, not by the collection: of a query's terms the rarest [`MAX_SCORED_TERMS`] count, and of
//! these as many as have [`MAX_POSTINGS`] together. What is left out is named; it is what would have decided least. A query of
//! nothing but one such word is ranked among its first occurrences.

use super::postings::Rows;
use super::sums::Sums;
use crate::catalog;
use crate::error::StoreError;
use crate::settings::Kind;
use crate::snapshot::Snapshot;
use bilin_index::RowSet;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Terms of a query that are looked up at all.
pub const MAX_TERMS: usize = 1_024;
/// Terms that count.
pub const MAX_SCORED_TERMS: usize = 64;
/// Occurrences that are read for one query.
pub const MAX_POSTINGS: usize = 1 << 18;
/// How often the caller is asked whether to go on.
const ASK_EVERY: usize = 8_192;

/// What to find by words.
#[derive(Clone, Copy, Debug)]
pub struct TextQuery<'a> {
    /// Id of the analyzer that made the terms.
    pub analyzer: &'a str,
    /// Terms of which any may be there: words, and units with their mark.
    pub terms: &'a [String],
    /// Rows of units (with their marks), each of which must be there.
    pub phrases: &'a [Vec<String>],
    /// Most hits.
    pub limit: usize,
    /// BM25: how fast repeating a word stops to count.
    pub k1: f32,
    /// BM25: how much long texts are held against them, 0 to 1.
    pub b: f32,
}

/// An item that was found by words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextHit {
    /// Its slot.
    pub row: u32,
    /// BM25, higher is better.
    pub score: f32,
}

/// What was found by words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextHits {
    /// Best first, ties by slot.
    pub hits: Vec<TextHit>,
    /// How much each term that is there at all counts (its inverse document frequency).
    pub weights: BTreeMap<String, f32>,
    /// The most that an item could score: every term of the query, also those that are nowhere, said as often as counts.
    pub most: f32,
    /// Terms that were too common to be counted.
    pub left_out: Vec<String>,
}

/// The terms of a query.
struct Chosen {
    /// Those that count.
    terms: Vec<String>,
    /// How many are in no item.
    nowhere: usize,
    /// Those that are too common.
    left_out: Vec<String>,
}

/// The occurrences of one term in live rows: slot and how often.
struct Postings {
    term: String,
    rows: Rows,
}

impl Snapshot {
    /// Finds items by the words of their texts: live at this commit, in `filter` where there is one. `go_on` is asked now and
    /// then; once it says no, the search ends.
    ///
    /// # Errors
    /// [`StoreError::FullText`] while the full text is not whole, [`StoreError::Limit`] for a collection without texts,
    /// [`StoreError::Cancelled`], those of the catalog.
    pub fn search_text(
        &self,
        query: &TextQuery<'_>,
        filter: Option<&RowSet>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<TextHits, StoreError> {
        if self.settings.kind != Kind::Text {
            return Err(StoreError::Limit {
                what: "search by words".to_owned(),
                expected: "a collection of texts".to_owned(),
                received: format!("one of kind {:?}", self.settings.kind).to_lowercase(),
            });
        }
        let narrowed = filter.map(|filter| self.live.intersect(filter));
        let search =
            Search { snapshot: self, query, allowed: narrowed.as_ref().unwrap_or(&self.live), go_on };
        self.pool.read_checked("search by words", |connection| {
            let failed = |source| crate::error::catalog_error("search by words", source);
            // One transaction, so that whether the full text is whole is asked of what is read.
            let transaction = connection.unchecked_transaction().map_err(failed)?;
            let state = catalog::full_text_state(&transaction).map_err(failed)?;
            if !state.is_whole(query.analyzer) {
                return Err(state.refusal(query.analyzer));
            }
            let found = search.run(&transaction);
            found.map_err(|source| if go_on() { failed(source) } else { StoreError::Cancelled })
        })
    }
}

/// One search at work.
struct Search<'a> {
    snapshot: &'a Snapshot,
    query: &'a TextQuery<'a>,
    /// Rows that may be found.
    allowed: &'a RowSet,
    go_on: &'a dyn Fn() -> bool,
}

impl Search<'_> {
    fn run(&self, connection: &Connection) -> rusqlite::Result<TextHits> {
        let Snapshot { rows, live, seq, items, .. } = self.snapshot;
        let Chosen { terms, nowhere, left_out } = self.chosen(connection)?;
        let mut found = Vec::with_capacity(terms.len());
        for term in terms {
            found.push(self.postings(connection, term)?);
        }
        let mut phrased: Option<RowSet> = None;
        for phrase in self.query.phrases.iter().filter(|phrase| !phrase.is_empty()) {
            let set = self.phrase(connection, phrase)?;
            let both = phrased.as_ref().map(|before| before.intersect(&set));
            let rows = set.iter().map(|row| (row, 1)).collect();
            found.push(Postings { term: phrase.join(" "), rows });
            phrased = Some(both.unwrap_or(set));
        }
        // In an order that depends on the snapshot alone, so that sums of scores do.
        found.sort_by(|a, b| (a.rows.len(), &a.term).cmp(&(b.rows.len(), &b.term)));
        let (lengths, total) = self.snapshot.lengths.read(connection, rows.len(), *seq, live)?;
        let mean_length = (total as f64 / (*items).max(1) as f64).max(1.0);
        let narrowed = phrased.map(|phrased| self.allowed.intersect(&phrased));
        let allowed = narrowed.as_ref().unwrap_or(self.allowed);

        let (k1, b) = (f64::from(self.query.k1), f64::from(self.query.b));
        let mut sums = Sums::over(rows.len());
        let mut weights = BTreeMap::new();
        let idf = |count: f64| (1.0 + (*items as f64 - count + 0.5).max(0.0) / (count + 0.5)).ln();
        let mut most = nowhere as f64 * idf(0.0);
        for Postings { term, rows } in found.into_iter().filter(|postings| !postings.rows.is_empty()) {
            let count = rows.len() as f64;
            let weight = idf(count);
            most += weight;
            weights.insert(term, weight as f32);
            for &(row, times) in rows.iter().filter(|(row, _)| allowed.contains(*row)) {
                let length = lengths.get(row as usize).map_or(0.0, |length| f64::from(*length));
                let times = f64::from(times);
                let norm = k1 * (1.0 - b + b * length / mean_length);
                sums.add(row, weight * times * (k1 + 1.0) / (times + norm));
            }
        }
        let by_rank = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let (mut found, limit) = (sums.into_rows(), self.query.limit);
        if limit > 0 && found.len() > limit {
            found.select_nth_unstable_by(limit - 1, by_rank);
        }
        found.truncate(limit);
        found.sort_unstable_by(by_rank);
        let hits = found.into_iter().map(|(row, score)| TextHit { row, score: score as f32 }).collect();
        Ok(TextHits { hits, weights, most: (most * (k1 + 1.0)) as f32, left_out })
    }

    /// The terms that count, and those that do not.
    fn chosen(&self, connection: &Connection) -> rusqlite::Result<Chosen> {
        let (mut counted, mut nowhere) = (Vec::new(), 0);
        for term in self.query.terms.iter().take(MAX_TERMS) {
            let (kept, seq) = (&self.snapshot.postings, self.snapshot.seq);
            let count = kept.count(seq, term, || catalog::count_postings(connection, term))?;
            match count {
                0 => nowhere += 1,
                _ => counted.push((count, term.clone())),
            }
            self.ask()?;
        }
        counted.sort_unstable();
        counted.dedup();
        let mut read = 0;
        let (mut terms, mut left_out) = (Vec::new(), Vec::new());
        for (count, term) in counted {
            read += count;
            if terms.is_empty() || (read <= MAX_POSTINGS && terms.len() < MAX_SCORED_TERMS) {
                terms.push(term);
            } else {
                left_out.push(term);
            }
        }
        Ok(Chosen { terms, nowhere, left_out })
    }

    fn postings(&self, connection: &Connection, term: String) -> rusqlite::Result<Postings> {
        let Snapshot { live, seq, postings, .. } = self.snapshot;
        let rows = postings.rows(*seq, &term, || {
            let mut rows: Vec<(u32, u32)> = Vec::new();
            let mut read: usize = 0;
            catalog::each_posting(connection, &term, MAX_POSTINGS, |slot| {
                read += 1;
                if read.is_multiple_of(ASK_EVERY) {
                    self.ask()?;
                }
                match rows.last_mut() {
                    Some((last, times)) if *last == slot => *times += 1,
                    _ if live.contains(slot) => rows.push((slot, 1)),
                    _ => {}
                }
                Ok(())
            })?;
            Ok(rows)
        })?;
        Ok(Postings { term, rows })
    }

    /// Live rows in which the units of a phrase stand one behind the other.
    fn phrase(&self, connection: &Connection, phrase: &[String]) -> rusqlite::Result<RowSet> {
        let mut found = Vec::new();
        let mut read: usize = 0;
        catalog::each_phrase(connection, phrase, |slot| {
            read += 1;
            if read.is_multiple_of(ASK_EVERY) {
                self.ask()?;
            }
            if self.snapshot.live.contains(slot) {
                found.push(slot);
            }
            Ok(())
        })?;
        Ok(found.into_iter().collect())
    }

    fn ask(&self) -> rusqlite::Result<()> {
        if (self.go_on)() { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
    }
}
