//! How each transform is learned: PCA, random rotations, OPQ. Matrices are nalgebra's; a sample is `[n, dim]`.
//!
//! OPQ (Ge et al. 2013, "Optimized product quantization", the non-parametric solution) starts from principal directions dealt
//! out so that all parts get the same product of variances (its parametric solution), then takes turns: train a product
//! quantizer on the rotated sample, then rotate the sample as near to its codes as a rotation can (Procrustes, by SVD).

use super::{Linear, Step};
use crate::codes::Pq;
use crate::error::IndexError;
use crate::metric::Metric;
use crate::random::Random;
use crate::spec::Transform;
use nalgebra::{DMatrix, SymmetricEigen};

/// Rows that a learned transform makes use of.
pub(super) const USEFUL_ROWS: usize = 1 << 15;
/// Turns of OPQ.
const OPQ_TURNS: usize = 8;
/// Rows of a turn per centroid.
const OPQ_ROWS_PER_CENTROID: usize = 32;

pub(super) fn step(
    transform: Transform,
    metric: Metric,
    dim: usize,
    sample: &[f32],
    seed: u64,
) -> Result<Step, IndexError> {
    let linear = match transform {
        Transform::L2Norm => return Ok(Step::Normalise),
        Transform::RandomRotation { dim: to } => Linear {
            dim_in: dim,
            dim_out: to,
            matrix: row_major(&orthonormal(to, dim, seed)),
            offset: vec![0.0; to],
        },
        Transform::Pca { dim: to, rotate } => {
            let (mean, directions) = principal(metric, dim, sample)?;
            let mut matrix = directions.rows(0, to).into_owned();
            if rotate {
                matrix = orthonormal(to, to, seed) * matrix;
            }
            let offset = -(&matrix * mean);
            Linear {
                dim_in: dim,
                dim_out: to,
                matrix: row_major(&matrix),
                offset: offset.iter().map(|&value| value as f32).collect(),
            }
        }
        Transform::Opq { m, dim: to } => opq(metric, dim, m, to.unwrap_or(dim), sample, seed)?,
    };
    Ok(Step::Linear(linear))
}

fn row_major(matrix: &DMatrix<f64>) -> Vec<f32> {
    matrix.transpose().iter().map(|&value| value as f32).collect()
}

/// `[rows, columns]` with orthonormal rows, or columns where there are fewer of them: random in every direction alike.
fn orthonormal(rows: usize, columns: usize, seed: u64) -> DMatrix<f64> {
    let mut random = Random::new(seed);
    let (long, short) = (rows.max(columns), rows.min(columns));
    let normal = DMatrix::from_fn(long, short, |_, _| {
        // Box and Muller 1958.
        let radius = (-2.0 * random.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * random.unit()).cos()
    });
    let q = normal.qr().q();
    if rows >= columns { q } else { q.transpose() }
}

/// Mean (zero under inner product) and principal directions as rows, the largest variance first, `[dim, dim]`.
fn principal(metric: Metric, dim: usize, sample: &[f32]) -> Result<(DMatrix<f64>, DMatrix<f64>), IndexError> {
    let rows = sample.len() / dim;
    if rows == 0 {
        return Err(IndexError::TooFewRows { needed: 1, received: 0 });
    }
    let used = rows.min(USEFUL_ROWS);
    let mut x = DMatrix::from_fn(dim, used, |d, i| f64::from(sample[i * rows / used * dim + d]));
    let mut mean = DMatrix::zeros(dim, 1);
    if !metric.is_inner_product() {
        mean = DMatrix::from_fn(dim, 1, |d, _| x.row(d).mean());
        for mut column in x.column_iter_mut() {
            column -= mean.column(0);
        }
    }
    let covariance = &x * x.transpose() / used as f64;
    let eigen = SymmetricEigen::new(covariance);
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let directions = DMatrix::from_fn(dim, dim, |row, column| eigen.eigenvectors[(column, order[row])]);
    Ok((mean, directions))
}

fn opq(
    metric: Metric,
    dim: usize,
    m: usize,
    to: usize,
    sample: &[f32],
    seed: u64,
) -> Result<Linear, IndexError> {
    let rows = sample.len() / dim;
    let (_, directions) = principal(metric, dim, sample)?;
    // As many bits as the sample can train.
    let bits = (1..=8).rev().find(|bits| rows >= OPQ_ROWS_PER_CENTROID << bits).unwrap_or(1);
    let used = rows.min(OPQ_ROWS_PER_CENTROID << bits);
    let x = DMatrix::from_fn(dim, used, |d, i| f64::from(sample[i * rows / used * dim + d]));
    let mut rotation = dealt_out(&directions, &x, m, to);
    if used >= 1 << bits {
        for turn in 0..OPQ_TURNS {
            let rotated = &rotation * &x;
            // Column-major `[to, used]` is row-major `[used, to]`.
            let rotated: Vec<f32> = rotated.iter().map(|&value| value as f32).collect();
            let pq = Pq::train(to, m, bits, &rotated, seed.wrapping_add(turn as u64))?;
            let decoded = pq.nearest(&rotated);
            let decoded = DMatrix::from_fn(to, used, |d, i| f64::from(decoded[i * to + d]));
            let svd = (decoded * x.transpose()).svd(true, true);
            let (Some(u), Some(v_t)) = (svd.u, svd.v_t) else { break };
            rotation = u * v_t;
        }
    }
    let matrix = row_major(&rotation);
    Ok(Linear { dim_in: dim, dim_out: to, matrix, offset: vec![0.0; to] })
}

/// The first `to` directions in `m` parts whose variances have about the same product: each, the largest first, goes to the
/// part with the smallest product that has room.
fn dealt_out(directions: &DMatrix<f64>, x: &DMatrix<f64>, m: usize, to: usize) -> DMatrix<f64> {
    let kept = directions.rows(0, to);
    let projected = kept * x;
    let part = to / m;
    let mut parts: Vec<(f64, Vec<usize>)> = vec![(0.0, Vec::new()); m];
    for direction in 0..to {
        let variance = projected.row(direction).variance().max(f64::MIN_POSITIVE);
        let open = parts.iter_mut().filter(|(_, members)| members.len() < part);
        if let Some((product, members)) = open.min_by(|a, b| a.0.total_cmp(&b.0)) {
            *product += variance.ln();
            members.push(direction);
        }
    }
    let order: Vec<usize> = parts.into_iter().flat_map(|(_, members)| members).collect();
    DMatrix::from_fn(to, directions.ncols(), |row, column| directions[(order[row], column)])
}
