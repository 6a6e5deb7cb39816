//! Nanoseconds of each kernel on each instruction set of this machine: `cargo bench -p bilin-index`.
#![allow(missing_docs)] // divan generates the functions

use bilin_index::kernels::{Kernels, PANEL_ROWS, Tile, TileOut};
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
