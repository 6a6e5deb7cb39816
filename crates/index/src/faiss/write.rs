//! [`write()`]: [`Index`] -> bytes that every FAISS since 1.7 reads.
//!
//! Only current codes are written, and of transforms only `LTra`, `VNrm`, `VCnt` and `RmDT`: what a PCA or a rotation does is
//! a matrix and a bias, and older readers do not know newer fields of the named types. Inverted lists are always `ilar` with
//! all sizes. A tree that the reader made can be written; one made by hand must satisfy the invariants of [`Index`].

use super::tree::{
    DirectMap, Graph, Header, Hnsw, Index, Ivf, Kind, Lists, MetricType, Payload, Pq, ProductQuantizer,
    ScalarQuantizer, Transform, TransformKind,
};
use super::{FaissError, MAX_NESTING, Packed};
use bytemuck::{NoUninit, Pod};
use std::io::Write;

/// What stands in two fields of every header that mean nothing.
const DUMMY: i64 = 1 << 20;

/// Writes an index and everything inside it.
///
/// ```
/// use bilin_index::faiss::{self, Header, Index, Kind, MetricType};
/// let header = Header { dim: 2, rows: 1, is_trained: true, metric: MetricType::L2 };
/// let index = Index { header, kind: Kind::Flat(vec![0.5, 0.25].into()) };
/// let mut bytes = Vec::new();
/// faiss::write(&index, &mut bytes)?;
/// assert_eq!(faiss::read(&bytes)?, index);
/// # Ok::<(), faiss::FaissError>(())
/// ```
pub fn write(index: &Index<'_>, out: &mut dyn Write) -> Result<(), FaissError> {
    let mut writer = Writer { out, depth: 0 };
    writer.index(index)?;
    Ok(writer.out.flush()?)
}

struct Writer<'w> {
    out: &'w mut dyn Write,
    depth: usize,
}

/// A kind that is read but not written.
fn refuse(what: &str) -> Result<(), FaissError> {
    Err(FaissError::Write { what: what.to_owned(), hint: "write plain product codes instead" })
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), FaissError> {
        Ok(self.out.write_all(bytes)?)
    }

    fn one<T: NoUninit>(&mut self, value: T) -> Result<(), FaissError> {
        self.bytes(bytemuck::bytes_of(&value))
    }

    fn bool(&mut self, value: bool) -> Result<(), FaissError> {
        self.one(u8::from(value))
    }

    fn size(&mut self, value: usize) -> Result<(), FaissError> {
        self.one(value as u64)
    }

    /// Length in numbers, then the numbers.
    fn vector<T: Pod>(&mut self, values: &Packed<'_, T>) -> Result<(), FaissError> {
        self.size(values.len())?;
        self.bytes(values.as_bytes())
    }

    /// Code and header.
    fn header(&mut self, code: &[u8; 4], header: &Header) -> Result<(), FaissError> {
        self.bytes(code)?;
        self.one(header.dim as i32)?;
        self.one(header.rows as i64)?;
        self.one(DUMMY)?;
        self.one(DUMMY)?;
        self.bool(header.is_trained)?;
        match header.metric {
            MetricType::InnerProduct => self.one(0_i32),
            MetricType::L2 => self.one(1_i32),
            MetricType::Other { code, argument } => {
                self.one(code)?;
                self.one(argument)
            }
        }
    }

    fn index(&mut self, index: &Index<'_>) -> Result<(), FaissError> {
        if self.depth == MAX_NESTING {
            let what = format!("more than {MAX_NESTING} indexes inside each other");
            return Err(FaissError::Write { what, hint: "write the inner ones by themselves" });
        }
        self.depth += 1;
        self.kind(index)?;
        self.depth -= 1;
        Ok(())
    }

    fn kind(&mut self, Index { header, kind }: &Index<'_>) -> Result<(), FaissError> {
        match kind {
            Kind::Flat(values) => {
                let code = match header.metric {
                    MetricType::InnerProduct => b"IxFI",
                    MetricType::L2 => b"IxF2",
                    MetricType::Other { .. } => b"IxFl",
                };
                self.header(code, header)?;
                self.vector(values)
            }
            Kind::Pq(pq) => self.pq(header, pq),
            Kind::Sq { quantizer, codes } => {
                self.header(b"IxSQ", header)?;
                self.scalar_quantizer(quantizer)?;
                self.vector(codes)
            }
            Kind::Ivf(ivf) => self.ivf(header, ivf),
            Kind::Hnsw(hnsw) => self.hnsw(header, hnsw),
            Kind::IdMap { ids, is_two_way, inner } => {
                self.header(if *is_two_way { b"IxM2" } else { b"IxMp" }, header)?;
                self.index(inner)?;
                self.vector(ids)
            }
            Kind::PreTransform { chain, inner } => {
                self.header(b"IxPT", header)?;
                self.one(chain.len() as i32)?;
                chain.iter().try_for_each(|transform| self.transform(transform))?;
                self.index(inner)
            }
            Kind::Refine { base, refine, k_factor } => {
                self.header(b"IxRF", header)?;
                self.index(base)?;
                self.index(refine)?;
                self.one(*k_factor)
            }
            Kind::PqFastScan { .. } => refuse("a fast-scan product quantizer"),
        }
    }

    fn pq(&mut self, header: &Header, pq: &Pq<'_>) -> Result<(), FaissError> {
        self.header(b"IxPq", header)?;
        self.product_quantizer(&pq.quantizer)?;
        self.vector(&pq.codes)?;
        self.one(pq.search_type)?;
        self.bool(pq.encode_signs)?;
        self.one(pq.polysemous_threshold)
    }

    fn product_quantizer(&mut self, quantizer: &ProductQuantizer<'_>) -> Result<(), FaissError> {
        self.size(quantizer.dim)?;
        self.size(quantizer.parts)?;
        self.size(quantizer.bits)?;
        self.vector(&quantizer.centroids)
    }

    fn scalar_quantizer(&mut self, quantizer: &ScalarQuantizer<'_>) -> Result<(), FaissError> {
        self.one(quantizer.kind.code())?;
        self.one(quantizer.range_statistic)?;
        self.one(quantizer.range_argument)?;
        self.size(quantizer.dim)?;
        self.size(quantizer.code_bytes())?;
        self.vector(&quantizer.trained)
    }

    fn ivf(&mut self, header: &Header, ivf: &Ivf<'_>) -> Result<(), FaissError> {
        let code = match &ivf.payload {
            Payload::Flat => b"IwFl",
            Payload::Sq(_) => b"IwSq",
            Payload::Pq(_) => b"IwPQ",
            Payload::PqRefined { .. } => b"IwQR",
            Payload::PqFastScan { .. } => return refuse("a fast-scan inverted file"),
        };
        self.header(code, header)?;
        self.size(ivf.nlist)?;
        self.one(ivf.nprobe)?;
        self.index(&ivf.coarse)?;
        self.direct_map(&ivf.direct_map)?;
        match &ivf.payload {
            Payload::Sq(quantizer) => {
                self.scalar_quantizer(quantizer)?;
                self.size(quantizer.code_bytes())?;
                self.bool(ivf.by_residual)?;
            }
            Payload::Pq(quantizer) | Payload::PqRefined { quantizer, .. } => {
                self.bool(ivf.by_residual)?;
                self.size(quantizer.code_bytes())?;
                self.product_quantizer(quantizer)?;
            }
            Payload::Flat | Payload::PqFastScan { .. } => {}
        }
        match &ivf.lists {
            Some(lists) => self.lists(lists)?,
            None => self.bytes(b"il00")?,
        }
        match &ivf.payload {
            Payload::PqRefined { refine: Some((quantizer, codes)), k_factor, .. } => {
                self.product_quantizer(quantizer)?;
                self.vector(codes)?;
                self.one(*k_factor)
            }
            _ => Ok(()),
        }
    }

    fn direct_map(&mut self, map: &DirectMap<'_>) -> Result<(), FaissError> {
        match map {
            DirectMap::None => {
                self.one(0_u8)?;
                self.size(0)
            }
            DirectMap::Array(places) => {
                self.one(1_u8)?;
                self.vector(places)
            }
            DirectMap::Table(pairs) => {
                self.one(2_u8)?;
                self.size(0)?;
                self.size(pairs.len() / 2)?;
                self.bytes(pairs.as_bytes())
            }
        }
    }

    fn lists(&mut self, lists: &Lists<'_>) -> Result<(), FaissError> {
        self.bytes(b"ilar")?;
        self.size(lists.nlist)?;
        self.size(lists.code_bytes)?;
        self.bytes(b"full")?;
        self.size(lists.nlist)?;
        let mut next = 0;
        for list in &lists.filled {
            (next..list.number).try_for_each(|_| self.size(0))?;
            self.size(list.ids.len())?;
            next = list.number + 1;
        }
        (next..lists.nlist).try_for_each(|_| self.size(0))?;
        for list in &lists.filled {
            self.bytes(list.codes.as_bytes())?;
            self.bytes(list.ids.as_bytes())?;
        }
        Ok(())
    }

    fn hnsw(&mut self, header: &Header, hnsw: &Hnsw<'_>) -> Result<(), FaissError> {
        let code = match hnsw.storage.as_ref().map(|storage| &storage.kind) {
            Some(Kind::Pq(_)) => b"IHNp",
            Some(Kind::Sq { .. }) => b"IHNs",
            _ => b"IHNf",
        };
        self.header(code, header)?;
        self.graph(&hnsw.graph)?;
        match &hnsw.storage {
            Some(storage) => self.index(storage),
            None => self.bytes(b"null"),
        }
    }

    fn graph(&mut self, graph: &Graph<'_>) -> Result<(), FaissError> {
        self.vector(&graph.level_probabilities)?;
        self.vector(&graph.cumulative_widths)?;
        self.vector(&graph.levels)?;
        self.vector(&graph.offsets)?;
        self.vector(&graph.neighbours)?;
        for value in [graph.entry, graph.max_level, graph.ef_construction, graph.ef_search] {
            self.one(value)?;
        }
        // The width of the beam on upper levels, which nothing reads any more.
        self.one(1_i32)
    }

    fn transform(&mut self, transform: &Transform<'_>) -> Result<(), FaissError> {
        match &transform.kind {
            TransformKind::Linear { matrix, bias } => {
                self.bytes(b"LTra")?;
                self.bool(bias.is_some())?;
                self.vector(matrix)?;
                self.vector(bias.as_ref().unwrap_or(&Packed::Bytes(&[])))?;
            }
            TransformKind::Remap(map) => {
                self.bytes(b"RmDT")?;
                self.vector(map)?;
            }
            TransformKind::Normalise(norm) => {
                self.bytes(b"VNrm")?;
                self.one(*norm)?;
            }
            TransformKind::Centre(mean) => {
                self.bytes(b"VCnt")?;
                self.vector(mean)?;
            }
            TransformKind::Hadamard(seed) => {
                self.bytes(b"HRot")?;
                self.one(*seed)?;
            }
            TransformKind::Itq { .. } => {
                let what = "an ITQ transform".to_owned();
                return Err(FaissError::Write { what, hint: "write the transformed vectors instead" });
            }
        }
        self.one(transform.dim_in as i32)?;
        self.one(transform.dim_out as i32)?;
        self.bool(transform.is_trained)
    }
}
