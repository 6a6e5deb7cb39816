//! Tries to break the bound: rows and queries of every magnitude and shape, on every instruction set, beside the plain scan.

use super::bound::{Query, may_be_near};
use super::*;
use crate::exact::Scan;
use crate::hits::Hits;
use crate::kernels::{Isa, NibbleScan};
use crate::random::Random;
use crate::row_set::RowSet;
use crate::rows::{RowChunks, SharedF32};
use proptest::prelude::*;
use std::sync::Arc;

/// How rows or queries look.
#[derive(Clone, Copy, Debug)]
enum Look {
    Uniform,
    Shifted,
    Huge,
    NearlyInfinite,
    Subnormal,
    Tiny,
    Repeated,
    ConstantColumns,
    OneLoudColumn,
    ZeroRows,
    AllEqual,
    EveryMagnitude,
    Bytes,
    OneFarRow,
    OneColumn,
}

const LOOKS: [Look; 15] = [
    Look::Uniform,
    Look::Shifted,
    Look::Huge,
    Look::NearlyInfinite,
    Look::Subnormal,
    Look::Tiny,
    Look::Repeated,
    Look::ConstantColumns,
    Look::OneLoudColumn,
    Look::ZeroRows,
    Look::AllEqual,
    Look::EveryMagnitude,
    Look::Bytes,
    Look::OneFarRow,
    Look::OneColumn,
];

fn rows_like(look: Look, seed: u64, n: usize, dim: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut next = || (random.below(1 << 24) as f32 / (1 << 23) as f32) - 1.0;
    let first: Vec<f32> = (0..dim).map(|_| next()).collect();
    let mut data = Vec::with_capacity(n * dim);
    for row in 0..n {
        let power = (next() * 30.0) as i32;
        for (column, &first) in first.iter().enumerate() {
            let value = next();
            data.push(match look {
                Look::Uniform => value,
                Look::Shifted => 30.0 + 50.0 * first + value,
                Look::Huge => value * 1e18,
                Look::NearlyInfinite => value * 3e38,
                Look::Subnormal => value * 1e-40,
                Look::Tiny => value * 1e-17,
                Look::Repeated if row % 3 > 0 => first,
                Look::ConstantColumns if column % 4 > 0 => first * 7.0,
                Look::OneLoudColumn if column == dim / 2 => value * 1e6,
                Look::ZeroRows if row % 2 > 0 => 0.0,
                Look::AllEqual => first,
                Look::EveryMagnitude => value * 10_f32.powi(power),
                Look::Bytes => (value * 127.0).round(),
                Look::OneFarRow if row == n / 2 => value * 1e15,
                // Its negative neighbour keeps the mean near zero.
                Look::OneColumn if column != row / 2 % dim => 0.0,
                Look::OneColumn => {
                    if row % 2 == 0 {
                        1.0
                    } else {
                        -1.0
                    }
                }
                _ => value,
            });
        }
    }
    data
}

fn chunked(data: &[f32], dim: usize) -> RowChunks {
    let chunks = data.chunks(64 * dim).map(|chunk| Arc::new(chunk.to_vec()) as Arc<dyn SharedF32>);
    RowChunks::new(chunks.collect(), 64, dim, data.len() / dim).unwrap()
}

/// Rows, distance bits: equality of bits, of -0.0 and 0.0 too.
fn bits(hits: &[Hits]) -> Vec<Vec<(u32, u32)>> {
    hits.iter().map(|hits| hits.iter().map(|hit| (hit.row, hit.distance.to_bits())).collect()).collect()
}

fn metrics() -> impl Strategy<Value = Metric> {
    prop::sample::select(vec![Metric::L2, Metric::InnerProduct, Metric::Cosine])
}

fn looks() -> impl Strategy<Value = Look> {
    prop::sample::select(LOOKS.to_vec())
}

fn dims() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 1_usize..70, 1 => Just(128_usize), 1 => Just(384_usize)]
}

/// Rows that the metric takes: unit length (or left as they are, when all zero) under cosine.
fn fit(metric: Metric, mut data: Vec<f32>, dim: usize) -> Vec<f32> {
    if metric == Metric::Cosine {
        data.chunks_mut(dim).for_each(|row| {
            crate::metric::normalise(row);
        });
    }
    data
}

/// A shadow, turned or not, whichever would be chosen.
fn built(store: &RowStore, metric: Metric, kernels: &Kernels, is_turned: bool) -> Shadow {
    let mean = Shadow::build(store, metric, kernels).mean;
    Shadow::build_turned(
        store,
        metric,
        kernels,
        mean,
        is_turned.then(|| Rotation::new(store.dim(), ROTATION_SEED)),
    )
}

/// What the codes say a centred row is: the coarse approximation, then the fine one.
fn approximations(shadow: &Shadow, row: usize) -> [Vec<f64>; 2] {
    let shape = shadow.shape();
    let (block, lane) = (row / BLOCK_ROWS, row % BLOCK_ROWS);
    let scale = f64::from(shadow.coarse_terms.as_slice()[block * BLOCK_TERMS + BLOCK_ROWS + lane]);
    let fine_scale = f64::from(shadow.fine_terms.as_slice()[row * FINE_TERMS + 1]);
    let nibble = |byte: u8, is_high: bool| f64::from(if is_high { byte >> 4 } else { byte & 15 }) - 8.0;
    let coarse = |d: usize| {
        let at = block * shape.block_bytes() + d / 8 * LINE_BYTES + 4 * lane + d % 4;
        scale * nibble(shadow.coarse.as_slice()[at], d % 8 >= 4)
    };
    let fine = |d: usize| {
        let half = shape.fine_bytes();
        let byte = shadow.fine.as_slice()[row * half + d % half];
        fine_scale * nibble(byte, d >= half)
    };
    let mut both: [Vec<f64>; 2] =
        [(0..shadow.dim).map(coarse).collect(), (0..shadow.dim).map(|d| coarse(d) + fine(d)).collect()];
    if let Some(rotation) = &shadow.rotation {
        for values in &mut both {
            let mut turned: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            rotation.invert(&mut turned);
            *values = turned.into_iter().map(f64::from).collect();
        }
    }
    both
}

/// True when coarse and fine test let `row` through for a query whose k-th distance is `threshold`.
fn passes(shadow: &Shadow, kernels: &Kernels, vector: &[f32], row: usize, threshold: f32) -> (bool, bool) {
    let shape = shadow.shape();
    let mut codes = vec![0; shape.lines() * LINE_VALUES];
    let Some(query) = Query::new(shadow, vector, &mut codes) else { return (true, true) };
    let bound = query.bound(threshold);
    let (block, lane) = (row / BLOCK_ROWS, row % BLOCK_ROWS);
    let terms = &shadow.coarse_terms.as_slice()[block * BLOCK_TERMS..(block + 1) * BLOCK_TERMS];
    let scan = NibbleScan {
        codes: &shadow.coarse.as_slice()[block * shape.block_bytes()..(block + 1) * shape.block_bytes()],
        terms,
        reach: &shadow.reach.as_slice()[block..=block],
        lines: shape.lines(),
        queries: &codes,
        bounds: &[bound],
    };
    let (mut masks, mut dots) = ([0], [[0; BLOCK_ROWS]]);
    kernels.nibble_scan(&scan, &mut masks, &mut dots);
    let fine = &shadow.fine.as_slice()[row * shape.fine_bytes()..(row + 1) * shape.fine_bytes()];
    let fine_dot = kernels.dot_u4(fine, &codes[..2 * fine.len()]) + bound.start;
    let fine_terms = &shadow.fine_terms.as_slice()[row * FINE_TERMS..(row + 1) * FINE_TERMS];
    let fine_terms = [fine_terms[0], fine_terms[1], fine_terms[2]];
    let coarse = (terms[BLOCK_ROWS + lane], dots[0][lane]);
    (
        masks[0] >> lane & 1 == 1,
        may_be_near(&bound, shadow.reach.as_slice()[block], coarse, fine_terms, fine_dot),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The whole search beside the plain one: the same rows, the same bits, in the same order.
    #[test]
    fn answers_have_the_bits_of_the_plain_scan(
        seed in any::<u64>(),
        (n, dim) in (0_usize..300, dims()),
        added in 0_usize..40,
        queries in prop_oneof![3 => 1_usize..3, 1 => 1_usize..40],
        k in prop_oneof![1_usize..12, Just(1000_usize)],
        metric in metrics(),
        (look, other) in (looks(), looks()),
        filter in prop::sample::select(vec![0_u32, 1, 2, 3, 50]),
        radius in prop_oneof![2 => Just(None), 1 => (0.0_f32..1.0).prop_map(Some)],
        (near_rows, is_turned) in any::<(bool, bool)>(),
    ) {
        let mut data = fit(metric, rows_like(look, seed, n + added, dim), dim);
        let rows = chunked(&data[..n * dim], dim);
        let mut store = RowStore::new(rows);
        // Queries like the rows, like something else, or rows themselves.
        let mut asked = fit(metric, rows_like(if near_rows { look } else { other }, !seed, queries, dim), dim);
        if near_rows && n > 0 {
            asked[..dim].copy_from_slice(&data[..dim]);
        }
        let owned = data.split_off(n * dim);
        let allowed: RowSet = (0..(n + added) as u32).filter(|row| filter == 0 || row % filter == 0).collect();
        let filter = (filter > 0).then_some(&allowed);
        for kernels in Kernels::available() {
            store.owned.clear();
            let mut shadow = built(&store, metric, kernels, is_turned);
            store.owned.extend_from_slice(&owned);
            shadow.extend(&store, kernels);
            let scan = || Scan { store: &store, metric, filter, kernels };
            let radius = radius.map(|part| {
                let nearest = scan().search(&asked[..dim], 0..store.len(), 1000, None);
                nearest[0].get((part * nearest[0].len() as f32) as usize).map_or(0.0, |hit| hit.distance)
            });
            let expected = scan().search(&asked, 0..store.len(), k, radius);
            let found = ShadowScan { plain: scan(), shadow: &shadow }.search(&asked, k, radius);
            prop_assert_eq!(bits(&found), bits(&expected), "{:?}", kernels.isa());
        }
    }

    /// A row is let through when the threshold is its own distance, whatever the query; most of all for queries that lie in
    /// the direction of what the codes leave out, where the bound is tight.
    #[test]
    fn no_row_is_held_back_at_its_own_distance(
        seed in any::<u64>(),
        (n, dim) in (1_usize..40, dims()),
        metric in metrics(),
        (look, other) in (looks(), looks()),
        reach in prop::sample::select(vec![0.0_f64, 1e-6, 0.5, 1.0, 3.0, 1e3, 1e7]),
        is_turned in any::<bool>(),
    ) {
        let data = fit(metric, rows_like(look, seed, n, dim), dim);
        let store = RowStore::new(chunked(&data, dim));
        let strangers = fit(metric, rows_like(other, !seed, n, dim), dim);
        for kernels in Kernels::available() {
            let shadow = built(&store, metric, kernels, is_turned);
            let scan = Scan { store: &store, metric, filter: None, kernels };
            for row in 0..n {
                let vector = &data[row * dim..(row + 1) * dim];
                let mut asked = vec![strangers[row * dim..(row + 1) * dim].to_vec(), vector.to_vec()];
                for approximation in approximations(&shadow, row) {
                    for sign in [-1.0, 1.0] {
                        let along = vector.iter().zip(&approximation).zip(&shadow.mean).map(|((&x, y), &mean)| {
                            let (x, mean) = (f64::from(x), f64::from(mean));
                            (x + sign * reach * (x - mean - y)) as f32
                        });
                        asked.push(along.collect());
                    }
                }
                for query in asked.into_iter().filter(|query| query.iter().all(|value| value.is_finite())) {
                    let distance = scan.distance(&query, vector);
                    // What is no number is never found.
                    if !distance.is_nan() {
                        let found = passes(&shadow, kernels, &query, row, distance);
                        prop_assert_eq!(found, (true, true), "{:?} row {} at {}", kernels.isa(), row, distance);
                    }
                }
            }
        }
    }
}

/// What a query's codes leave out is known: a bound without it would fail only for queries that proptest hardly finds.
#[test]
fn the_error_of_a_query_is_bounded() {
    let dim = 33;
    for (seed, look) in LOOKS.into_iter().enumerate() {
        let store = RowStore::new(chunked(&rows_like(look, seed as u64, 20, dim), dim));
        let kernels = Kernels::for_isa(Isa::Scalar).unwrap();
        let shadow = built(&store, Metric::L2, kernels, seed % 2 == 0);
        for vector in rows_like(look, seed as u64 + 100, 20, dim).chunks(dim) {
            let mut codes = vec![0; shadow.shape().lines() * LINE_VALUES];
            let Some(query) = Query::new(&shadow, vector, &mut codes) else { continue };
            let mut centred: Vec<f64> = vector
                .iter()
                .zip(&shadow.mean)
                .map(|(&value, &mean)| f64::from(value) - f64::from(mean))
                .collect();
            if let Some(rotation) = &shadow.rotation {
                let mut turned: Vec<f32> = centred.iter().map(|&value| value as f32).collect();
                rotation.apply(&mut turned);
                centred = turned.into_iter().map(f64::from).collect();
            }
            let left = centred
                .iter()
                .zip(&codes)
                .map(|(value, &code)| value - f64::from(query.step) * f64::from(code));
            let left_out: f64 = left.map(|left| left * left).sum();
            assert!(query.error >= left_out.sqrt(), "{look:?}: {} < {}", query.error, left_out.sqrt());
            assert!(codes[dim..].iter().all(|&code| code == 0), "padding is zero");
        }
    }
}

/// The bound is of use: of rows in fifty clusters all but about those of one are held back by their codes alone.
#[test]
fn far_rows_are_held_back() {
    let (n, dim) = (4000, 96);
    let noise = rows_like(Look::Uniform, 1, n, dim);
    let centres = rows_like(Look::Uniform, 2, 50, dim);
    let data: Vec<f32> =
        (0..n * dim).map(|i| centres[i / dim % 50 * dim + i % dim] * 3.0 + noise[i] * 0.3).collect();
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        let data = fit(metric, data.clone(), dim);
        let store = RowStore::new(chunked(&data, dim));
        for kernels in Kernels::available() {
            let shadow = Shadow::build(&store, metric, kernels);
            let query = &data[7 * dim..8 * dim];
            let scan = Scan { store: &store, metric, filter: None, kernels };
            let tenth = scan.search(query, 0..n, 10, None)[0][9].distance;
            let count = |passed: &dyn Fn((bool, bool)) -> bool| {
                (0..n).filter(|&row| passed(passes(&shadow, kernels, query, row, tenth))).count()
            };
            let (coarse, fine) = (count(&|passed| passed.0), count(&|passed| passed.1));
            assert!((10..=160).contains(&coarse), "{metric} {:?}: {coarse} by coarse codes", kernels.isa());
            assert!((10..=80).contains(&fine), "{metric} {:?}: {fine} by fine codes", kernels.isa());
        }
    }
}

/// Growing by rows of another kind takes a new mean in the end; codes are the same on every instruction set.
#[test]
fn a_shadow_follows_its_rows() {
    let dim = 20;
    let data = rows_like(Look::Shifted, 3, MIN_ROWS + 5, dim);
    let mut store = RowStore::new(chunked(&data[..(MIN_ROWS - 1) * dim], dim));
    let kernels = Kernels::for_isa(Isa::Scalar).unwrap();
    let shadow = Shadow::follow(None, &store, Metric::L2, kernels);
    assert!(shadow.is_none(), "too few rows");
    store.owned.extend_from_slice(&data[(MIN_ROWS - 1) * dim..]);
    let shadow = Shadow::follow(shadow, &store, Metric::L2, kernels).unwrap();
    assert_eq!((shadow.rows, shadow.mean_rows), (MIN_ROWS + 5, MIN_ROWS + 5));
    for kernels in Kernels::available() {
        let same = Shadow::build(&store, Metric::L2, kernels);
        assert_eq!(same.coarse.as_slice(), shadow.coarse.as_slice(), "{:?}", kernels.isa());
        assert_eq!(same.fine.as_slice(), shadow.fine.as_slice(), "{:?}", kernels.isa());
    }
    store.owned.extend_from_slice(&rows_like(Look::Uniform, 4, MIN_ROWS, dim));
    let shadow = Shadow::follow(Some(shadow), &store, Metric::L2, kernels).unwrap();
    assert_eq!((shadow.rows, shadow.mean_rows), (2 * MIN_ROWS + 5, MIN_ROWS + 5));
    store.owned.extend_from_slice(&rows_like(Look::Uniform, 5, 3 * MIN_ROWS, dim));
    let shadow = Shadow::follow(Some(shadow), &store, Metric::L2, kernels).unwrap();
    assert_eq!((shadow.rows, shadow.mean_rows), (5 * MIN_ROWS + 5, 5 * MIN_ROWS + 5));
    let bytes = shadow.rows * (dim / 2 + 12) + shadow.rows.div_ceil(16) * (3 * 64 + 3 * 64 + 4) + 4 * dim;
    assert_eq!(shadow.bytes(), bytes);
}

/// Columns much louder than the rest are spread over all; rows that are alike in all columns stay as they are.
#[test]
fn loud_columns_are_turned() {
    let kernels = Kernels::for_isa(Isa::Scalar).unwrap();
    let relative_error = |shadow: &Shadow| {
        let (terms, reach) = (shadow.coarse_terms.as_slice(), shadow.reach.as_slice());
        terms[2 * BLOCK_ROWS] / reach[0]
    };
    for dim in [48, 64] {
        let mut data = rows_like(Look::Uniform, 6, 500, dim);
        data.chunks_mut(dim).for_each(|row| row[7] *= 40.0);
        let store = RowStore::new(chunked(&data, dim));
        let shadow = Shadow::build(&store, Metric::L2, kernels);
        assert!(shadow.is_turned());
        let plain = built(&store, Metric::L2, kernels, false);
        assert!(relative_error(&shadow) < 0.8 * relative_error(&plain), "dim {dim}");
        let even: Vec<f32> =
            rows_like(Look::Uniform, 6, 500 * dim, 1).iter().map(|value| value.signum()).collect();
        let store = RowStore::new(chunked(&even, dim));
        assert!(!Shadow::build(&store, Metric::L2, kernels).is_turned());
    }
}
