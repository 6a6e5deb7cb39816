//! Every kernel of every instruction set that this machine has, against the scalar twin and against f64.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use bilin_index::kernels::scattered::{ScatteredCodes, ScatteredKernels, ScatteredQuery, scattered_kernels};
use bilin_index::kernels::{
    BLOCK_ROWS, BLOCK_TERMS, Isa, Kernels, LINE_BYTES, LINE_VALUES, MAX_TILE_QUERIES, NibbleBound,
    NibbleScan, PANEL_ROWS, Tile, TileOut, tolerance,
};
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

/// A generator of bytes for the integer kernels, which must agree with the scalar twin to the bit.
fn bytes(random: &mut Random, n: usize) -> Vec<u8> {
    (0..n).map(|_| ((random.next() + 1.0) * 128.0) as u8).collect()
}

/// Query codes: random, or all at one end of their range, where sums are largest.
fn query_codes(random: &mut Random, n: usize, kind: usize) -> Vec<i8> {
    match kind % 4 {
        0 => vec![127; n],
        1 => vec![-127; n],
        _ => bytes(random, n).into_iter().map(|byte| (byte as i8).max(-127)).collect(),
    }
}

#[test]
fn code_products_are_exact() {
    let scalar = Kernels::for_isa(Isa::Scalar).unwrap();
    for kernels in Kernels::available() {
        for len in (1..=140).chain([192, 256, 383, 1024, 40_000]) {
            for kind in 0..4 {
                let mut random = Random((len * 4 + kind) as u64);
                let codes = if kind == 0 { vec![255; len] } else { bytes(&mut random, len) };
                let query = query_codes(&mut random, 2 * len, kind);
                let context = format!("{:?} length {len} kind {kind}", kernels.isa());
                let plain: i32 = codes.iter().zip(&query).map(|(&c, &q)| i32::from(c) * i32::from(q)).sum();
                assert_eq!(scalar.dot_u8(&codes, &query[..len]), plain, "{context}");
                assert_eq!(kernels.dot_u8(&codes, &query[..len]), plain, "{context}");
                assert_eq!(kernels.dot_u4(&codes, &query), scalar.dot_u4(&codes, &query), "{context}");
                let unpacked: Vec<u8> =
                    codes.iter().map(|c| c & 15).chain(codes.iter().map(|c| c >> 4)).collect();
                assert_eq!(kernels.dot_u4(&codes, &query), scalar.dot_u8(&unpacked, &query), "{context}");
            }
        }
    }
}

#[test]
fn nibble_scans_have_the_bits_of_the_scalar_twin() {
    let scalar = Kernels::for_isa(Isa::Scalar).unwrap();
    for kernels in Kernels::available() {
        for lines in (1..=19).chain([48, 160]) {
            for count in 1..=kernels.scan_queries() {
                let mut random = Random((lines * 16 + count) as u64);
                let blocks = count % 3 + 1;
                let codes = if count == 2 {
                    vec![255; blocks * lines * LINE_BYTES]
                } else {
                    bytes(&mut random, blocks * lines * LINE_BYTES)
                };
                let queries = query_codes(&mut random, count * lines * LINE_VALUES, count);
                let mut terms = random.values(0, blocks * BLOCK_TERMS, 1.0);
                // Rows without a bound: whatever the sum is, they are marked.
                terms[2 * BLOCK_ROWS + 3] = f32::INFINITY;
                terms[BLOCK_ROWS + 5] = f32::NAN;
                let reach = random.values(0, blocks, 2.0);
                let bounds: Vec<NibbleBound> = (0..count)
                    .map(|q| NibbleBound {
                        start: q as i32 * 9 - 40,
                        slope: 0.5 + random.next(),
                        error_weight: 1.0 + random.next(),
                        limit: [random.next() * 300.0, random.next(), random.next()],
                    })
                    .collect();
                let scan = NibbleScan {
                    codes: &codes,
                    terms: &terms,
                    reach: &reach,
                    lines,
                    queries: &queries,
                    bounds: &bounds,
                };
                let places = count * blocks;
                let (mut masks, mut dots) = (vec![0; places], vec![[0; BLOCK_ROWS]; places]);
                let (mut expected_masks, mut expected_dots) = (masks.clone(), dots.clone());
                kernels.nibble_scan(&scan, &mut masks, &mut dots);
                scalar.nibble_scan(&scan, &mut expected_masks, &mut expected_dots);
                let context = format!("{:?} lines {lines} queries {count}", kernels.isa());
                assert_eq!(dots, expected_dots, "{context}");
                assert_eq!(masks, expected_masks, "{context}");
                assert!((0..count).all(|q| masks[q * blocks] & 0b10_1000 == 0b10_1000), "{context}");
                // The layout as it is documented: value 8 l + j of row r.
                let (query, block) = (&queries[..lines * LINE_VALUES], &codes[..lines * LINE_BYTES]);
                for row in 0..BLOCK_ROWS {
                    let value = |d: usize| {
                        let byte = block[d / 8 * LINE_BYTES + row * 4 + d % 4];
                        i32::from(if d % 8 < 4 { byte & 15 } else { byte >> 4 })
                    };
                    let sum: i32 = query.iter().enumerate().map(|(d, &q)| value(d) * i32::from(q)).sum();
                    assert_eq!(dots[0][row], bounds[0].start + sum, "{context}");
                }
            }
        }
    }
}

#[test]
fn codes_picked_one_by_one_agree_with_the_scalar_twin() {
    let scalar = ScatteredKernels::for_isa(Isa::Scalar).unwrap();
    let others = [Isa::Avx512, Isa::Avx2, Isa::Neon].into_iter().filter_map(ScatteredKernels::for_isa);
    for kernels in others.chain([scattered_kernels()]) {
        for code_bytes in [32, 64, 96, 128, 160, 192, 512, 1024] {
            let mut random = Random(code_bytes as u64);
            // The largest values of both sides as well: nothing may saturate.
            for extreme in [false, true] {
                let mut byte = || if extreme { 0xff } else { (random.next() * 128.0 + 128.0) as u8 };
                let bytes: Vec<u8> = (0..9 * code_bytes).map(|_| byte()).collect();
                let values = (0..2 * code_bytes).map(|i| match extreme {
                    true => {
                        if i < code_bytes {
                            127
                        } else {
                            -127
                        }
                    }
                    false => (random.next() * 127.0) as i8,
                });
                let values: Vec<i8> = values.collect();
                let codes = ScatteredCodes::new(&bytes, code_bytes);
                let query = ScatteredQuery::new(values.iter().copied(), code_bytes);
                for count in 0..9 {
                    let rows: Vec<u32> = (0..count).map(|i| (i * 5 + 3) % 9).collect();
                    let (mut found, mut expected) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
                    kernels.dots(&codes, &query, &rows, &mut found);
                    scalar.dots(&codes, &query, &rows, &mut expected);
                    assert_eq!(found, expected, "{:?}, {code_bytes} bytes", kernels.isa());
                    for (&row, &dot) in rows.iter().zip(&expected) {
                        let code = codes.code(row);
                        let low = code
                            .iter()
                            .zip(&values)
                            .map(|(&byte, &value)| i64::from(byte & 15) * i64::from(value));
                        let high = code.iter().zip(&values[code_bytes..]);
                        let high = high.map(|(&byte, &value)| i64::from(byte >> 4) * i64::from(value));
                        assert_eq!(dot, (low.sum::<i64>() + high.sum::<i64>()) as f32);
                    }
                }
            }
        }
    }
}
