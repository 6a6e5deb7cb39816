//! Every kernel of every instruction set that this machine has, against the scalar twin and against f64.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use bilin_index::kernels::{Isa, Kernels, MAX_TILE_QUERIES, PANEL_ROWS, Tile, TileOut, tolerance};
use proptest::prelude::*;

/// A small generator for test vectors (SplitMix64), so that shapes and not proptest's shrinking decide the cost.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// `n` values behind `offset` others, so that the slice starts at an odd address.
    fn values(&mut self, offset: usize, n: usize, scale: f32) -> Vec<f32> {
        (0..offset + n).map(|_| self.next() * scale).collect()
    }
}

fn dims() -> impl Iterator<Item = usize> {
    (1..=67).chain([96, 100, 127, 128, 129, 255, 384, 385, 768, 1000, 1280, 2048])
}

fn magnitude(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum()
}

fn squares(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[track_caller]
fn assert_near(isa: Isa, what: &str, dim: usize, got: f32, expected: f32, allowed: f32) {
    assert!((got - expected).abs() <= allowed, "{isa:?} {what} dim {dim}: {got} != {expected} +- {allowed}");
}

#[test]
fn this_machine_has_at_least_the_scalar_kernels() {
    let found: Vec<Isa> = Kernels::available().map(Kernels::isa).collect();
    assert_eq!(found.last(), Some(&Isa::Scalar), "{found:?}");
    #[cfg(target_arch = "x86_64")]
    assert_eq!(
        found.contains(&Isa::Avx2),
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    );
}

#[test]
fn pairs_and_fours_agree_with_the_scalar_twin() {
    let scalar = Kernels::for_isa(Isa::Scalar).unwrap();
    for kernels in Kernels::available() {
        for dim in dims() {
            for offset in 0..4 {
                let mut random = Random((dim * 4 + offset) as u64);
                let query = random.values(offset, dim, 3.0);
                let rows: Vec<Vec<f32>> = (0..4).map(|i| random.values((offset + i) % 5, dim, 3.0)).collect();
                let query = &query[offset..];
                let rows: [&[f32]; 4] = std::array::from_fn(|i| &rows[i][(offset + i) % 5..]);
                let (dots, l2s) = (kernels.dot4(query, rows), kernels.l2_4(query, rows));
                for i in 0..4 {
                    let (dot, l2) = (kernels.dot(query, rows[i]), kernels.l2(query, rows[i]));
                    let allowed = tolerance(dim, magnitude(query, rows[i]));
                    assert_near(kernels.isa(), "dot", dim, dot, scalar.dot(query, rows[i]), allowed);
                    let allowed = tolerance(dim, squares(query, rows[i]));
                    assert_near(kernels.isa(), "l2", dim, l2, scalar.l2(query, rows[i]), allowed);
                    // The same bits, however pairs are grouped.
                    assert_eq!(
                        (dots[i].to_bits(), l2s[i].to_bits()),
                        (dot.to_bits(), l2.to_bits()),
                        "dim {dim}"
                    );
                }
            }
        }
    }
}

#[test]
fn panels_and_tiles_agree_with_the_scalar_twin() {
    let scalar = Kernels::for_isa(Isa::Scalar).unwrap();
    for kernels in Kernels::available() {
        for dim in dims() {
            let mut random = Random(dim as u64);
            let rows = random.values(0, dim * PANEL_ROWS, 2.0);
            let mut buffer = vec![0.0; dim * PANEL_ROWS + 1];
            let panel = &mut buffer[1..];
            kernels.pack(&rows, dim, panel);
            for (i, &value) in panel.iter().enumerate() {
                assert_eq!(
                    value,
                    rows[i % PANEL_ROWS * dim + i / PANEL_ROWS],
                    "{:?} dim {dim}",
                    kernels.isa()
                );
            }
            let queries = random.values(1, dim * MAX_TILE_QUERIES, 2.0);
            let queries = &queries[1..];
            let (mut dots, mut l2s) = ([0.0; PANEL_ROWS], [0.0; PANEL_ROWS]);
            assert_eq!(kernels.panel_dot(&queries[..dim], panel, f32::INFINITY, &mut dots), 0xffff);
            assert_eq!(kernels.panel_l2(&queries[..dim], panel, f32::INFINITY, &mut l2s), 0xffff);
            for (lane, row) in rows.chunks(dim).enumerate() {
                let allowed = tolerance(dim, magnitude(&queries[..dim], row));
                let expected = scalar.dot(&queries[..dim], row);
                assert_near(kernels.isa(), "panel dot", dim, dots[lane], expected, allowed);
                let allowed = tolerance(dim, squares(&queries[..dim], row));
                let expected = scalar.l2(&queries[..dim], row);
                assert_near(kernels.isa(), "panel l2", dim, l2s[lane], expected, allowed);
            }
            let bias: [f32; PANEL_ROWS] = std::array::from_fn(|i| i as f32);
            for count in 1..=kernels.tile_queries() {
                let limits: Vec<f32> = (0..count).map(|i| i as f32 - 2.0).collect();
                let tile = Tile {
                    queries: &queries[..count * dim],
                    panel,
                    dim,
                    bias: &bias,
                    scale: -2.0,
                    limits: &limits,
                };
                let mut out = TileOut::default();
                kernels.tile(&tile, &mut out);
                for q in 0..count {
                    let query = &queries[q * dim..(q + 1) * dim];
                    for (lane, row) in rows.chunks(dim).enumerate() {
                        let value = out.values[q][lane];
                        let allowed = 2.0 * tolerance(dim, magnitude(query, row) + bias[lane]);
                        let expected = bias[lane] - 2.0 * scalar.dot(query, row);
                        assert_near(kernels.isa(), "tile", dim, value, expected, allowed);
                        assert_eq!(out.masks[q] >> lane & 1 == 1, value <= limits[q], "mask");
                    }
                }
            }
        }
    }
}

#[test]
fn short_panels_are_padded_with_zeros() {
    for kernels in Kernels::available() {
        let mut panel = vec![9.0; 3 * PANEL_ROWS];
        kernels.pack(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, &mut panel);
        assert_eq!(panel[..4], [1.0, 4.0, 0.0, 0.0]);
        assert_eq!(panel[PANEL_ROWS..PANEL_ROWS + 3], [2.0, 5.0, 0.0]);
        assert!(panel[2 * PANEL_ROWS + 2..].iter().all(|&value| value == 0.0));
    }
}

proptest! {
    /// Against exact arithmetic in f64, over many magnitudes at once: the documented bound holds for every kernel.
    #[test]
    fn errors_stay_within_the_documented_bound(
        pairs in prop::collection::vec((-1e3_f32..1e3, -1e-3_f32..1e3, 0_i32..12), 1..300)
    ) {
        let a: Vec<f32> = pairs.iter().map(|(a, _, e)| a * 10_f32.powi(-e)).collect();
        let b: Vec<f32> = pairs.iter().map(|(_, b, e)| b * 10_f32.powi(e / 2)).collect();
        let dot: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let l2: f64 = a.iter().zip(&b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
        for kernels in Kernels::available() {
            let dot_error = (f64::from(kernels.dot(&a, &b)) - dot).abs();
            prop_assert!(dot_error <= f64::from(tolerance(a.len(), magnitude(&a, &b))), "{:?}", kernels.isa());
            let l2_error = (f64::from(kernels.l2(&a, &b)) - l2).abs();
            prop_assert!(l2_error <= f64::from(tolerance(a.len(), squares(&a, &b))), "{:?}", kernels.isa());
        }
    }

    /// Early stopping never hides a row that is within the limit.
    #[test]
    fn early_stop_is_sound(seed in any::<u64>(), dim in 1_usize..200, limit in 0.0_f32..300.0) {
        let mut random = Random(seed);
        let rows = random.values(0, dim * PANEL_ROWS, 1.0);
        let query = random.values(0, dim, 1.0);
        for kernels in Kernels::available() {
            let mut panel = vec![0.0; dim * PANEL_ROWS];
            kernels.pack(&rows, dim, &mut panel);
            let (mut all, mut some) = ([0.0; PANEL_ROWS], [0.0; PANEL_ROWS]);
            kernels.panel_l2(&query, &panel, f32::INFINITY, &mut all);
            let within = |limit: f32| (0..PANEL_ROWS).filter(|&lane| all[lane] <= limit).map(|lane| 1 << lane).sum::<u32>();
            prop_assert_eq!(kernels.panel_l2(&query, &panel, limit, &mut some), within(limit));
            if within(limit) != 0 {
                prop_assert_eq!(all, some);
            }
            let mask = kernels.panel_dot(&query, &panel, -limit / 30.0, &mut some);
            let expected = (0..PANEL_ROWS).filter(|&lane| -some[lane] <= -limit / 30.0).map(|lane| 1 << lane).sum::<u32>();
            prop_assert_eq!(mask, expected);
        }
    }
}
