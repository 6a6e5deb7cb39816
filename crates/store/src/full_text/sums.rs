//! [`Sums`]: what the items of one search add up to, term by term.
//!
//! A number for every row is the fastest while there are few rows. A search touches at most as many rows as it reads
//! occurrences, so over more rows what is added is written down and put in order at the end: memory follows the query, not the
//! collection. Invariant: a row's numbers are added in the order in which they came, so both ways give the same bits.

/// Most rows that have a number each (2 MiB).
const MOST_DENSE: usize = 1 << 18;

pub(super) enum Sums {
    /// A number for every row, and the rows that were touched.
    Dense(Vec<f64>, Vec<u32>),
    /// What was added, in the order in which it came.
    Sparse(Vec<(u32, f64)>),
}

impl Sums {
    /// Over rows below `rows`.
    pub(super) fn over(rows: usize) -> Sums {
        if rows <= MOST_DENSE { Sums::Dense(vec![0.0; rows], Vec::new()) } else { Sums::Sparse(Vec::new()) }
    }

    /// Adds a positive number to the sum of a row, which is one of those below `rows`, as every live row is.
    pub(super) fn add(&mut self, row: u32, number: f64) {
        match self {
            Sums::Dense(sums, touched) => {
                let Some(sum) = sums.get_mut(row as usize) else { return };
                if *sum == 0.0 {
                    touched.push(row);
                }
                *sum += number;
            }
            Sums::Sparse(added) => added.push((row, number)),
        }
    }

    /// The rows that something was added to, each once, in no order that matters.
    pub(super) fn into_rows(self) -> Vec<(u32, f64)> {
        match self {
            Sums::Dense(sums, touched) => touched.into_iter().map(|row| (row, sums[row as usize])).collect(),
            Sums::Sparse(mut added) => {
                // Stable, and quick, for terms come with their rows in order.
                added.sort_by_key(|(row, _)| *row);
                added.dedup_by(|(row, number), (first, sum)| {
                    let is_same = row == first;
                    if is_same {
                        *sum += *number;
                    }
                    is_same
                });
                added
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_give_the_same_bits(added in prop::collection::vec((0u32..50, 1e-3f64..1e3), 0..300)) {
            let ways = [Sums::Dense(vec![0.0; 50], Vec::new()), Sums::Sparse(Vec::new())];
            let [dense, sparse] = ways.map(|mut sums| {
                added.iter().for_each(|(row, number)| sums.add(*row, *number));
                let mut rows = sums.into_rows();
                rows.sort_by_key(|(row, _)| *row);
                rows
            });
            prop_assert_eq!(dense, sparse);
        }
    }

    #[test]
    fn memory_follows_the_query_in_a_large_collection() {
        assert!(matches!(Sums::over(MOST_DENSE), Sums::Dense(..)));
        assert!(matches!(Sums::over(MOST_DENSE + 1), Sums::Sparse(_)));
        let mut dense = Sums::over(3);
        dense.add(3, 1.0);
        assert!(dense.into_rows().is_empty(), "a row that there is not");
    }
}
