//! What a FAISS file holds, as plain data: [`Index`] nested in [`Index`].
//!
//! The tree is neutral: it names what is stored, not how it is searched, and older forms of a type are the same node as the
//! current one. Big arrays borrow from the file ([`Packed`]). What the reader hands out satisfies the invariants written
//! here; the writer expects them.

use super::Packed;

/// How a FAISS index compares vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricType {
    /// 0; a larger value is closer. Also the cosine, over rows of unit length.
    InnerProduct,
    /// 1; squared distance.
    L2,
    /// Any other: L1, Lp, Canberra, ...
    Other {
        /// FAISS's number, above 1.
        code: i32,
        /// Its argument (p of Lp).
        argument: f32,
    },
}

/// What every index starts with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Header {
    /// Values per vector given to this index, `1..=MAX_DIM`.
    pub dim: usize,
    /// Vectors held.
    pub rows: usize,
    /// False before training.
    pub is_trained: bool,
    /// How vectors are compared.
    pub metric: MetricType,
}

/// An index: its header and what kind it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Index<'a> {
    /// Dimension, rows, metric.
    pub header: Header,
    /// The rest.
    pub kind: Kind<'a>,
}

/// The kinds of index.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind<'a> {
    /// `IxFI`, `IxF2`, `IxFl`: full vectors, `[rows, dim]`.
    Flat(Packed<'a, f32>),
    /// `IxPq`: product codes, `[rows, code_bytes]`.
    Pq(Pq<'a>),
    /// `IxSQ`: scalar codes.
    Sq {
        /// How codes are made.
        quantizer: ScalarQuantizer<'a>,
        /// `[rows, code_bytes]`.
        codes: Packed<'a, u8>,
    },
    /// `Iw..`: inverted lists.
    Ivf(Box<Ivf<'a>>),
    /// `IH..`: a graph over another index.
    Hnsw(Box<Hnsw<'a>>),
    /// `IxMp`, `IxM2`: positions of another index renamed to user ids.
    IdMap {
        /// Position -> user id, `[rows]`.
        ids: Packed<'a, i64>,
        /// Knows positions by id as well (`IxM2`).
        is_two_way: bool,
        /// What is renamed; as many rows.
        inner: Box<Index<'a>>,
    },
    /// `IxPT`: vectors transformed before they reach another index.
    PreTransform {
        /// Applied in order; dimensions fit each other.
        chain: Vec<Transform<'a>>,
        /// Takes what the last transform gives.
        inner: Box<Index<'a>>,
    },
    /// `IxRF`: answers of one index ordered anew by another.
    Refine {
        /// Finds candidates.
        base: Box<Index<'a>>,
        /// Measures them again; as many rows.
        refine: Box<Index<'a>>,
        /// Candidates per result.
        k_factor: f32,
    },
    /// `IPfs`: 4-bit product codes in blocks.
    PqFastScan {
        /// How codes are made; 4 bits.
        quantizer: ProductQuantizer<'a>,
        /// Where codes stand.
        blocks: Blocks,
        /// `[ceil(rows / blocks.rows)][blocks.bytes()]`.
        codes: Packed<'a, u8>,
    },
}

/// Product codes and how they are searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Pq<'a> {
    /// How codes are made.
    pub quantizer: ProductQuantizer<'a>,
    /// `[rows, code_bytes]`.
    pub codes: Packed<'a, u8>,
    /// FAISS's number, 0 = asymmetric distances.
    pub search_type: i32,
    /// Used by its polysemous search alone.
    pub encode_signs: bool,
    /// Hamming threshold of its polysemous search.
    pub polysemous_threshold: i32,
}

/// Sub-vectors, each replaced by the number of its nearest centroid.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductQuantizer<'a> {
    /// Values per vector; a multiple of `parts`.
    pub dim: usize,
    /// Sub-vectors (M).
    pub parts: usize,
    /// Bits per number, `1..=24`.
    pub bits: usize,
    /// `[parts, 2^bits, dim / parts]`.
    pub centroids: Packed<'a, f32>,
}

impl ProductQuantizer<'_> {
    /// Bytes of a code: `parts` numbers of `bits` bits, little-endian, rounded up.
    pub fn code_bytes(&self) -> usize {
        (self.parts * self.bits).div_ceil(8)
    }
}

/// The scalar codes that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarKind {
    /// 0: a byte per value, a range per column.
    Bits8,
    /// 1: four bits per value, a range per column.
    Bits4,
    /// 2: a byte per value, one range.
    Bits8Uniform,
    /// 3: four bits per value, one range.
    Bits4Uniform,
    /// 4: IEEE half precision.
    Half,
    /// 5: the byte itself.
    Byte,
    /// 6: six bits per value, a range per column.
    Bits6,
    /// 7: the upper half of an f32.
    Brain,
    /// 8: the byte minus 128.
    SignedByte,
}

impl ScalarKind {
    const ALL: [ScalarKind; 9] = [
        ScalarKind::Bits8,
        ScalarKind::Bits4,
        ScalarKind::Bits8Uniform,
        ScalarKind::Bits4Uniform,
        ScalarKind::Half,
        ScalarKind::Byte,
        ScalarKind::Bits6,
        ScalarKind::Brain,
        ScalarKind::SignedByte,
    ];

    /// FAISS's number (`QuantizerType`).
    pub fn code(self) -> i32 {
        Self::ALL.iter().position(|&kind| kind == self).unwrap_or(0) as i32
    }

    /// The kind of FAISS's number.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// Bits per value.
    pub fn bits(self) -> usize {
        match self {
            ScalarKind::Bits4 | ScalarKind::Bits4Uniform => 4,
            ScalarKind::Bits6 => 6,
            ScalarKind::Half | ScalarKind::Brain => 16,
            _ => 8,
        }
    }

    /// Trained values that vectors of `dim` values need: minimum and width, per column or once.
    pub fn trained_values(self, dim: usize) -> usize {
        match self {
            ScalarKind::Bits8 | ScalarKind::Bits4 | ScalarKind::Bits6 => 2 * dim,
            ScalarKind::Bits8Uniform | ScalarKind::Bits4Uniform => 2,
            _ => 0,
        }
    }
}

/// Values rounded one by one.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarQuantizer<'a> {
    /// How a value becomes bits.
    pub kind: ScalarKind,
    /// Values per vector.
    pub dim: usize,
    /// FAISS's number of how the range is learnt; 0 = minimum and maximum.
    pub range_statistic: i32,
    /// Its argument.
    pub range_argument: f32,
    /// Minimum (or minima), then width (or widths); empty before training.
    pub trained: Packed<'a, f32>,
}

impl ScalarQuantizer<'_> {
    /// Bytes of a code: `dim` numbers, little-endian, rounded up.
    pub fn code_bytes(&self) -> usize {
        (self.dim * self.kind.bits()).div_ceil(8)
    }
}

/// Vectors in lists by their nearest centroid.
#[derive(Clone, Debug, PartialEq)]
pub struct Ivf<'a> {
    /// Number of lists.
    pub nlist: usize,
    /// Lists that a search visits unless told otherwise.
    pub nprobe: u64,
    /// Index over the centroids: `nlist` rows, or none before training.
    pub coarse: Index<'a>,
    /// How ids are looked up.
    pub direct_map: DirectMap<'a>,
    /// Codes hold the difference from the list's centroid.
    pub by_residual: bool,
    /// How codes are made.
    pub payload: Payload<'a>,
    /// `None` when the file leaves them out.
    pub lists: Option<Lists<'a>>,
}

/// What the lists of an [`Ivf`] hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload<'a> {
    /// `IwFl`: full vectors, f32.
    Flat,
    /// `IwSq`.
    Sq(ScalarQuantizer<'a>),
    /// `IwPQ`.
    Pq(ProductQuantizer<'a>),
    /// `IwQR`: product codes, and further ones of what the first leave over.
    PqRefined {
        /// Codes in the lists.
        quantizer: ProductQuantizer<'a>,
        /// Second codes; `None` before training.
        refine: Option<(ProductQuantizer<'a>, Packed<'a, u8>)>,
        /// Candidates per result.
        k_factor: f32,
    },
    /// `IwPf`: 4-bit product codes, in blocks.
    PqFastScan {
        /// How codes are made; 4 bits.
        quantizer: ProductQuantizer<'a>,
        /// Where codes stand in a list.
        blocks: Blocks,
    },
}

/// How fast-scan codes are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Vectors per block, a multiple of 32.
    pub rows: usize,
    /// Sub-vectors, rounded up to an even number.
    pub parts: usize,
}

impl Blocks {
    /// Bytes per block: 4 bits per vector and part.
    pub fn bytes(&self) -> usize {
        self.rows * self.parts / 2
    }
}

/// How an [`Ivf`] finds a vector by id: list number in the upper half, offset in the lower; -1 = removed.
#[derive(Clone, Debug, PartialEq)]
pub enum DirectMap<'a> {
    /// It does not.
    None,
    /// By position, `[rows]`.
    Array(Packed<'a, i64>),
    /// Pairs of id and place, `[rows, 2]`.
    Table(Packed<'a, i64>),
}

/// Inverted lists: those that hold something, by ascending number.
#[derive(Clone, Debug, PartialEq)]
pub struct Lists<'a> {
    /// Lists, empty ones counted.
    pub nlist: usize,
    /// Bytes per code.
    pub code_bytes: usize,
    /// Those that are not empty.
    pub filled: Vec<List<'a>>,
}

/// One inverted list.
#[derive(Clone, Debug, PartialEq)]
pub struct List<'a> {
    /// Its number, below `nlist`.
    pub number: usize,
    /// `[len, code_bytes]`, or blocks.
    pub codes: Packed<'a, u8>,
    /// User ids, `[len]`; never -1.
    pub ids: Packed<'a, i64>,
}

/// A graph in levels over the vectors of another index.
#[derive(Clone, Debug, PartialEq)]
pub struct Hnsw<'a> {
    /// Its links.
    pub graph: Graph<'a>,
    /// The vectors, as many as nodes; `None` where the file leaves them out (`null`).
    pub storage: Option<Index<'a>>,
}

/// Links of a graph in FAISS's layout; every link is checked to be in range and on its level.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph<'a> {
    /// Probability of each level.
    pub level_probabilities: Packed<'a, f64>,
    /// `widths[l]` links per node on level `l` begin at the sum of those before; here as that running sum, from 0.
    pub cumulative_widths: Packed<'a, i32>,
    /// Levels that each node is on, at least 1; `[rows]`.
    pub levels: Packed<'a, i32>,
    /// Where each node's links start; `[rows + 1]`.
    pub offsets: Packed<'a, u64>,
    /// Links, level 0 first; -1 = unused, to the end of the list.
    pub neighbours: Packed<'a, i32>,
    /// Where searches start; -1 when empty.
    pub entry: i32,
    /// Top level of the entry; -1 when empty.
    pub max_level: i32,
    /// Candidates kept while building.
    pub ef_construction: i32,
    /// Candidates kept by a search unless told otherwise.
    pub ef_search: i32,
}

/// Something done to vectors before they are indexed.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform<'a> {
    /// Values that come in.
    pub dim_in: usize,
    /// Values that go out.
    pub dim_out: usize,
    /// False before training.
    pub is_trained: bool,
    /// What is done.
    pub kind: TransformKind<'a>,
}

/// The kinds of transform.
#[derive(Clone, Debug, PartialEq)]
pub enum TransformKind<'a> {
    /// `LTra`, `rrot`, `Pcam`, `PcAm`, `PCAm`, `Viqm`: `y = A x + b`.
    Linear {
        /// `A`, `[dim_out, dim_in]`; empty before training.
        matrix: Packed<'a, f32>,
        /// `b`, `[dim_out]`.
        bias: Option<Packed<'a, f32>>,
    },
    /// `RmDT`: column `i` is column `map[i]` of the input; -1 = zero.
    Remap(Packed<'a, i32>),
    /// `VNrm`: scaled to length one in this norm; 2 = Euclid.
    Normalise(f32),
    /// `VCnt`: this is subtracted; empty before training.
    Centre(Packed<'a, f32>),
    /// `HRot`: a rotation by Hadamard matrices, drawn from a seed.
    Hadamard(u32),
    /// `Viqt`: centred, normalised, then rotated.
    Itq {
        /// Subtracted first; empty = nothing.
        mean: Packed<'a, f32>,
        /// Reduces and rotates.
        rotation: Box<Transform<'a>>,
    },
}
