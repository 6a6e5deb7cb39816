//! The Pareto front of all points, and the point to choose.
//!
//! Recall against speed, as ann-benchmarks draws it: a point is on the front when no other finds at least as much at least as
//! fast, and more or faster. The choice is the fastest point that reaches the target and can be served within the memory. A refine
//! depth can be served with lists, and where it was measured over (nearly) all rows: deeper candidates are needed among more rows.

use super::outcome::{Measured, Point, Reason};

/// Where exact search takes no longer than this, an approximate one would save little and miss something; unless indexes were named.
const EXACT_IS_ENOUGH_US: f64 = 200.0;

/// What may be chosen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowed {
    /// Most bytes that the index may need.
    pub(super) memory_bytes: Option<u64>,
    /// Indexes were named, so exact search is not preferred.
    pub(super) named: bool,
    /// Points with a refine depth of their own.
    pub(super) depths: bool,
}

/// Sets the marks; returns why the chosen point was chosen.
pub(super) fn mark(indexes: &mut [Measured], target_recall: f32, may: &Allowed) -> Option<Reason> {
    let all: Vec<(f64, f64)> =
        indexes.iter().flat_map(|index| &index.points).map(|point| (point.recall_at_10, point.qps)).collect();
    for point in indexes.iter_mut().flat_map(|index| &mut index.points) {
        let (recall, qps) = (point.recall_at_10, point.qps);
        point.pareto = !all.iter().any(|&(other, other_qps)| {
            other >= recall && other_qps >= qps && (other > recall || other_qps > qps)
        });
    }
    let ((index, point), reason) = choose(indexes, f64::from(target_recall), may)?;
    indexes[index].points[point].chosen = true;
    Some(reason)
}

type At = (usize, usize);

fn choose(indexes: &[Measured], target_recall: f64, may: &Allowed) -> Option<(At, Reason)> {
    let can_serve = |point: &Point| point.refine.is_none() || (may.depths && point.nprobe.is_some());
    let mut open: Vec<(At, &Measured, &Point)> = Vec::new();
    for (at, index) in indexes.iter().enumerate().filter(|(_, index)| !index.reference) {
        let points = index.points.iter().enumerate().filter(|(_, point)| can_serve(point));
        open.extend(points.map(|(number, point)| ((at, number), index, point)));
    }
    let fits = |index: &Measured| may.memory_bytes.is_none_or(|most| index.bytes_for_all <= most);
    let fitting: Vec<_> = open.iter().filter(|(_, index, _)| fits(index)).collect();
    let reaching = || fitting.iter().filter(|(_, _, point)| point.recall_at_10 >= target_recall);
    if !may.named
        && let Some((at, ..)) =
            reaching().find(|(_, index, point)| index.index == "Flat" && point.mean_us <= EXACT_IS_ENOUGH_US)
    {
        return Some((*at, Reason::ExactIsEnough));
    }
    if let Some((at, ..)) = reaching().min_by(|a, b| a.2.mean_us.total_cmp(&b.2.mean_us)) {
        return Some((*at, Reason::Fastest));
    }
    let more = |a: &Point, b: &Point| {
        a.recall_at_10.total_cmp(&b.recall_at_10).then(b.mean_us.total_cmp(&a.mean_us))
    };
    if let Some((at, ..)) = fitting.iter().max_by(|a, b| more(a.2, b.2)) {
        return Some((*at, Reason::FindsMost));
    }
    let (at, ..) = open.iter().min_by_key(|(_, index, _)| index.bytes_for_all)?;
    Some((*at, Reason::NeedsLeast))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: Allowed = Allowed { memory_bytes: None, named: true, depths: false };

    fn point(recall_at_10: f64, mean_us: f64) -> Point {
        Point {
            nprobe: None,
            ef: None,
            refine: None,
            recall_at_10,
            recall_error: 0.0,
            qps: 1e6 / mean_us,
            mean_us,
            p50_us: mean_us,
            p99_us: mean_us,
            pareto: false,
            chosen: false,
        }
    }

    fn index(name: &str, bytes: u64, points: &[(f64, f64)]) -> Measured {
        Measured {
            index: name.to_owned(),
            index_for_all: name.to_owned(),
            reference: false,
            build_s: 1.0,
            bytes,
            bytes_for_all: bytes,
            warnings: vec![],
            points: points.iter().map(|&(recall, us)| point(recall, us)).collect(),
        }
    }

    fn indexes() -> Vec<Measured> {
        vec![
            index("Flat", 100, &[(1.0, 4_000.0)]),
            index("IVF9,Flat", 110, &[(0.7, 100.0), (0.96, 300.0), (1.0, 900.0)]),
            index("HNSW16", 150, &[(0.9, 80.0), (0.97, 200.0)]),
            index("IVF9,SQ8", 30, &[(0.6, 60.0), (0.93, 240.0), (0.93, 500.0)]),
        ]
    }

    fn chosen(indexes: &[Measured]) -> String {
        let points = indexes.iter().flat_map(|index| index.points.iter().map(move |point| (index, point)));
        let chosen: Vec<String> = points
            .filter(|(_, point)| point.chosen)
            .map(|(index, point)| format!("{} {}", index.index, point.mean_us))
            .collect();
        assert_eq!(chosen.len(), 1, "one point is chosen: {chosen:?}");
        chosen[0].clone()
    }

    #[test]
    fn the_front_is_what_nothing_beats() {
        let mut all = indexes();
        mark(&mut all, 0.95, &NAMED);
        let front: Vec<f64> =
            all.iter().flat_map(|index| &index.points).filter(|p| p.pareto).map(|p| p.mean_us).collect();
        assert_eq!(front, [900.0, 80.0, 200.0, 60.0]);
    }

    #[test]
    fn the_fastest_that_reaches_the_target_and_fits_is_chosen() {
        for (target, memory, reason, expected) in [
            (0.95, None, Reason::Fastest, "HNSW16 200"),
            (0.95, Some(120), Reason::Fastest, "IVF9,Flat 300"),
            (0.98, None, Reason::Fastest, "IVF9,Flat 900"),
            (0.95, Some(50), Reason::FindsMost, "IVF9,SQ8 240"),
            (0.95, Some(1), Reason::NeedsLeast, "IVF9,SQ8 60"),
        ] {
            let mut all = indexes();
            let may = Allowed { memory_bytes: memory, ..NAMED };
            assert_eq!(mark(&mut all, target, &may), Some(reason), "{expected}");
            assert_eq!(chosen(&all), expected);
        }
    }

    #[test]
    fn fast_exact_search_wins_unless_indexes_were_named() {
        let mut all = vec![index("Flat", 100, &[(1.0, 90.0)]), index("HNSW16", 100, &[(0.96, 40.0)])];
        assert_eq!(mark(&mut all.clone(), 0.95, &NAMED), Some(Reason::Fastest));
        assert_eq!(mark(&mut all, 0.95, &Allowed::default()), Some(Reason::ExactIsEnough));
        assert_eq!(chosen(&all), "Flat 90");
    }

    #[test]
    fn what_cannot_be_served_or_was_not_asked_for_is_not_chosen() {
        let mut all = indexes();
        all[0].reference = true;
        all[2].points[1].refine = Some(4);
        let depths = Allowed { depths: true, ..NAMED };
        mark(&mut all, 0.95, &depths);
        assert_eq!(chosen(&all), "IVF9,Flat 300", "a depth needs lists");
        assert_eq!(mark(&mut [], 0.95, &Allowed::default()), None);
    }

    #[test]
    fn a_refine_depth_is_chosen_where_it_was_measured_over_all_rows() {
        let with_depth = || {
            let mut all = indexes();
            all[3].points.push(Point { nprobe: Some(8), refine: Some(4), ..point(0.97, 150.0) });
            all
        };
        let mut all = with_depth();
        mark(&mut all, 0.95, &Allowed { depths: true, ..NAMED });
        assert_eq!(chosen(&all), "IVF9,SQ8 150");
        let mut all = with_depth();
        mark(&mut all, 0.95, &NAMED);
        assert_eq!(chosen(&all), "HNSW16 200");
    }
}
