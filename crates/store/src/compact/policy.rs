//! What compaction is worth doing, from figures alone.
//!
//! A segment is rewritten when half of its rows are dead: what is moved is at most as much as what comes free. Rows that the
//! index in use still holds cannot go before another index is built, so moving them waits until they are so many that
//! maintenance builds one (or somebody asks).

/// Share of dead rows from which a segment is rewritten.
const WORTH_DEAD_PERCENT: usize = 50;
/// Less than this is left until there is more.
const WORTH_BYTES: u64 = 4 << 20;
/// A segment that is not full is given back only when it is at least this full: the row numbers behind its last row are
/// lost with it, and there are only so many in the life of a collection.
const CLOSED_FROM_PERCENT: usize = 25;
/// Rows of given-up segments, in percent of those that the index covers, for which an index is built anew.
pub(crate) const REBUILD_WAITING_PERCENT: usize = 25;

/// One segment that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub number: usize,
    /// Committed rows.
    pub rows: usize,
    pub live: usize,
    /// The index in use holds rows of it.
    pub held: bool,
}

/// What the policy looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub segments: Vec<Segment>,
    pub rows_per_segment: usize,
    pub row_bytes: u64,
    /// Items of the catalog that nobody can see any more.
    pub dead_items: usize,
    /// Bytes of the catalog per item, about.
    pub item_bytes: u64,
    /// Free pages of the catalog that can be given back.
    pub free_page_bytes: u64,
    /// Rows that the index in use covers.
    pub indexed_rows: usize,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Keep(String),
    /// Purge, rewrite these segments (the last one, if it is among them and not full, is closed first), give back.
    Work(Vec<Segment>, String),
}

impl Segment {
    /// Whether it is full of rows (`full` of them) of which none lives.
    pub(super) fn is_empty(&self, full: usize) -> bool {
        self.live == 0 && self.rows == full
    }

    fn dead(&self) -> usize {
        self.rows.saturating_sub(self.live)
    }
}

pub(super) fn decide(figures: &Figures, force: bool) -> Plan {
    let closable = |segment: &Segment| segment.rows * 100 >= figures.rows_per_segment * CLOSED_FROM_PERCENT;
    let worth: Vec<Segment> = figures
        .segments
        .iter()
        .filter(|segment| {
            let share = segment.dead() * 100 >= segment.rows * WORTH_DEAD_PERCENT;
            segment.dead() > 0 && closable(segment) && (share || force)
        })
        .copied()
        .collect();
    let held: usize = worth.iter().filter(|segment| segment.held).map(|segment| segment.rows).sum();
    let rebuilds = held * 100 >= figures.indexed_rows * REBUILD_WAITING_PERCENT;
    let (work, waiting): (Vec<Segment>, Vec<Segment>) =
        worth.into_iter().partition(|segment| !segment.held || rebuilds || force);
    let row_bytes: u64 = work.iter().map(|segment| segment.dead() as u64 * figures.row_bytes).sum();
    let item_bytes = figures.dead_items as u64 * figures.item_bytes;
    let bytes = row_bytes + item_bytes + figures.free_page_bytes;
    let waits = match waiting.len() {
        0 => String::new(),
        count => format!("; {count} segments wait until the index is built anew"),
    };
    let told = format!(
        "{} in {} of {} row segments, {} deleted items and {} of free catalog pages",
        mebibytes(row_bytes),
        work.len(),
        figures.segments.len(),
        figures.dead_items,
        mebibytes(figures.free_page_bytes),
    );
    let dead: usize = figures.segments.iter().map(Segment::dead).sum();
    if dead == 0 && bytes == 0 {
        return Plan::Keep("nothing was deleted".to_owned());
    }
    if bytes == 0 || (bytes < WORTH_BYTES && !force) {
        let bound = mebibytes(WORTH_BYTES);
        return Plan::Keep(format!("{dead} dead rows: {told} can be given back, less than {bound}{waits}"));
    }
    Plan::Work(work, format!("{told} can be given back{waits}"))
}

pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: usize, rows: usize, live: usize) -> Segment {
        Segment { number, rows, live, held: false }
    }

    fn figures(segments: Vec<Segment>) -> Figures {
        Figures { segments, rows_per_segment: 1000, row_bytes: 100 << 10, ..Figures::default() }
    }

    fn numbers(plan: &Plan) -> Vec<usize> {
        match plan {
            Plan::Keep(_) => Vec::new(),
            Plan::Work(work, _) => work.iter().map(|segment| segment.number).collect(),
        }
    }

    #[test]
    fn half_dead_segments_are_rewritten() {
        let found = figures(vec![segment(0, 1000, 500), segment(1, 1000, 501), segment(2, 900, 100)]);
        assert_eq!(numbers(&decide(&found, false)), [0, 2]);
        assert_eq!(numbers(&decide(&found, true)), [0, 1, 2]);
    }

    #[test]
    fn little_is_left_until_there_is_more() {
        let found = Figures { row_bytes: 4, ..figures(vec![segment(0, 1000, 0)]) };
        assert!(matches!(decide(&found, false), Plan::Keep(_)));
        assert_eq!(numbers(&decide(&found, true)), [0]);
        let purge = Figures { dead_items: 10_000, item_bytes: 1000, ..found };
        assert!(matches!(decide(&purge, false), Plan::Work(..)));
        assert_eq!(decide(&figures(vec![segment(0, 7, 7)]), true), Plan::Keep("nothing was deleted".into()));
    }

    #[test]
    fn a_segment_that_was_hardly_begun_stays() {
        let found = figures(vec![segment(0, 249, 0)]);
        assert!(matches!(decide(&found, true), Plan::Keep(_)));
        assert_eq!(numbers(&decide(&figures(vec![segment(0, 250, 0)]), false)), [0]);
    }

    #[test]
    fn what_the_index_holds_moves_when_that_brings_a_new_index() {
        let held = |number| Segment { held: true, ..segment(number, 1000, 100) };
        let found = Figures { indexed_rows: 10_000, ..figures(vec![held(0), segment(1, 1000, 100)]) };
        assert_eq!(numbers(&decide(&found, false)), [1]);
        let Plan::Work(_, reason) = decide(&found, false) else { panic!("there is work") };
        assert!(reason.contains("1 segments wait until the index is built anew"), "{reason}");
        assert_eq!(numbers(&decide(&found, true)), [0, 1]);
        let many = Figures { indexed_rows: 8000, ..figures(vec![held(0), held(1)]) };
        assert_eq!(numbers(&decide(&many, false)), [0, 1]);
    }
}
