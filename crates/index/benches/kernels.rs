//! Nanoseconds of each kernel on each instruction set of this machine: `cargo bench -p bilin-index`.
#![allow(missing_docs)] // divan generates the functions

use bilin_index::kernels::scattered::{ScatteredCodes, ScatteredKernels, ScatteredQuery};
use bilin_index::kernels::{
    BLOCK_ROWS, BLOCK_TERMS, CodeKernels, Isa, Kernels, LINE_BYTES, LINE_VALUES, NibbleBound, NibbleScan,
    PANEL_ROWS, Tile, TileOut,
};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

const DIMS: [usize; 3] = [128, 384, 1280];

fn cases() -> impl Iterator<Item = String> {
    Kernels::available().flat_map(|kernels| DIMS.map(|dim| format!("{:?}/{dim}", kernels.isa())))
}

/// The kernels and the dimension that a case names.
fn case(name: &str) -> (&'static Kernels, usize) {
    let named = |kernels: &&Kernels| DIMS.iter().any(|dim| format!("{:?}/{dim}", kernels.isa()) == name);
    let kernels = Kernels::available().find(named).expect("cases come from `cases`");
    (kernels, name.rsplit('/').next().and_then(|dim| dim.parse().ok()).expect("cases end in a dimension"))
}

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i * 2_654_435_761 % 1000) as f32 / 500.0 - 1.0).collect()
}

#[divan::bench(args = cases())]
fn l2_four_rows(bencher: Bencher<'_, '_>, name: &str) {
    let (kernels, dim) = case(name);
    let (query, rows) = (values(dim), values(4 * dim));
    let rows = [&rows[..dim], &rows[dim..2 * dim], &rows[2 * dim..3 * dim], &rows[3 * dim..]];
    bencher.bench_local(|| kernels.l2_4(black_box(&query), black_box(rows)));
}

#[divan::bench(args = cases())]
fn dot_pair(bencher: Bencher<'_, '_>, name: &str) {
    let (kernels, dim) = case(name);
    let (query, row) = (values(dim), values(dim));
    bencher.bench_local(|| kernels.dot(black_box(&query), black_box(&row)));
}

#[divan::bench(args = cases())]
fn l2_panel_of_16(bencher: Bencher<'_, '_>, name: &str) {
    let (kernels, dim) = case(name);
    let (query, panel) = (values(dim), values(dim * PANEL_ROWS));
    let mut out = [0.0; PANEL_ROWS];
    bencher.bench_local(|| kernels.panel_l2(black_box(&query), black_box(&panel), f32::INFINITY, &mut out));
}

#[divan::bench(args = cases())]
fn tile_per_query(bencher: Bencher<'_, '_>, name: &str) {
    let (kernels, dim) = case(name);
    let count = kernels.tile_queries();
    let (queries, panel) = (values(dim * count), values(dim * PANEL_ROWS));
    let limits = vec![0.0; count];
    let mut out = TileOut::default();
    let tile = Tile {
        queries: &queries,
        panel: &panel,
        dim,
        bias: &[0.0; PANEL_ROWS],
        scale: -1.0,
        limits: &limits,
    };
    bencher
        .counter(divan::counter::ItemsCount::new(count))
        .bench_local(|| kernels.tile(black_box(&tile), &mut out));
}

#[divan::bench(args = cases())]
fn pack_16_rows(bencher: Bencher<'_, '_>, name: &str) {
    let (kernels, dim) = case(name);
    let rows = values(dim * PANEL_ROWS);
    let mut panel = vec![0.0; dim * PANEL_ROWS];
    bencher.bench_local(|| kernels.pack(black_box(&rows), dim, &mut panel));
}

/// Sixteen rows of 4-bit codes with one query, then with as many as the registers hold.
#[divan::bench(args = cases())]
fn nibble_block_of_16(bencher: Bencher<'_, '_>, name: &str) {
    nibble_scan(bencher, name, |_| 1);
}

#[divan::bench(args = cases())]
fn nibble_block_per_query(bencher: Bencher<'_, '_>, name: &str) {
    nibble_scan(bencher, name, Kernels::scan_queries);
}

fn nibble_scan(bencher: Bencher<'_, '_>, name: &str, queries: fn(&Kernels) -> usize) {
    let (kernels, dim) = case(name);
    let (count, lines) = (queries(kernels), dim / LINE_VALUES);
    let codes: Vec<u8> = (0..lines * LINE_BYTES).map(|i| (i * 37) as u8).collect();
    let values: Vec<i8> = (0..count * dim).map(|i| (i * 29 % 255) as i8).collect();
    let (terms, bounds) = ([1.0; BLOCK_TERMS], vec![NibbleBound::default(); count]);
    let scan =
        NibbleScan { codes: &codes, terms: &terms, reach: &[1.0], lines, queries: &values, bounds: &bounds };
    let (mut masks, mut dots) = (vec![0; count], vec![[0; BLOCK_ROWS]; count]);
    bencher
        .counter(divan::counter::ItemsCount::new(count))
        .bench_local(|| kernels.nibble_scan(black_box(&scan), &mut masks, &mut dots));
}

#[divan::bench(args = cases())]
fn dot_of_packed_nibbles(bencher: Bencher<'_, '_>, name: &str) {
    let (kernels, dim) = case(name);
    let (codes, query) = (vec![0x9c_u8; dim / 2], vec![-77_i8; dim]);
    bencher.bench_local(|| kernels.dot_u4(black_box(&codes), black_box(&query)));
}

#[divan::bench(args = cases())]
fn dot_of_bytes(bencher: Bencher<'_, '_>, name: &str) {
    let (kernels, dim) = case(name);
    let (codes, query) = (vec![0x9c_u8; dim], vec![-77_i8; dim]);
    bencher.bench_local(|| kernels.dot_u8(black_box(&codes), black_box(&query)));
}

/// Thirty-two codes of 4 bits picked one by one, as at a hop of a graph walk.
#[divan::bench(args = cases())]
fn scattered_dots_of_32(bencher: Bencher<'_, '_>, name: &str) {
    let (kernels, dim) = case(name);
    let Some(kernels) = ScatteredKernels::for_isa(kernels.isa()) else { return };
    let code_bytes = (dim / 2).next_multiple_of(64);
    let bytes: Vec<u8> = (0..1024 * code_bytes).map(|i| ((i * 2_654_435_761) >> 7) as u8).collect();
    let codes = ScatteredCodes::new(&bytes, code_bytes);
    let query = ScatteredQuery::new((0..dim).map(|i| (i * 37 % 255) as i8), code_bytes);
    let rows: Vec<u32> = (0..32).map(|i| i * 389 % 1024).collect();
    let mut out = [0.0; 32];
    bencher.bench_local(|| kernels.dots(black_box(&codes), &query, black_box(&rows), &mut out));
}

/// Instruction sets that this machine has kernels over codes for.
fn code_cases() -> impl Iterator<Item = String> {
    let all = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Scalar].into_iter().filter_map(CodeKernels::for_isa);
    all.flat_map(|kernels| DIMS.map(|dim| format!("{:?}/{dim}", kernels.isa())))
}

/// Signs of 32 rows through tables, four dimensions at a time.
#[divan::bench(args = code_cases())]
fn table_sums_of_32(bencher: Bencher<'_, '_>, name: &str) {
    let all = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Scalar].into_iter().filter_map(CodeKernels::for_isa);
    let mut all = all.flat_map(|kernels| DIMS.map(|dim| (kernels, dim)));
    let (kernels, dim) = all
        .find(|(kernels, dim)| format!("{:?}/{dim}", kernels.isa()) == name)
        .expect("cases come from `code_cases`");
    let bytes: Vec<u8> = (0..dim * 4).map(|i| (i * 2_654_435_761 % 251) as u8).collect();
    let mut sums = [0; 32];
    bencher.bench_local(|| kernels.fast_scan(black_box(&bytes), black_box(&bytes), &mut sums));
}
