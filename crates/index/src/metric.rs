//! Metrics: one internal order, **a smaller distance is closer**, and the score users see.
//!
//! Squared L2 is reported squared, as FAISS does. Inner product and cosine are negated inside, so that every index sorts
//! the same way; [`Metric::score`] undoes it at the edge.

use crate::kernels::kernels;
use std::fmt;
use std::str::FromStr;

/// How far apart two vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Squared Euclidean distance, as FAISS reports it.
    L2,
    /// Inner product; the internal distance is `-ip`.
    InnerProduct,
    /// Cosine; rows and queries are unit length inside the index and the internal distance is `-ip`.
    Cosine,
}

impl Metric {
    /// Internal distance (smaller is closer) between two vectors of equal length.
    /// Under [`Metric::Cosine`] both are taken to be unit length already (see [`normalise`]).
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        match self {
            Metric::L2 => kernels().l2(a, b),
            Metric::InnerProduct | Metric::Cosine => -kernels().dot(a, b),
        }
    }

    /// User-facing score of an internal distance: squared L2 (smaller is closer), inner product or cosine (larger is closer).
    pub fn score(self, distance: f32) -> f32 {
        match self {
            Metric::L2 => distance,
            Metric::InnerProduct | Metric::Cosine => -distance,
        }
    }

    /// True when distances are negated inner products.
    pub(crate) fn is_inner_product(self) -> bool {
        self != Metric::L2
    }

    /// Number of this metric in our index file.
    pub(crate) fn code(self) -> u32 {
        match self {
            Metric::L2 => 0,
            Metric::InnerProduct => 1,
            Metric::Cosine => 2,
        }
    }

    pub(crate) fn from_code(code: u32) -> Option<Metric> {
        [Metric::L2, Metric::InnerProduct, Metric::Cosine].into_iter().find(|metric| metric.code() == code)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::L2 => "l2",
            Metric::InnerProduct => "ip",
            Metric::Cosine => "cosine",
        })
    }
}

/// A word that names no metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown metric \"{received}\", expected l2, ip or cosine")]
pub struct MetricError {
    /// The word as it came.
    pub received: String,
}

impl FromStr for Metric {
    type Err = MetricError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word.to_ascii_lowercase().as_str() {
            "l2" => Ok(Metric::L2),
            "ip" | "inner_product" => Ok(Metric::InnerProduct),
            "cosine" => Ok(Metric::Cosine),
            _ => Err(MetricError { received: word.to_owned() }),
        }
    }
}

/// Scales one vector to unit length in place. Returns `false`, leaving it unchanged, when its length is zero.
///
/// The length is taken in f64, so vectors of huge or tiny values are scaled correctly too.
pub fn normalise(vector: &mut [f32]) -> bool {
    let norm = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if norm == 0.0 {
        return false;
    }
    // A vector that is unit length already keeps its bits, so normalising twice changes nothing.
    if (norm - 1.0).abs() > 1e-7 {
        for x in vector.iter_mut() {
            *x = (f64::from(*x) / norm) as f32;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_and_scores_agree_with_their_definitions() {
        let (a, b) = ([1.0, 2.0, 3.0], [4.0, -5.0, 6.0]);
        assert_eq!(Metric::L2.distance(&a, &b), 9.0 + 49.0 + 9.0);
        assert_eq!(Metric::InnerProduct.distance(&a, &b), -12.0);
        assert_eq!(Metric::InnerProduct.score(-12.0), 12.0);
        assert_eq!(Metric::L2.score(3.0), 3.0);
    }

    #[test]
    fn names_round_trip() {
        for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
            assert_eq!(metric.to_string().parse(), Ok(metric));
            assert_eq!(Metric::from_code(metric.code()), Some(metric));
        }
        assert_eq!("inner_product".parse(), Ok(Metric::InnerProduct));
        assert!("euclid".parse::<Metric>().unwrap_err().to_string().contains("\"euclid\""));
    }

    #[test]
    fn normalising_handles_extremes_and_is_idempotent() {
        let mut huge = vec![1e38_f32, 1e38, -1e38];
        assert!(normalise(&mut huge));
        assert!((huge.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
        let once = huge.clone();
        assert!(normalise(&mut huge));
        assert_eq!(once, huge);
        assert!(!normalise(&mut [0.0, 0.0]));
    }
}
