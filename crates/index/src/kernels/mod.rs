//! Distance kernels, chosen once at run time for the instruction set at hand.
//!
//! Four shapes, all on f32: one pair; one query against four scattered rows (graphs; overlaps four memory reads); one query
//! against a *panel*; a few queries against a panel (a GEMM tile). A **panel** is 16 rows interleaved, `[dim][16]`: lane `r`
//! of column `d` is value `d` of row `r`, so sixteen distances come out of vector lanes without a horizontal sum. Beside them,
//! integer kernels over 4-bit and 8-bit codes (`nibbles`).
//!
//! Invariants: a kernel agrees with its scalar twin within [`tolerance`]; for one instruction set, [`Kernels::dot`] and
//! [`Kernels::dot4`] (and their L2 counterparts) give the same bits for the same pair, so answers do not depend on how
//! pairs were grouped. The algorithm is written once over `lanes::Lanes`; each instruction set only names its registers.

#[cfg(target_arch = "aarch64")]
mod aarch64;
pub mod codes;
#[cfg(target_arch = "x86_64")]
mod codes_x86;
mod lanes;
mod nibbles;
#[cfg(target_arch = "aarch64")]
mod nibbles_aarch64;
#[cfg(target_arch = "x86_64")]
mod nibbles_x86_64;
mod scalar;
pub mod scattered;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use codes::{Affine, CodeKernels, Factored, code_kernels};
pub use nibbles::{
    BLOCK_ROWS, BLOCK_TERMS, LINE_BYTES, LINE_VALUES, MAX_SCAN_QUERIES, NibbleBound, NibbleScan,
};
use std::sync::OnceLock;

/// Rows in a panel.
pub const PANEL_ROWS: usize = 16;
/// Most queries that one call of [`Kernels::tile`] takes.
pub const MAX_TILE_QUERIES: usize = 12;

/// An instruction set that kernels exist for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Portable Rust; the reference that the others are tested against.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512F.
    Avx512,
    /// AArch64 Advanced SIMD.
    Neon,
}

type PairKernel = unsafe fn(&[f32], &[f32]) -> f32;
type FourKernel = unsafe fn(&[f32], [&[f32]; 4]) -> [f32; 4];
type PanelKernel = unsafe fn(&[f32], &[f32], f32, &mut [f32; PANEL_ROWS]) -> u32;
type TileKernel = unsafe fn(&Tile<'_>, &mut TileOut);
type PackKernel = unsafe fn(&[f32], usize, &mut [f32]);
type CodeKernel = unsafe fn(&[u8], &[i8]) -> i32;
type NibbleKernel = unsafe fn(&NibbleScan<'_>, &mut [u16], &mut [[i32; BLOCK_ROWS]]);

/// One set of kernels for one instruction set.
#[derive(Clone, Copy)]
pub struct Kernels {
    isa: Isa,
    tile_queries: usize,
    dot: PairKernel,
    l2: PairKernel,
    dot4: FourKernel,
    l2_4: FourKernel,
    panel_dot: PanelKernel,
    panel_l2: PanelKernel,
    tile: TileKernel,
    pack: PackKernel,
    integer: IntegerKernels,
}

/// The integer kernels of an instruction set; see `nibbles`.
#[derive(Clone, Copy)]
struct IntegerKernels {
    scan_queries: usize,
    scan: NibbleKernel,
    dot_u4: CodeKernel,
    dot_u8: CodeKernel,
}

/// Input of [`Kernels::tile`]: up to [`Kernels::tile_queries`] queries against one panel.
#[derive(Clone, Copy, Debug)]
pub struct Tile<'a> {
    /// `[queries, dim]`, row-major.
    pub queries: &'a [f32],
    /// `[dim][PANEL_ROWS]`.
    pub panel: &'a [f32],
    /// Values per vector.
    pub dim: usize,
    /// Added to each row's value (squared norms under L2, zeros else).
    pub bias: &'a [f32; PANEL_ROWS],
    /// Multiplies each inner product (-2 under L2, -1 else).
    pub scale: f32,
    /// Per query: values at or below this one are marked.
    pub limits: &'a [f32],
}

/// Output of [`Kernels::tile`].
#[derive(Clone, Debug)]
pub struct TileOut {
    /// `bias[row] + scale * dot(query, row)` for each query and lane.
    pub values: [[f32; PANEL_ROWS]; MAX_TILE_QUERIES],
    /// Per query, a bit per lane: the value is at or below the limit.
    pub masks: [u32; MAX_TILE_QUERIES],
}

impl Default for TileOut {
    fn default() -> Self {
        TileOut { values: [[0.0; PANEL_ROWS]; MAX_TILE_QUERIES], masks: [0; MAX_TILE_QUERIES] }
    }
}

impl Kernels {
    /// The kernels of `isa`, when this machine can run them.
    pub fn for_isa(isa: Isa) -> Option<&'static Kernels> {
        match isa {
            Isa::Scalar => Some(&scalar::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") => {
                Some(&x86_64::AVX2)
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma") =>
            {
                let has_vnni = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni");
                Some(if has_vnni { &x86_64::AVX512 } else { &x86_64::AVX512_WITHOUT_VNNI })
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon if std::arch::is_aarch64_feature_detected!("neon") => Some(&aarch64::NEON),
            _ => None,
        }
    }

    /// Every set that this machine can run, the fastest first.
    pub fn available() -> impl Iterator<Item = &'static Kernels> {
        [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Scalar].into_iter().filter_map(Kernels::for_isa)
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Most queries that [`Kernels::tile`] takes at once.
    pub fn tile_queries(&self) -> usize {
        self.tile_queries
    }

    /// Inner product of two vectors of equal length.
    ///
    /// # Panics
    /// When the lengths differ.
    #[inline]
    pub fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of unequal length");
        // SAFETY: the lengths are equal and `for_isa` gave these kernels out only where the machine has the instructions.
        unsafe { (self.dot)(a, b) }
    }

    /// Squared Euclidean distance of two vectors of equal length.
    ///
    /// # Panics
    /// When the lengths differ.
    #[inline]
    pub fn l2(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of unequal length");
        // SAFETY: as in `dot`.
        unsafe { (self.l2)(a, b) }
    }

    /// Inner products of one query with four rows.
    ///
    /// # Panics
    /// When the lengths differ.
    #[inline]
    pub fn dot4(&self, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        assert!(rows.iter().all(|row| row.len() == query.len()), "vectors of unequal length");
        // SAFETY: as in `dot`.
        unsafe { (self.dot4)(query, rows) }
    }

    /// Squared Euclidean distances of one query to four rows.
    ///
    /// # Panics
    /// When the lengths differ.
    #[inline]
    pub fn l2_4(&self, query: &[f32], rows: [&[f32]; 4]) -> [f32; 4] {
        assert!(rows.iter().all(|row| row.len() == query.len()), "vectors of unequal length");
        // SAFETY: as in `dot`.
        unsafe { (self.l2_4)(query, rows) }
    }

    /// Inner products of one query with the rows of a panel, `[dim][PANEL_ROWS]`. Returns a bit per lane with
    /// `-dot <= limit`.
    ///
    /// # Panics
    /// When the panel has another shape.
    #[inline]
    pub fn panel_dot(&self, query: &[f32], panel: &[f32], limit: f32, out: &mut [f32; PANEL_ROWS]) -> u32 {
        assert_eq!(panel.len(), query.len() * PANEL_ROWS, "a panel of another dimension");
        // SAFETY: the panel has `PANEL_ROWS` lanes per value of the query; instructions as in `dot`.
        unsafe { (self.panel_dot)(query, panel, limit, out) }
    }

    /// Squared Euclidean distances of one query to the rows of a panel. Returns a bit per lane at or below `limit`; stops
    /// early with 0, `out` then meaningless, once every row is known to be farther.
    ///
    /// # Panics
    /// When the panel has another shape.
    #[inline]
    pub fn panel_l2(&self, query: &[f32], panel: &[f32], limit: f32, out: &mut [f32; PANEL_ROWS]) -> u32 {
        assert_eq!(panel.len(), query.len() * PANEL_ROWS, "a panel of another dimension");
        // SAFETY: as in `panel_dot`.
        unsafe { (self.panel_l2)(query, panel, limit, out) }
    }

    /// A few queries against one panel, marking the pairs within the queries' limits. Lane sums run over the dimension in
    /// order, so a pair's value does not depend on the tile it is in.
    ///
    /// # Panics
    /// When the shapes in `tile` do not agree or it holds more than [`Kernels::tile_queries`] queries.
    #[inline]
    pub fn tile(&self, tile: &Tile<'_>, out: &mut TileOut) {
        let queries = tile.limits.len();
        assert!(queries <= self.tile_queries, "too many queries for a tile");
        assert_eq!(tile.queries.len(), queries * tile.dim, "queries of another dimension");
        assert_eq!(tile.panel.len(), tile.dim * PANEL_ROWS, "a panel of another dimension");
        // SAFETY: every shape that the kernel relies on was just checked; instructions as in `dot`.
        unsafe { (self.tile)(tile, out) }
    }

    /// Interleaves up to [`PANEL_ROWS`] rows, `[n, dim]`, into a panel; missing rows become zeros.
    ///
    /// # Panics
    /// When there are more rows, or the panel has another shape.
    pub fn pack(&self, rows: &[f32], dim: usize, panel: &mut [f32]) {
        assert!(
            rows.len() <= dim * PANEL_ROWS && rows.len().is_multiple_of(dim),
            "too many rows for a panel"
        );
        assert_eq!(panel.len(), dim * PANEL_ROWS, "a panel of another dimension");
        // SAFETY: shapes just checked; instructions as in `dot`.
        unsafe { (self.pack)(rows, dim, panel) }
    }
}

impl Kernels {
    /// Most queries that [`Kernels::nibble_scan`] takes at once.
    pub fn scan_queries(&self) -> usize {
        self.integer.scan_queries
    }

    /// A few queries against consecutive blocks of 4-bit codes. Place `query * blocks + block` of `dots` gets the sums of the
    /// block's rows and that of `masks` a bit per row whose value is not above the query's limit. The same bits on every
    /// instruction set.
    ///
    /// # Panics
    /// When the shapes in `scan` do not agree, it holds more than [`Kernels::scan_queries`] queries, or the outputs are
    /// shorter than `queries * blocks`.
    #[inline]
    pub fn nibble_scan(&self, scan: &NibbleScan<'_>, masks: &mut [u16], dots: &mut [[i32; BLOCK_ROWS]]) {
        let (queries, blocks) = (scan.bounds.len(), scan.reach.len());
        assert!(queries <= self.integer.scan_queries, "too many queries for a scan");
        assert_eq!(
            Some(scan.codes.len()),
            blocks.checked_mul(scan.lines * LINE_BYTES),
            "codes of another shape"
        );
        assert_eq!(scan.terms.len(), blocks * BLOCK_TERMS, "terms of another number of blocks");
        assert_eq!(scan.queries.len(), queries * scan.lines * LINE_VALUES, "queries of another dimension");
        assert!(masks.len() >= queries * blocks && dots.len() >= queries * blocks, "outputs are too short");
        // SAFETY: every shape that the kernel relies on was just checked; instructions as in `dot`.
        unsafe { (self.integer.scan)(scan, masks, dots) }
    }

    /// Inner product of a packed row of 4-bit codes (byte `j`: value `j` below, value `codes.len() + j` above) with a query
    /// whose values are in -127..=127.
    ///
    /// # Panics
    /// When the query is not twice as long as the codes.
    #[inline]
    pub fn dot_u4(&self, codes: &[u8], query: &[i8]) -> i32 {
        assert_eq!(query.len(), 2 * codes.len(), "a query of another dimension");
        // SAFETY: the lengths agree; instructions as in `dot`.
        unsafe { (self.integer.dot_u4)(codes, query) }
    }

    /// Inner product of 8-bit codes with a query; exact for every value.
    ///
    /// # Panics
    /// When the lengths differ.
    #[inline]
    pub fn dot_u8(&self, codes: &[u8], query: &[i8]) -> i32 {
        assert_eq!(query.len(), codes.len(), "vectors of unequal length");
        // SAFETY: the lengths are equal; instructions as in `dot`.
        unsafe { (self.integer.dot_u8)(codes, query) }
    }
}

/// The fastest kernels of this machine, chosen at the first call.
#[inline]
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| Kernels::available().next().unwrap_or(&scalar::KERNELS))
}

/// Asks for the memory of `values` to be brought near; a hint that changes no result.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let bytes = std::mem::size_of_val(values).min(MAX_PREFETCH_BYTES);
        for line in (0..bytes).step_by(64) {
            // SAFETY: a prefetch reads nothing; the address is inside `values`.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast::<i8>().add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Beyond this the hardware's own prefetching follows.
#[cfg(target_arch = "x86_64")]
const MAX_PREFETCH_BYTES: usize = 1024;

/// Largest difference that two summation orders of `dim` products may show, given the sum of the products' magnitudes:
/// the classical bound `gamma(n) * sum |a_i b_i|` (Higham, Accuracy and Stability of Numerical Algorithms, 3.1), for both.
pub fn tolerance(dim: usize, magnitude: f32) -> f32 {
    // A few roundings more than one per product: differences, bias and scale of the L2 forms.
    let n = (dim + 8) as f32;
    2.0 * n * (f32::EPSILON / 2.0) * magnitude + f32::MIN_POSITIVE
}
