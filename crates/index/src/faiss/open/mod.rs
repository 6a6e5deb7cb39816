//! [`open`]: a FAISS index made searchable here, with the answers that FAISS would give.
//!
//! Structure is taken over as it is: centroids and lists of an inverted file, links and entry of a graph, codes and their
//! quantizers ([`coded`]). What has no counterpart here (codes below a graph, second codes) is decoded once and compared as
//! vectors. That gives FAISS's own distances, since its asymmetric distances are those from the query to the decoded vector,
//! by residual or not; it costs the memory of the decoded vectors, which the caller bounds.
//! Effort (`nprobe`, `efSearch`) is that of the file.

use super::FaissError;
mod coded;

use super::decode::{Decoder, Vectors};
use super::tree::{Graph, Header, Hnsw as HnswTree, Index, Ivf, Kind, MetricType, TransformKind};
use crate::flat::Flat;
use crate::hnsw::Hnsw;
use crate::id_map::IdMap;
use crate::index::VectorIndex;
use crate::ivf::IvfFlat;
use crate::metric::Metric;
use crate::rows::RowChunks;
use crate::search::Effort;
use crate::spec::{HNSW_M_RANGE, MAX_NLIST};

/// A FAISS index that can be searched.
pub struct Opened {
    /// The index, by user ids.
    pub index: IdMap,
    /// What the file says a search does unless told otherwise; give it to [`crate::SearchParams::with_effort`].
    pub effort: Effort,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("info", &self.index.index().info())
            .field("effort", &self.effort)
            .finish()
    }
}

/// Opens an index for search. Vectors may take `max_bytes` once decoded; a code of one byte can stand for any number of them.
///
/// Flat, SQ and PQ become an exact scan, inverted files our IVF over the file's lists, graphs our graph over the file's
/// links; `IDMap` and a `L2norm` in front are followed, and so are rotations, which change no distance. Of `RFlat` the
/// refining index is searched, exactly.
///
/// # Errors
/// Metrics other than L2 and inner product, transforms that change distances, shapes that our indexes do not take, ids that
/// come twice, too many bytes.
pub fn open(index: &Index<'_>, max_bytes: u64) -> Result<Opened, FaissError> {
    if let Some(opened) = coded::open(index, max_bytes)? {
        return Ok(opened);
    }
    let inner = named(index)?;
    let decoder = Decoder::new(index, inner.vectors)?;
    let values = decoded(&decoder, max_bytes)?;
    let rows = RowChunks::from_vec(values, decoder.dim()).map_err(crate::IndexError::from)?;
    let (index, effort) = inner.searchable(&decoder, &rows)?;
    Ok(Opened { index: IdMap::with_ids(index, decoder.ids())?, effort })
}

/// Every vector, `[n, dim]`, if that is not too much.
fn decoded(decoder: &Decoder<'_>, max_bytes: u64) -> Result<Vec<f32>, FaissError> {
    let bytes = decoder.len() as u64 * decoder.dim() as u64 * 4;
    if bytes > max_bytes {
        let what =
            format!("{} vectors of {} values, more than {max_bytes} bytes", decoder.len(), decoder.dim());
        return refuse(what, "give it more memory, or import the file into a collection");
    }
    let mut values = vec![0.0; decoder.len() * decoder.dim()];
    for (row, vector) in values.chunks_exact_mut(decoder.dim()).enumerate() {
        decoder.decode(row, vector)?;
    }
    Ok(values)
}

/// The index inside id maps and transforms that does the searching.
struct Inner<'t> {
    index: &'t Index<'t>,
    metric: Metric,
    vectors: Vectors,
}

fn refuse<T>(what: impl Into<String>, hint: &'static str) -> Result<T, FaissError> {
    Err(FaissError::Search { what: what.into(), hint })
}

fn metric(header: &Header) -> Result<Metric, FaissError> {
    match header.metric {
        MetricType::L2 => Ok(Metric::L2),
        MetricType::InnerProduct => Ok(Metric::InnerProduct),
        MetricType::Other { code, .. } => refuse(
            format!("an index of metric {code}"),
            "l2 and inner product are; import its vectors to search them by one of those",
        ),
    }
}

/// Follows names and transforms to what is searched.
fn named<'t>(index: &'t Index<'t>) -> Result<Inner<'t>, FaissError> {
    match &index.kind {
        Kind::IdMap { inner, .. } => named(inner),
        Kind::Refine { refine, .. } => named(refine),
        Kind::PreTransform { chain, inner } => {
            let mut inner = named(inner)?;
            for transform in chain {
                match transform.kind {
                    // Rows are unit length already, and the cosine makes queries so.
                    TransformKind::Normalise(2.0) if inner.metric == Metric::InnerProduct => {
                        inner.metric = Metric::Cosine;
                        inner.vectors = Vectors::Transformed;
                    }
                    _ => {
                        let hint = "import its vectors to search them without it";
                        return refuse("an index behind this transform", hint);
                    }
                }
            }
            Ok(inner)
        }
        _ => Ok(Inner { index, metric: metric(&index.header)?, vectors: Vectors::Original }),
    }
}

/// Centroids of the lists, `[nlist, dim]`.
fn centroids_of(ivf: &Ivf<'_>, header: &Header) -> Result<Vec<f32>, FaissError> {
    if ivf.coarse.header.metric != header.metric {
        let what = "an inverted file whose coarse quantizer has another metric than its lists";
        return refuse(what, "build it again with a quantizer of the same metric, or import its vectors");
    }
    if ivf.coarse.header.rows != ivf.nlist || ivf.nlist > MAX_NLIST {
        let what =
            format!("an inverted file of {} lists and {} centroids", ivf.nlist, ivf.coarse.header.rows);
        return refuse(what, "train it first");
    }
    let coarse = Decoder::new(&ivf.coarse, Vectors::Original)?;
    let mut centroids = vec![0.0; coarse.len() * coarse.dim()];
    for (list, centroid) in centroids.chunks_exact_mut(coarse.dim()).enumerate() {
        coarse.decode(list, centroid)?;
    }
    Ok(centroids)
}

impl Inner<'_> {
    fn searchable(
        &self,
        decoder: &Decoder<'_>,
        rows: &RowChunks,
    ) -> Result<(Box<dyn VectorIndex>, Effort), FaissError> {
        match &self.index.kind {
            Kind::Ivf(ivf) => self.ivf(ivf, decoder, rows),
            Kind::Hnsw(hnsw) => self.hnsw(hnsw, rows),
            _ => Ok((Box::new(Flat::new(self.metric, rows, None)), Effort::Exact)),
        }
    }

    fn ivf(
        &self,
        ivf: &Ivf<'_>,
        decoder: &Decoder<'_>,
        rows: &RowChunks,
    ) -> Result<(Box<dyn VectorIndex>, Effort), FaissError> {
        let centroids = centroids_of(ivf, &self.index.header)?;
        let index = IvfFlat::from_lists(self.metric, centroids, &decoder.list_numbers(), rows);
        let nprobe = usize::try_from(ivf.nprobe).unwrap_or(ivf.nlist).clamp(1, ivf.nlist);
        Ok((Box::new(index), Effort::Nprobe(nprobe)))
    }

    fn hnsw(
        &self,
        hnsw: &HnswTree<'_>,
        rows: &RowChunks,
    ) -> Result<(Box<dyn VectorIndex>, Effort), FaissError> {
        let graph = &hnsw.graph;
        let widths = graph.widths();
        // Links per node and level; the lowest level has twice as many.
        let m = widths.iter().skip(1).copied().chain(widths.first().map(|width| width.div_ceil(2))).max();
        let m = m.unwrap_or(*HNSW_M_RANGE.start()).max(*HNSW_M_RANGE.start());
        let levels: Option<Vec<u8>> = graph
            .levels
            .iter()
            .map(|count| u8::try_from(count).ok().filter(|&c| c <= Hnsw::MAX_LEVELS))
            .collect();
        let (Some(levels), true) = (levels, HNSW_M_RANGE.contains(&m)) else {
            let what = format!("a graph of {} levels and {m} links per node", graph.max_level + 1);
            return refuse(what, "import its vectors to build another");
        };
        let index = Hnsw::from_links(
            self.metric,
            m,
            rows,
            &levels,
            u32::try_from(graph.entry).ok(),
            &|node, level| graph.links(node, level).collect(),
        )?;
        let ef = usize::try_from(graph.ef_search).unwrap_or(1).max(1);
        Ok((Box::new(index), Effort::Ef(ef)))
    }
}

impl Graph<'_> {
    /// Links per node on each level.
    fn widths(&self) -> Vec<usize> {
        let ends: Vec<i32> = self.cumulative_widths.to_vec();
        ends.windows(2).map(|pair| (pair[1] - pair[0]) as usize).collect()
    }

    /// Links of a node on a level that it is on.
    fn links(&self, node: u32, level: u8) -> impl Iterator<Item = u32> + '_ {
        let end = |level: usize| self.cumulative_widths.get(level).map_or(0, |end| end as usize);
        let start = self.offsets.get(node as usize).map_or(0, |offset| offset as usize);
        let (from, to) = (end(usize::from(level)), end(usize::from(level) + 1));
        let list = self.neighbours.range(start + from, to - from);
        list.into_iter().flatten().map_while(|link| u32::try_from(link).ok())
    }
}
