//! An index made of what another library trained and encoded (FAISS's files).

use super::list::CodeList;
use super::{Coded, Slack, Trained, nlist_of, settings_of};
use crate::codes;
use crate::error::IndexError;
use crate::kmeans::Assigner;
use crate::metric::Metric;
use crate::row_set::RowSet;
use crate::rows::{RowChunks, RowStore};
use crate::spec::IndexSpec;
use crate::transform::Chain;

/// Everything that training and encoding make. Values are finite, as checked by the reader of the file.
pub(crate) struct Parts {
    /// `Scan` or `Ivf` over any codec but RaBitQ; its transforms are those of `chain`.
    pub(crate) spec: IndexSpec,
    pub(crate) metric: Metric,
    /// Values per vector as users give them.
    pub(crate) dim: usize,
    pub(crate) chain: Chain,
    /// `[nlist, dim after transforms]`; empty for a scan.
    pub(crate) centroids: Vec<f32>,
    /// Codes are of differences to the centroids. (Not for a scan.)
    pub(crate) by_residual: bool,
    /// Quantizer: SQ `[2 * dim]` smallest values and extents, PQ `[m][2^bits][dim / m]` centroids, float codecs nothing.
    pub(crate) learned: Vec<f32>,
    /// Per list row numbers and codes as FAISS has them, one after the other; one list for a scan.
    pub(crate) lists: Vec<(Vec<u32>, Vec<u8>)>,
    /// Rows numbered; every number in `lists` is below it and comes once.
    pub(crate) rows: usize,
    /// Full rows, `[rows, dim]`, when the spec refines.
    pub(crate) full_rows: Option<RowChunks>,
}

impl Coded {
    /// An index that searches, takes rows and is written like one built here.
    ///
    /// # Errors
    /// Parts that do not fit each other, by name.
    pub(crate) fn from_parts(parts: Parts) -> Result<Self, IndexError> {
        let Parts { spec, metric, dim, chain, mut centroids, by_residual, learned, lists, rows, full_rows } =
            parts;
        let misfit = |name: &'static str, expected: String, received: String| {
            Err(IndexError::Parameter { name, expected, received })
        };
        let (nlist, dim_out) = (nlist_of(&spec), chain.dim_out());
        if lists.len() != nlist {
            return misfit("lists", nlist.to_string(), lists.len().to_string());
        }
        if matches!(spec.structure, crate::spec::Structure::Scan) {
            centroids = vec![0.0; dim_out];
        }
        if centroids.len() != nlist * dim_out {
            return misfit("centroids", (nlist * dim_out).to_string(), centroids.len().to_string());
        }
        let kept = full_rows.as_ref().map_or(0, RowChunks::len);
        if kept != if spec.refine { rows } else { 0 } {
            return misfit("full rows", "one per row behind RFlat, else none".to_owned(), kept.to_string());
        }
        let mut settings = settings_of(&spec, metric, dim_out, 0);
        settings.by_residual = by_residual;
        settings.check()?;
        let received = learned.len().to_string();
        let Some(codes) = codes::open(&settings, learned) else {
            return misfit("quantizer", settings.learned_len().to_string(), received);
        };
        let mut members = RowSet::new();
        let mut filled = Vec::with_capacity(nlist);
        for ((ids, encoded), centroid) in lists.into_iter().zip(centroids.chunks_exact(dim_out)) {
            let mut list = CodeList::empty();
            let is_encoded = codes.append_encoded(list.codes.to_mut(), 0, centroid, &encoded);
            if !is_encoded || list.codes.as_slice().len() != codes.layout().bytes_of(ids.len()) {
                return misfit(
                    "codes",
                    format!("{} codes of {}", ids.len(), spec.codec),
                    encoded.len().to_string(),
                );
            }
            ids.iter().for_each(|&id| {
                members.insert(id);
            });
            *list.ids.to_mut() = ids;
            filled.push(list);
        }
        let coarse = Assigner::new(metric, &centroids, dim_out);
        let slack = Slack { factor: 0.0, is_l2: metric == Metric::L2 };
        let mut index = Coded {
            spec,
            metric,
            dim,
            seed: 0,
            rows,
            shared_rows: kept,
            store: full_rows.map(RowStore::new),
            members,
            lists: filled,
            trained: Trained { chain, centroids, coarse, codes, slack },
            warnings: Vec::new(),
        };
        index.learn_slack();
        Ok(index)
    }

    /// Per list row numbers and codes as FAISS has them; `None` for RaBitQ.
    pub(crate) fn encoded(&self) -> Option<Vec<(Vec<u32>, Vec<u8>)>> {
        let lists = self.lists.iter().map(|list| {
            let ids = list.ids.as_slice().to_vec();
            Some((ids, self.trained.codes.encoded(list.codes.as_slice(), list.len())?))
        });
        lists.collect()
    }

    /// Spec, transforms, centroids `[nlist, dim]`, quantizer numbers, and whether differences are stored: what `from_parts` takes.
    pub(crate) fn learned(&self) -> (&IndexSpec, &Chain, &[f32], Vec<f32>, bool) {
        let Trained { chain, centroids, codes, .. } = &self.trained;
        (&self.spec, chain, centroids, codes.learned(), codes.by_residual())
    }
}
