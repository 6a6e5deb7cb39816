//! Self-attention of one text whose queries see only some keys, and whose heads may share keys and values.
//!
//! Several query heads to one head of keys and values: Ainslie et al., 2023, "GQA". Which keys a query sees is a band around
//! its position, so a causal or local layer reads and scores nothing beyond it: a block of queries is scored against the keys
//! that any of them sees, and what a single query does not see counts nothing. Queries of a long text may be shared out.

use rayon::prelude::*;

use super::elementwise::softmax_rows;
use super::panels::native_width;
use super::tile::{Finish, Job, multiply};

/// Queries scored at a time.
const QUERY_BLOCK: usize = 48;

/// How a row of queries, keys and values is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    /// Heads of queries; a multiple of `groups`.
    pub(crate) queries: usize,
    /// Heads of keys and of values: each serves `queries / groups` heads of queries that lie side by side.
    pub(crate) groups: usize,
    /// Numbers per head.
    pub(crate) head: usize,
}

impl Heads {
    /// Numbers in a row of queries, keys and values.
    pub(crate) fn stride(self) -> usize {
        (self.queries + 2 * self.groups) * self.head
    }

    /// Numbers in a row of the result.
    pub(crate) fn dim(self) -> usize {
        self.queries * self.head
    }
}

/// Which keys the query at position `i` sees: those at `i - behind ..= i + ahead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) behind: usize,
    pub(crate) ahead: usize,
}

impl Reach {
    /// All keys.
    pub(crate) const ALL: Reach = Reach { behind: usize::MAX, ahead: usize::MAX };
    /// Those up to its own position.
    pub(crate) const CAUSAL: Reach = Reach { behind: usize::MAX, ahead: 0 };

    /// The keys, of `tokens`, that queries `first..=last` see.
    fn of(self, first: usize, last: usize, tokens: usize) -> std::ops::Range<usize> {
        first.saturating_sub(self.behind)..last.saturating_add(self.ahead).saturating_add(1).min(tokens)
    }
}

/// Keys and values as the kernel reads them, reused from text to text.
#[derive(Default)]
pub(crate) struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// One text's attention.
pub(crate) struct Grouped<'a> {
    /// `[tokens, (queries + 2 * groups) * head]`: queries, keys and values side by side.
    pub(crate) qkv: &'a [f32],
    pub(crate) heads: Heads,
    pub(crate) reach: Reach,
    /// `[tokens, queries * head]`.
    pub(crate) out: &'a mut [f32],
    pub(crate) scratch: &'a mut Scratch,
    /// Other threads may help.
    pub(crate) shared: bool,
}

impl Grouped<'_> {
    /// Fills `out`.
    pub(crate) fn run(self) {
        let Grouped { qkv, heads, reach, out, scratch, shared } = self;
        let packed = Packed::new(qkv, heads, reach, scratch);
        let block = QUERY_BLOCK * heads.dim();
        if shared && packed.tokens > QUERY_BLOCK {
            out.par_chunks_mut(block).enumerate().for_each_init(Vec::new, |scores, (index, out)| {
                packed.attend(index * QUERY_BLOCK, out, scores);
            });
        } else {
            let mut scores = Vec::new();
            for (index, out) in out.chunks_mut(block).enumerate() {
                packed.attend(index * QUERY_BLOCK, out, &mut scores);
            }
        }
    }
}

/// A text whose keys and values have been packed.
struct Packed<'a> {
    qkv: &'a [f32],
    heads: Heads,
    reach: Reach,
    tokens: usize,
    /// Of a panel.
    width: usize,
    /// For every group: panels `[head, width]` of keys as columns, the last padded.
    keys: &'a [f32],
    /// For every group: panels `[tokens, width]` of values, the last padded.
    values: &'a [f32],
}

impl<'a> Packed<'a> {
    fn new(qkv: &'a [f32], heads: Heads, reach: Reach, scratch: &'a mut Scratch) -> Packed<'a> {
        let Heads { queries, groups, head } = heads;
        let tokens = qkv.len() / heads.stride();
        let width = native_width();
        let Scratch { keys, values } = scratch;
        let (keys_each, values_each) =
            (tokens.next_multiple_of(width) * head, tokens * head.next_multiple_of(width));
        keys.clear();
        keys.resize(groups * keys_each, 0.0);
        values.clear();
        values.resize(groups * values_each, 0.0);
        for (token, row) in qkv.chunks_exact(heads.stride()).enumerate() {
            let (key_row, value_row) = row[queries * head..].split_at(groups * head);
            for (keys, key) in keys.chunks_exact_mut(keys_each).zip(key_row.chunks_exact(head)) {
                let lane = &mut keys[token / width * width * head + token % width..];
                lane.iter_mut().step_by(width).zip(key).for_each(|(slot, number)| *slot = *number);
            }
            for (values, value) in values.chunks_exact_mut(values_each).zip(value_row.chunks_exact(head)) {
                for (panel, numbers) in value.chunks(width).enumerate() {
                    values[(panel * tokens + token) * width..][..numbers.len()].copy_from_slice(numbers);
                }
            }
        }
        Packed { qkv, heads, reach, tokens, width, keys, values }
    }

    /// The results of the queries from `start` on, as many as `out [rows, dim]` has room for.
    fn attend(&self, start: usize, out: &mut [f32], scores: &mut Vec<f32>) {
        let (Heads { queries, groups, head }, width) = (self.heads, self.width);
        let rows = out.len() / self.heads.dim();
        let seen = self.reach.of(start, start + rows - 1, self.tokens);
        // From the beginning of a panel.
        let (first, last) = (seen.start / width * width, seen.end);
        let span = last - first;
        scores.resize(rows * span, 0.0);
        let scale = 1.0 / (head as f32).sqrt();
        for h in 0..queries {
            let group = h / (queries / groups);
            let keys = &self.keys[group * self.keys.len() / groups..];
            let values = &self.values[group * self.values.len() / groups..];
            for column in (first..last).step_by(width) {
                let job = Job {
                    x: &self.qkv[start * self.heads.stride() + h * head..],
                    x_stride: self.heads.stride(),
                    panel: &keys[column * head..],
                    bias: &[],
                    finish: Finish::Keep,
                    rows,
                    depth: head,
                    columns: width.min(last - column),
                    out_stride: span,
                    out_column: column - first,
                };
                multiply(&job, scores);
            }
            for (row, scores) in scores.chunks_exact_mut(span).enumerate() {
                let seen = self.reach.of(start + row, start + row, self.tokens);
                let (scores, after) = scores.split_at_mut(seen.end - first);
                let (before, scores) = scores.split_at_mut(seen.start - first);
                before.fill(0.0);
                after.fill(0.0);
                softmax_rows(scores, scores.len(), scale);
            }
            for column in (0..head).step_by(width) {
                let job = Job {
                    x: scores,
                    x_stride: span,
                    panel: &values[column * self.tokens + first * width..],
                    bias: &[],
                    finish: Finish::Keep,
                    rows,
                    depth: span,
                    columns: width.min(head - column),
                    out_stride: self.heads.dim(),
                    out_column: h * head + column,
                };
                multiply(&job, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The formula, one query after the other, in f64.
    fn plain(qkv: &[f32], heads: Heads, reach: Reach) -> Vec<f64> {
        let Heads { queries, groups, head } = heads;
        let rows: Vec<&[f32]> = qkv.chunks_exact(heads.stride()).collect();
        let mut out = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            for h in 0..queries {
                let group = h / (queries / groups);
                let keys = (queries + group) * head;
                let values = (queries + groups + group) * head;
                let is_seen =
                    |j: &usize| (*j <= at && at - j <= reach.behind) || (*j > at && j - at <= reach.ahead);
                let weights: Vec<(usize, f64)> = (0..rows.len())
                    .filter(is_seen)
                    .map(|j| {
                        let score: f64 = (0..head)
                            .map(|i| f64::from(row[h * head + i]) * f64::from(rows[j][keys + i]))
                            .sum();
                        (j, (score / (head as f64).sqrt()).exp())
                    })
                    .collect();
                let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
                out.extend((0..head).map(|i| {
                    weights.iter().map(|(j, weight)| weight * f64::from(rows[*j][values + i])).sum::<f64>()
                        / total
                }));
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn equals_the_formula(
            tokens in 1usize..150,
            groups in 1usize..4,
            each in 1usize..4,
            head in 1usize..40,
            behind in prop_oneof![Just(usize::MAX), 0usize..70],
            ahead in prop_oneof![Just(usize::MAX), Just(0), 0usize..70],
            seed in 0u32..1000,
        ) {
            let heads = Heads { queries: groups * each, groups, head };
            let reach = Reach { behind, ahead };
            let qkv: Vec<f32> = (0..(tokens * heads.stride()) as u32)
                .map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32 - 2.0)
                .collect();
            let expected = plain(&qkv, heads, reach);
            for shared in [false, true] {
                let mut out = vec![f32::NAN; tokens * heads.dim()];
                // What an earlier text has left must not matter.
                let mut scratch = Scratch { keys: vec![f32::NAN; 9000], values: vec![f32::NAN; 9000] };
                Grouped { qkv: &qkv, heads, reach, out: &mut out, scratch: &mut scratch, shared }.run();
                for (received, expected) in out.iter().zip(&expected) {
                    prop_assert!((f64::from(*received) - expected).abs() < 2e-5, "{} {}", received, expected);
                }
            }
        }
    }
}
