//! An index taken apart and put together again answers the same.

use super::Coded;
use super::parts::Parts;
use crate::index::{BuildOptions, VectorIndex};
use crate::metric::Metric;
use crate::random::Random;
use crate::rows::{RowChunks, Rows};
use crate::search::SearchParams;

#[test]
fn parts_make_the_same_index() {
    let mut random = Random::new(9);
    let data: Vec<f32> = (0..500 * 8).map(|_| random.unit() as f32).collect();
    let rows = RowChunks::from_vec(data.clone(), 8).unwrap();
    let queries = Rows::new(&data[..80], 8).unwrap();
    for metric in [Metric::L2, Metric::InnerProduct] {
        for spec in ["SQ8", "SQ6", "PQ4x5", "IVF6,PQ4x4fsr,RFlat", "PCA4,IVF6,PQ2x6", "IVF6,SQfp16,RFlat"] {
            let options = BuildOptions { seed: 2, ..BuildOptions::default() };
            let index = Coded::build(&spec.parse().unwrap(), metric, &rows, &options).unwrap();
            let (spec, chain, centroids, learned, by_residual) = index.learned();
            let again = Coded::from_parts(Parts {
                spec: spec.clone(),
                metric,
                dim: 8,
                chain: chain.clone(),
                centroids: centroids.to_vec(),
                by_residual,
                learned,
                lists: index.encoded().unwrap(),
                rows: 500,
                full_rows: spec.refine.then(|| rows.clone()),
            })
            .unwrap();
            let params = SearchParams { nprobe: Some(3), refine: Some(3), ..SearchParams::new(5) };
            assert_eq!(
                index.search(queries, &params).unwrap(),
                again.search(queries, &params).unwrap(),
                "{spec}"
            );
        }
    }
}
