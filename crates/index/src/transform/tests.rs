//! Transforms keep what they promise to keep, and are the same at every run.

use super::*;
use crate::random::Random;

fn values(count: usize, dim: usize) -> Vec<f32> {
    let mut random = Random::new(5);
    let mut rows = Vec::new();
    for _ in 0..count {
        // Few directions carry most of the variance.
        let hidden: Vec<f32> = (0..3).map(|_| random.unit() as f32 - 0.5).collect();
        for d in 0..dim {
            let noise = random.unit() as f32 - 0.5;
            rows.push(hidden[d % 3] * (d % 5) as f32 + 0.05 * noise + 1.0);
        }
    }
    rows
}

fn l2(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[test]
fn rotations_keep_distances_and_go_back() {
    let rows = values(600, 12);
    let cases = [
        Transform::RandomRotation { dim: 12 },
        Transform::RandomRotation { dim: 20 },
        Transform::Pca { dim: 12, rotate: false },
        Transform::Pca { dim: 12, rotate: true },
        Transform::Opq { m: 4, dim: None },
    ];
    for transform in cases {
        let chain = Chain::train(&[transform], Metric::L2, 12, &rows, 3).unwrap();
        assert_eq!(chain, Chain::train(&[transform], Metric::L2, 12, &rows, 3).unwrap());
        let out = chain.apply(&rows);
        let dim = chain.dim_out();
        for i in 0..50 {
            let before = l2(&rows[i * 12..][..12], &rows[(i + 1) * 12..][..12]);
            let after = l2(&out[i * dim..][..dim], &out[(i + 1) * dim..][..dim]);
            assert!((before - after).abs() <= 1e-3 * before, "{transform:?}: {before} became {after}");
            let back = chain.invert(out[i * dim..][..dim].to_vec());
            assert!(l2(&back, &rows[i * 12..][..12]) < 1e-4, "{transform:?}");
        }
        let learned = chain.learned();
        assert_eq!(Chain::learned_len(&[transform], 12), Some(learned.len()));
        assert_eq!(Chain::open(&[transform], 12, &learned), Some(chain));
        assert_eq!(Chain::open(&[transform], 12, &learned[1..]), None);
    }
}

#[test]
fn principal_directions_carry_the_variance() {
    let rows = values(800, 12);
    let chain = Chain::train(&[Transform::Pca { dim: 3, rotate: false }], Metric::L2, 12, &rows, 3).unwrap();
    let out = chain.apply(&rows);
    for i in 0..50 {
        let before = l2(&rows[i * 12..][..12], &rows[(i + 7) * 12..][..12]);
        let after = l2(&out[i * 3..][..3], &out[(i + 7) * 3..][..3]);
        assert!(after <= before * 1.001 && after >= before * 0.8 - 0.05, "{before} became {after}");
    }
}

#[test]
fn a_chain_follows_its_steps() {
    let rows = values(300, 12);
    let transforms = [Transform::L2Norm, Transform::Pca { dim: 6, rotate: true }, Transform::L2Norm];
    let chain = Chain::train(&transforms, Metric::InnerProduct, 12, &rows, 3).unwrap();
    let out = chain.apply(&rows);
    assert_eq!((chain.dim_out(), out.len()), (6, 300 * 6));
    assert!(out.chunks(6).all(|row| (l2(row, &[0.0; 6]) - 1.0).abs() < 1e-5));
    let error = Chain::dim_out_of(&[Transform::Pca { dim: 13, rotate: false }], 12).unwrap_err();
    assert_eq!(error.to_string(), "PCA dimension is 13, expected at most 12, the values of a vector");
    let error = Chain::dim_out_of(&[Transform::Opq { m: 5, dim: None }], 12).unwrap_err();
    assert!(error.to_string().contains("the nearest is 6"), "{error}");
}
