//! Every kernel over codes of every instruction set that this machine has, against the scalar twin.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use bilin_index::kernels::codes::{BLOCK_ENTRIES, BLOCK_FLOATS};
use bilin_index::kernels::{Affine, CodeKernels, Factored, Isa, tolerance};
use proptest::prelude::*;

fn all() -> impl Iterator<Item = (&'static CodeKernels, &'static CodeKernels)> {
    let scalar = CodeKernels::for_isa(Isa::Scalar).unwrap();
    let others = [Isa::Avx512, Isa::Avx2, Isa::Neon].into_iter().filter_map(CodeKernels::for_isa);
    others.map(move |kernels| (kernels, scalar))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits() as u8).collect()
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    fn floats<const N: usize>(&mut self) -> [u8; N] {
        let bytes: Vec<u8> = self.values(N / 4).iter().flat_map(|value| value.to_le_bytes()).collect();
        bytes.try_into().unwrap()
    }
}

proptest! {
    #[test]
    fn bytes_against_weights(seed: u64, dim in 1_usize..300, skip in 0_usize..3) {
        let mut random = Random(seed);
        let (weights, offsets) = (random.values(skip + dim), random.values(skip + dim));
        let levels = random.bytes(skip + dim);
        let (weights, offsets, levels) = (&weights[skip..], &offsets[skip..], &levels[skip..]);
        for (kernels, scalar) in all() {
            let allowed = tolerance(dim, 256.0 * dim as f32);
            let difference = kernels.byte_dot(weights, levels) - scalar.byte_dot(weights, levels);
            prop_assert!(difference.abs() <= allowed, "{:?} {difference}", kernels.isa());
            let allowed = tolerance(dim, 257.0 * 257.0 * dim as f32);
            let difference = kernels.byte_l2(offsets, weights, levels) - scalar.byte_l2(offsets, weights, levels);
            prop_assert!(difference.abs() <= allowed, "{:?} {difference}", kernels.isa());
        }
    }

    #[test]
    fn halves_widen_exactly(seed: u64, dim in 1_usize..70) {
        let bytes = Random(seed).bytes(2 * dim);
        let halves: Vec<[u8; 2]> = bytes.as_chunks::<2>().0.to_vec();
        for (kernels, scalar) in all() {
            let (mut found, mut expected) = (vec![0.0; dim], vec![0.0; dim]);
            kernels.widen_halves(&halves, &mut found);
            scalar.widen_halves(&halves, &mut expected);
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert!(found == expected || found.is_nan() && expected.is_nan());
            }
        }
    }

    #[test]
    fn planes_against_a_query(seed: u64, words in 1_usize..30, planes in 1_usize..8) {
        let mut random = Random(seed);
        let query = random.values(16 * words);
        let bits = random.bytes(2 * words * planes);
        for (kernels, scalar) in all() {
            let difference = kernels.plane_dot(&bits, &query) - scalar.plane_dot(&bits, &query);
            let allowed = tolerance(query.len(), (query.len() << planes) as f32);
            prop_assert!(difference.abs() <= allowed, "{:?} {difference}", kernels.isa());
        }
    }

    /// Up to 256 parts no sum passes 2^16; beyond, sums wrap alike everywhere.
    #[test]
    fn table_sums_are_equal(seed: u64, pairs in 1_usize..200) {
        let mut random = Random(seed);
        let (tables, numbers) = (random.bytes(32 * pairs), random.bytes(32 * pairs));
        for (kernels, scalar) in all() {
            let (mut found, mut expected) = ([0; BLOCK_ENTRIES], [1; BLOCK_ENTRIES]);
            kernels.fast_scan(&tables, &numbers, &mut found);
            scalar.fast_scan(&tables, &numbers, &mut expected);
            prop_assert_eq!(found, expected, "{:?}", kernels.isa());
        }
    }

    #[test]
    fn sums_become_distances(seed: u64, limit in -100.0_f32..100.0, has_terms: bool) {
        let mut random = Random(seed);
        let sums: [u16; BLOCK_ENTRIES] = std::array::from_fn(|_| random.bits() as u16);
        let affine = Affine { offset: -70.0, step: 0.002 };
        let terms = random.floats::<BLOCK_FLOATS>();
        let terms = has_terms.then_some(&terms);
        let factors = random.floats::<{ 3 * BLOCK_FLOATS }>();
        let by = Factored { product: affine, base: 1.5, error_scale: 7.0 };
        for (kernels, scalar) in all() {
            let (mut found, mut expected) = ([0.0; BLOCK_ENTRIES], [0.0; BLOCK_ENTRIES]);
            let mask = kernels.affine(&sums, affine, terms, limit, &mut found);
            scalar.affine(&sums, affine, terms, limit, &mut expected);
            let check = |mask: u32, found: &[f32; BLOCK_ENTRIES], expected: &[f32; BLOCK_ENTRIES]| {
                found.iter().zip(expected).enumerate().all(|(i, (found, expected))| {
                    (found - expected).abs() <= 1e-3 && (mask >> i & 1 == 1) == (*found <= limit)
                })
            };
            prop_assert!(check(mask, &found, &expected), "{:?}", kernels.isa());
            let mask = kernels.factored(&sums, by, &factors, limit, &mut found);
            scalar.factored(&sums, by, &factors, limit, &mut expected);
            prop_assert!(check(mask, &found, &expected), "{:?}", kernels.isa());
        }
    }
}
