//! [`IndexSpec`]: an index as one string, in the grammar of FAISS's `index_factory`.
//!
//! ```text
//! spec      = "auto" | [ ("IDMap" | "IDMap2") "," ] { transform "," } base [ "," "RFlat" ]
//! transform = "L2norm" | "PCA" dim | "PCAR" dim | "RR" dim | "OPQ" m [ "_" dim ]
//! base      = codec | "IVF" nlist "," codec | "HNSW" m [ "," codec ]
//! codec     = "Flat" | "SQ8" | "SQ6" | "SQ4" | "SQfp16" | "SQbf16" | "PQ" m [ "x" bits ] | "PQ" m "x4fs" [ "r" ] | "RaBitQ" [ bits ]
//! ```
//!
//! "auto" is read in any case, the rest as FAISS writes it. `parse.rs` reads words left to right by hand, so that an error can
//! point at the word it is about.

mod parse;

use std::fmt;

pub use parse::SpecError;

/// Rows below which `auto` searches exactly.
pub const AUTO_FLAT_BELOW_ROWS: usize = 10_000;
/// Rows beyond which `auto` no longer builds a graph, whose building takes some hundred times longer than that of lists.
pub const AUTO_GRAPH_UP_TO_ROWS: usize = 2_000_000;
/// Largest number of lists of an IVF index.
pub const MAX_NLIST: usize = 1 << 20;
/// Smallest and largest `M` of a graph.
pub const HNSW_M_RANGE: std::ops::RangeInclusive<usize> = 2..=256;
/// Bits of one index of a product quantizer.
pub const PQ_BITS_RANGE: std::ops::RangeInclusive<usize> = 1..=12;
/// Bits per dimension of RaBitQ.
pub const RABITQ_BITS_RANGE: std::ops::RangeInclusive<usize> = 1..=8;
/// `M` that `auto` builds graphs with.
pub(crate) const AUTO_M: usize = 16;

/// An index description in FAISS's factory grammar. `FromStr` + `Display` round-trip.
///
/// ```
/// use bilin_index::{Codec, IndexSpec, Structure};
/// let spec: IndexSpec = "IVF256,PQ16x4fs,RFlat".parse()?;
/// assert_eq!(spec.structure, Structure::Ivf { nlist: 256 });
/// assert_eq!(spec.codec, Codec::PqFastScan { m: 16, by_residual: false });
/// assert_eq!((spec.refine, spec.to_string().as_str()), (true, "IVF256,PQ16x4fs,RFlat"));
/// let error = "IVF256,Flot".parse::<IndexSpec>().unwrap_err();
/// assert_eq!((error.position, error.nearest.as_str()), (7, "Flat"));
/// # Ok::<(), bilin_index::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IndexSpec {
    /// Ids of the user's own stand beside the rows (FAISS's `IDMap`). Collections always keep such ids, so that the word
    /// changes nothing there; see [`crate::IdMap`] for a bare index.
    pub id_map: bool,
    /// Applied to rows and queries, in this order, before anything else sees them.
    pub transforms: Vec<Transform>,
    /// How rows are arranged.
    pub structure: Structure,
    /// How rows are stored and compared.
    pub codec: Codec,
    /// Candidates are measured again against the full vectors (FAISS's `RFlat`).
    pub refine: bool,
}

/// How rows are arranged for search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Structure {
    /// Chosen from the number of rows when the index is built.
    Auto,
    /// One after the other; a search looks at all of them.
    Scan,
    /// In lists by their nearest centroid.
    Ivf {
        /// Number of lists.
        nlist: usize,
    },
    /// In a graph of near neighbours.
    Hnsw {
        /// Links per node and level; level 0 has twice as many.
        m: usize,
    },
}

/// How a row is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// f32 values.
    Flat,
    /// Scalar quantizer: each value alone.
    Sq(ScalarBits),
    /// Product quantizer: `m` parts of the vector, each the number of one of `2^bits` centroids.
    Pq {
        /// Parts; divides the dimension.
        m: usize,
        /// Bits of a part.
        bits: usize,
    },
    /// Product quantizer of 4 bits, laid out so that tables stay in registers (André et al. 2015; FAISS's `fs`).
    PqFastScan {
        /// Parts; divides the dimension.
        m: usize,
        /// In IVF: what is stored is the difference to the list's centroid (FAISS's `fsr`).
        by_residual: bool,
    },
    /// Randomised binary codes with an error bound (Gao and Long 2024), extended to more bits (Gao et al. 2025).
    RaBitQ {
        /// Bits per dimension.
        bits: usize,
    },
}

/// Storage of one value by a scalar quantizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarBits {
    /// 8 bits between the smallest and largest value of a dimension.
    Eight,
    /// 6 bits, likewise.
    Six,
    /// 4 bits, likewise.
    Four,
    /// IEEE half precision.
    Fp16,
    /// The upper half of an f32.
    Bf16,
}

/// A change of vectors before they are indexed, learned from a sample where it needs to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transform {
    /// To unit length.
    L2Norm,
    /// To the `dim` directions of largest variance.
    Pca {
        /// Values that are kept.
        dim: usize,
        /// Followed by a random rotation, which evens out the variances.
        rotate: bool,
    },
    /// A random rotation (or projection) to `dim` values.
    RandomRotation {
        /// Values per vector afterwards.
        dim: usize,
    },
    /// A rotation learned for a product quantizer of `m` parts (Ge et al. 2013).
    Opq {
        /// Parts of the product quantizer.
        m: usize,
        /// Values per vector afterwards; `None` = as before.
        dim: Option<usize>,
    },
}

impl IndexSpec {
    /// Chosen from the number of rows when the index is built.
    pub const AUTO: IndexSpec = IndexSpec::of(Structure::Auto, Codec::Flat);
    /// Exact search over full vectors.
    pub const FLAT: IndexSpec = IndexSpec::of(Structure::Scan, Codec::Flat);

    /// A structure over a codec, nothing before or behind.
    pub const fn of(structure: Structure, codec: Codec) -> IndexSpec {
        IndexSpec { id_map: false, transforms: Vec::new(), structure, codec, refine: false }
    }

    /// Lists of codes.
    pub const fn ivf(nlist: usize, codec: Codec) -> IndexSpec {
        IndexSpec::of(Structure::Ivf { nlist }, codec)
    }

    /// A graph over full vectors.
    pub const fn hnsw(m: usize) -> IndexSpec {
        IndexSpec::of(Structure::Hnsw { m }, Codec::Flat)
    }

    /// True for `auto`.
    pub fn is_auto(&self) -> bool {
        self.structure == Structure::Auto
    }

    /// True when every row is looked at in full precision, so that nothing about a search can be chosen.
    pub fn is_exact(&self) -> bool {
        self.structure == Structure::Scan && self.codec == Codec::Flat && self.transforms.is_empty()
    }

    /// True when answers are measured against full vectors, so that only effort limits recall.
    pub fn is_full_precision(&self) -> bool {
        self.refine || (self.codec == Codec::Flat && self.transforms.is_empty())
    }

    /// The same index without words that change nothing where ids and full rows are kept beside it anyway: `IDMap`, and `RFlat`
    /// behind full vectors. Two specs that build the same index are equal in this form.
    pub fn canonical(&self) -> IndexSpec {
        let is_plain = self.codec == Codec::Flat && self.transforms.is_empty();
        IndexSpec { id_map: false, refine: self.refine && !is_plain, ..self.clone() }
    }

    /// Replaces `auto` by a concrete spec for `rows` rows: Flat below [`AUTO_FLAT_BELOW_ROWS`], a graph up to
    /// [`AUTO_GRAPH_UP_TO_ROWS`], IVF with `sqrt(rows)` lists beyond (measured in `docs/decisions/0001-auto-index.md`).
    /// Other specs are returned unchanged.
    pub fn resolve(&self, rows: usize, dim: usize) -> IndexSpec {
        debug_assert!(dim > 0);
        if !self.is_auto() {
            return self.clone();
        }
        match rows {
            0..AUTO_FLAT_BELOW_ROWS => IndexSpec::FLAT,
            AUTO_FLAT_BELOW_ROWS..=AUTO_GRAPH_UP_TO_ROWS => IndexSpec::hnsw(AUTO_M),
            _ => IndexSpec::ivf(rows.isqrt().clamp(1, MAX_NLIST), Codec::Flat),
        }
    }
}

impl fmt::Display for IndexSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.id_map {
            f.write_str("IDMap,")?;
        }
        for transform in &self.transforms {
            write!(f, "{transform},")?;
        }
        match (self.structure, self.codec) {
            (Structure::Auto, _) => f.write_str("auto"),
            (Structure::Scan, codec) => write!(f, "{codec}"),
            (Structure::Ivf { nlist }, codec) => write!(f, "IVF{nlist},{codec}"),
            (Structure::Hnsw { m }, Codec::Flat) => write!(f, "HNSW{m}"),
            (Structure::Hnsw { m }, codec) => write!(f, "HNSW{m},{codec}"),
        }?;
        f.write_str(if self.refine { ",RFlat" } else { "" })
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Codec::Flat => f.write_str("Flat"),
            Codec::Sq(bits) => f.write_str(bits.word()),
            Codec::Pq { m, bits: 8 } => write!(f, "PQ{m}"),
            Codec::Pq { m, bits } => write!(f, "PQ{m}x{bits}"),
            Codec::PqFastScan { m, by_residual } => {
                write!(f, "PQ{m}x4fs{}", if by_residual { "r" } else { "" })
            }
            Codec::RaBitQ { bits: 1 } => f.write_str("RaBitQ"),
            Codec::RaBitQ { bits } => write!(f, "RaBitQ{bits}"),
        }
    }
}

impl ScalarBits {
    /// Every kind, the most precise first.
    pub const ALL: [ScalarBits; 5] =
        [ScalarBits::Fp16, ScalarBits::Bf16, ScalarBits::Eight, ScalarBits::Six, ScalarBits::Four];

    /// As FAISS's factory spells it.
    pub fn word(self) -> &'static str {
        match self {
            ScalarBits::Eight => "SQ8",
            ScalarBits::Six => "SQ6",
            ScalarBits::Four => "SQ4",
            ScalarBits::Fp16 => "SQfp16",
            ScalarBits::Bf16 => "SQbf16",
        }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Transform::L2Norm => f.write_str("L2norm"),
            Transform::Pca { dim, rotate } => write!(f, "PCA{}{dim}", if rotate { "R" } else { "" }),
            Transform::RandomRotation { dim } => write!(f, "RR{dim}"),
            Transform::Opq { m, dim: None } => write!(f, "OPQ{m}"),
            Transform::Opq { m, dim: Some(dim) } => write!(f, "OPQ{m}_{dim}"),
        }
    }
}

#[cfg(test)]
mod tests;
