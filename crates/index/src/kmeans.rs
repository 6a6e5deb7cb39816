//! k-means (Lloyd 1982) with blocked assignment: the coarse quantizer of IVF is trained here.
//!
//! Seeded and repeatable: the result is the same for any number of threads, since each point's nearest centroid and each
//! centroid's mean are computed by one thread in a fixed order. As in FAISS: initial centroids are a random sample of the
//! points, at most 256 points per centroid are used, an empty cluster splits a large one, and under inner product the
//! centroids are kept at unit length (spherical k-means).

use crate::error::IndexError;
use crate::kernels::{Kernels, MAX_TILE_QUERIES, PANEL_ROWS, Tile, TileOut, kernels};
use crate::metric::{Metric, normalise};
use crate::random::Random;
use crate::rows::Rows;
use rayon::prelude::*;

/// Points per centroid beyond which more points no longer improve the centroids (FAISS's bound).
pub(crate) const MAX_POINTS_PER_CENTROID: usize = 256;
/// Rounds of Lloyd's algorithm, as FAISS's coarse quantizers take.
const ITERATIONS: usize = 10;
/// Relative difference between the two halves of a split cluster.
const SPLIT: f32 = 1.0 / 1024.0;

/// Finds the nearest centroid of many points by register tiles.
#[derive(Clone, Debug)]
pub(crate) struct Assigner {
    dim: usize,
    count: usize,
    scale: f32,
    panels: Vec<f32>,
    biases: Vec<[f32; PANEL_ROWS]>,
}

impl Assigner {
    /// `centroids` is `[n, dim]`.
    pub(crate) fn new(metric: Metric, centroids: &[f32], dim: usize) -> Self {
        let kernels = kernels();
        let count = centroids.len() / dim;
        let mut panels = vec![0.0; count.div_ceil(PANEL_ROWS) * PANEL_ROWS * dim];
        let mut biases = Vec::new();
        for (rows, panel) in centroids.chunks(PANEL_ROWS * dim).zip(panels.chunks_mut(PANEL_ROWS * dim)) {
            kernels.pack(rows, dim, panel);
            // Lanes without a centroid are never nearest.
            let mut bias = [f32::INFINITY; PANEL_ROWS];
            for (bias, row) in bias.iter_mut().zip(rows.chunks_exact(dim)) {
                *bias = if metric == Metric::L2 { kernels.dot(row, row) } else { 0.0 };
            }
            biases.push(bias);
        }
        let scale = if metric == Metric::L2 { -2.0 } else { -1.0 };
        Assigner { dim, count, scale, panels, biases }
    }

    /// Number of centroids.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The centroids, interleaved.
    pub(crate) fn panels(&self) -> &[f32] {
        &self.panels
    }

    /// Number of the nearest centroid of each point, `[n, dim]`; ties go to the lower number.
    pub(crate) fn assign(&self, points: &[f32]) -> Vec<u32> {
        let kernels = kernels();
        let mut nearest = vec![0; points.len() / self.dim];
        let block = kernels.tile_queries() * 8;
        let blocks = nearest.par_chunks_mut(block).zip(points.par_chunks(block * self.dim));
        blocks.for_each(|(nearest, points)| self.assign_block(kernels, points, nearest));
        nearest
    }

    fn assign_block(&self, kernels: &Kernels, points: &[f32], nearest: &mut [u32]) {
        let dim = self.dim;
        let height = kernels.tile_queries();
        let mut best = vec![f32::INFINITY; nearest.len()];
        let mut out = TileOut::default();
        for (p, (panel, bias)) in self.panels.chunks_exact(PANEL_ROWS * dim).zip(&self.biases).enumerate() {
            for start in (0..nearest.len()).step_by(height) {
                let end = nearest.len().min(start + height);
                let mut limits = [0.0; MAX_TILE_QUERIES];
                limits[..end - start].copy_from_slice(&best[start..end]);
                let queries = &points[start * dim..end * dim];
                let limits = &limits[..end - start];
                kernels.tile(&Tile { queries, panel, dim, bias, scale: self.scale, limits }, &mut out);
                for i in start..end {
                    let mut mask = out.masks[i - start];
                    while mask != 0 {
                        let lane = mask.trailing_zeros() as usize;
                        mask &= mask - 1;
                        let value = out.values[i - start][lane];
                        if value < best[i] {
                            best[i] = value;
                            nearest[i] = (p * PANEL_ROWS + lane) as u32;
                        }
                    }
                }
            }
        }
    }
}

/// Trains `count` centroids, `[count, dim]`, on `points` (a sample of at most [`MAX_POINTS_PER_CENTROID`] each is used).
/// `report` is called with rounds done and rounds in all, and may stop the training with an error.
pub(crate) fn train(
    metric: Metric,
    points: Rows<'_>,
    count: usize,
    seed: u64,
    report: &dyn Fn(usize, usize) -> Result<(), IndexError>,
) -> Result<Vec<f32>, IndexError> {
    let dim = points.dim();
    if points.len() < count || count == 0 {
        return Err(IndexError::TooFewRows { needed: count.max(1), received: points.len() });
    }
    let mut random = Random::new(seed);
    let chosen = random.sample(points.len(), count.saturating_mul(MAX_POINTS_PER_CENTROID));
    let sample: Vec<f32> = chosen.iter().flat_map(|&row| points.row(row)).copied().collect();
    let first = random.sample(chosen.len(), count);
    let mut centroids: Vec<f32> =
        first.iter().flat_map(|&at| &sample[at * dim..(at + 1) * dim]).copied().collect();
    let is_spherical = metric.is_inner_product();
    for round in 0..ITERATIONS {
        report(round, ITERATIONS)?;
        if is_spherical {
            normalise_all(&mut centroids, dim);
        }
        let nearest = Assigner::new(metric, &centroids, dim).assign(&sample);
        let sizes = move_to_means(&sample, dim, &nearest, &mut centroids);
        split_largest(&mut centroids, dim, sizes);
    }
    if is_spherical {
        normalise_all(&mut centroids, dim);
    }
    report(ITERATIONS, ITERATIONS)?;
    Ok(centroids)
}

fn normalise_all(centroids: &mut [f32], dim: usize) {
    // A mean of zero has no direction; it stays where it is and attracts nothing.
    centroids.par_chunks_mut(dim).for_each(|centroid| {
        normalise(centroid);
    });
}

/// Positions grouped by the list they belong to: list `l` has `order[starts[l]..starts[l + 1]]`, ascending.
pub(crate) fn group(nearest: &[u32], lists: usize) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0; lists + 1];
    nearest.iter().for_each(|&list| starts[list as usize + 1] += 1);
    for list in 0..lists {
        starts[list + 1] += starts[list];
    }
    let mut next = starts.clone();
    let mut order = vec![0; nearest.len()];
    for (position, &list) in nearest.iter().enumerate() {
        order[next[list as usize]] = position as u32;
        next[list as usize] += 1;
    }
    (starts, order)
}

/// Moves each centroid to the mean of its points, summed in f64 in the order of the points; returns the cluster sizes.
fn move_to_means(points: &[f32], dim: usize, nearest: &[u32], centroids: &mut [f32]) -> Vec<usize> {
    let (starts, order) = group(nearest, centroids.len() / dim);
    centroids.par_chunks_mut(dim).enumerate().for_each(|(c, centroid)| {
        let members = &order[starts[c]..starts[c + 1]];
        if members.is_empty() {
            return;
        }
        let mut sums = vec![0.0_f64; dim];
        for &member in members {
            let point = &points[member as usize * dim..(member as usize + 1) * dim];
            sums.iter_mut().zip(point).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        centroid.iter_mut().zip(&sums).for_each(|(value, sum)| *value = (sum / members.len() as f64) as f32);
    });
    starts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Gives each empty cluster half of the largest one, moved apart a little so that the next round divides its points.
fn split_largest(centroids: &mut [f32], dim: usize, sizes: Vec<usize>) {
    let mut by_size: std::collections::BinaryHeap<(usize, std::cmp::Reverse<usize>)> =
        sizes.iter().enumerate().map(|(c, &size)| (size, std::cmp::Reverse(c))).collect();
    for empty in (0..sizes.len()).filter(|&c| sizes[c] == 0) {
        let Some((size, std::cmp::Reverse(largest))) = by_size.pop() else { return };
        for d in 0..dim {
            let value = centroids[largest * dim + d];
            let step = if d % 2 == 0 { SPLIT } else { -SPLIT };
            centroids[empty * dim + d] = value * (1.0 + step);
            centroids[largest * dim + d] = value * (1.0 - step);
        }
        by_size.push((size / 2, std::cmp::Reverse(largest)));
        by_size.push((size - size / 2, std::cmp::Reverse(empty)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(centres: usize, each: usize, dim: usize) -> Vec<f32> {
        let mut random = Random::new(5);
        let places: Vec<f32> = (0..centres * dim).map(|_| random.unit() as f32 * 100.0).collect();
        (0..centres * each)
            .flat_map(|i| {
                let place = &places[i % centres * dim..(i % centres + 1) * dim];
                place.iter().map(|x| x + random.unit() as f32).collect::<Vec<_>>()
            })
            .collect()
    }

    fn no_report(_: usize, _: usize) -> Result<(), IndexError> {
        Ok(())
    }

    fn inertia(points: &[f32], centroids: &[f32], dim: usize) -> f64 {
        let nearest = Assigner::new(Metric::L2, centroids, dim).assign(points);
        let distance = |(point, &c): (&[f32], &u32)| {
            f64::from(Metric::L2.distance(point, &centroids[c as usize * dim..(c as usize + 1) * dim]))
        };
        points.chunks(dim).zip(&nearest).map(distance).sum()
    }

    #[test]
    fn assignment_finds_the_nearest_centroid() {
        let (points, dim) = (blobs(9, 30, 7), 7);
        let centroids = blobs(37, 1, 7);
        let nearest = Assigner::new(Metric::L2, &centroids, dim).assign(&points);
        for (point, &found) in points.chunks(dim).zip(&nearest) {
            let distance = |c: usize| Metric::L2.distance(point, &centroids[c * dim..(c + 1) * dim]);
            let best = (0..37).map(distance).fold(f32::INFINITY, f32::min);
            assert!(distance(found as usize) <= best * 1.0001 + 1e-2);
        }
    }

    #[test]
    fn the_result_is_the_same_for_any_number_of_threads() {
        let points = blobs(20, 100, 9);
        let rows = Rows::new(&points, 9).unwrap();
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| train(Metric::L2, rows, 33, 1, &no_report).unwrap())
        };
        let one = on(1);
        assert_eq!(one, on(3));
        assert_ne!(one, train(Metric::L2, rows, 33, 2, &no_report).unwrap());
        // Means are better than a random choice of rows, which is what they started from.
        let start: Vec<f32> =
            Random::new(1).sample(2000, 33).iter().flat_map(|&i| points[i * 9..][..9].to_vec()).collect();
        assert!(inertia(&points, &one, 9) < inertia(&points, &start, 9) * 0.8);
    }

    #[test]
    fn duplicates_leave_no_broken_centroid_and_too_few_points_are_refused() {
        let points = [[1.0_f32, 2.0]; 50].concat();
        let rows = Rows::new(&points, 2).unwrap();
        let centroids = train(Metric::L2, rows, 8, 1, &no_report).unwrap();
        assert!(centroids.iter().all(|value| value.is_finite() && (0.5..3.0).contains(value)));
        let error = train(Metric::L2, rows, 51, 1, &no_report).unwrap_err();
        assert_eq!(error, IndexError::TooFewRows { needed: 51, received: 50 });
    }

    #[test]
    fn spherical_centroids_have_unit_length() {
        let points = blobs(6, 40, 5);
        let centroids =
            train(Metric::InnerProduct, Rows::new(&points, 5).unwrap(), 6, 1, &no_report).unwrap();
        assert!(centroids.chunks(5).all(|c| (c.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5));
    }
}
