//! Portable kernels: the plain definition of each shape, and the reference of the property tests.

use super::nibbles;
use super::{IntegerKernels, Isa, Kernels, MAX_SCAN_QUERIES, MAX_TILE_QUERIES, PANEL_ROWS, Tile, TileOut};

pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Scalar,
    tile_queries: MAX_TILE_QUERIES,
    dot,
    l2,
    dot4: |query, rows| rows.map(|row| dot(query, row)),
    l2_4: |query, rows| rows.map(|row| l2(query, row)),
    panel_dot,
    panel_l2,
    tile,
    pack,
    integer: IntegerKernels {
        scan_queries: MAX_SCAN_QUERIES,
        scan: nibbles::scalar::scan,
        dot_u4: nibbles::scalar::dot_u4,
        dot_u8: nibbles::scalar::dot_u8,
    },
};

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn l2(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn panel_dot(query: &[f32], panel: &[f32], limit: f32, out: &mut [f32; PANEL_ROWS]) -> u32 {
    *out = [0.0; PANEL_ROWS];
    for (value, lanes) in query.iter().zip(panel.chunks_exact(PANEL_ROWS)) {
        for (sum, lane) in out.iter_mut().zip(lanes) {
            *sum += value * lane;
        }
    }
    mask(out, |dot| -dot <= limit)
}

fn panel_l2(query: &[f32], panel: &[f32], limit: f32, out: &mut [f32; PANEL_ROWS]) -> u32 {
    *out = [0.0; PANEL_ROWS];
    for (value, lanes) in query.iter().zip(panel.chunks_exact(PANEL_ROWS)) {
        for (sum, lane) in out.iter_mut().zip(lanes) {
            *sum += (value - lane) * (value - lane);
        }
    }
    mask(out, |distance| distance <= limit)
}

fn mask(values: &[f32; PANEL_ROWS], is_within: impl Fn(f32) -> bool) -> u32 {
    values.iter().enumerate().fold(0, |mask, (lane, &value)| mask | u32::from(is_within(value)) << lane)
}

fn tile(tile: &Tile<'_>, out: &mut TileOut) {
    for (i, query) in tile.queries.chunks_exact(tile.dim).enumerate() {
        let values = &mut out.values[i];
        panel_dot(query, tile.panel, f32::INFINITY, values);
        out.masks[i] = 0;
        for (lane, value) in values.iter_mut().enumerate() {
            *value = tile.bias[lane] + tile.scale * *value;
            out.masks[i] |= u32::from(*value <= tile.limits[i]) << lane;
        }
    }
}

/// Also what the vector kernels use for the last few columns.
pub(super) fn pack_columns(rows: &[f32], dim: usize, columns: std::ops::Range<usize>, panel: &mut [f32]) {
    for column in columns {
        let lanes = &mut panel[column * PANEL_ROWS..(column + 1) * PANEL_ROWS];
        lanes.fill(0.0);
        for (lane, row) in lanes.iter_mut().zip(rows.chunks_exact(dim)) {
            *lane = row[column];
        }
    }
}

fn pack(rows: &[f32], dim: usize, panel: &mut [f32]) {
    pack_columns(rows, dim, 0..dim, panel);
}
