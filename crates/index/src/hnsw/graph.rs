//! The links of a graph in flat arrays of u32, and how to walk them.
//!
//! Level 0 of node `i` is `base[i * 2m ..][.. 2m]`; levels 1.. of a node that has them are `upper[(start + level - 1) * m ..][.. m]`
//! with `start = upper_start[i]`. A list is filled from the front; the first [`NONE`] ends it. Invariants: a link on level `l`
//! points to a node that is on level `l`; the entry is on the top level.

use crate::file::Array;

/// No node.
pub(crate) const NONE: u32 = u32::MAX;
/// Most levels of a node; 16 levels serve M^15 nodes.
pub(crate) const MAX_LEVELS: u8 = 16;

/// Adjacency lists of every level.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    /// Links per node and level above 0; level 0 has twice as many.
    pub(crate) m: usize,
    /// Number of levels that each row is on; 0 = not linked.
    pub(crate) levels: Array<u8>,
    pub(crate) base: Array<u32>,
    pub(crate) upper: Array<u32>,
    /// Derived from `levels`: where a row's lists in `upper` start, in lists.
    pub(crate) upper_start: Vec<u32>,
    /// Where searches start; [`NONE`] when no row is linked.
    pub(crate) entry: u32,
}

impl Graph {
    pub(crate) fn new(m: usize) -> Self {
        let (levels, base, upper) = (Array::Owned(vec![]), Array::Owned(vec![]), Array::Owned(vec![]));
        Graph { m, levels, base, upper, upper_start: Vec::new(), entry: NONE }
    }

    /// Appends rows without links; `levels[i]` is the number of levels of each.
    pub(crate) fn extend(&mut self, levels: &[u8]) {
        let mut start = (self.upper.as_slice().len() / self.m) as u32;
        for &count in levels {
            self.upper_start.push(start);
            start += u32::from(count.saturating_sub(1));
        }
        self.levels.to_mut().extend_from_slice(levels);
        let rows = self.levels.as_slice().len();
        self.base.to_mut().resize(rows * 2 * self.m, NONE);
        self.upper.to_mut().resize(start as usize * self.m, NONE);
    }

    /// Where each row's upper lists start, and how many lists there are.
    pub(crate) fn upper_starts(levels: &[u8]) -> (Vec<u32>, usize) {
        let mut next = 0;
        let starts = levels
            .iter()
            .map(|&count| {
                let start = next;
                next += usize::from(count.saturating_sub(1));
                start as u32
            })
            .collect();
        (starts, next)
    }

    /// Most links of a list on `level`.
    pub(crate) fn capacity(&self, level: u8) -> usize {
        if level == 0 { 2 * self.m } else { self.m }
    }

    fn range(&self, node: u32, level: u8) -> std::ops::Range<usize> {
        let width = self.capacity(level);
        let list = match level {
            0 => node as usize,
            _ => self.upper_start[node as usize] as usize + usize::from(level) - 1,
        };
        list * width..(list + 1) * width
    }

    /// Replaces a list; `links` are at most its capacity.
    pub(crate) fn set_links(&mut self, node: u32, level: u8, links: &[u32]) {
        let range = self.range(node, level);
        let array = if level == 0 { self.base.to_mut() } else { self.upper.to_mut() };
        let list = &mut array[range];
        list[..links.len()].copy_from_slice(links);
        list[links.len()..].fill(NONE);
    }

    /// Slices resolved once, for walking.
    pub(crate) fn view(&self) -> GraphView<'_> {
        GraphView {
            graph: self,
            base: self.base.as_slice(),
            upper: self.upper.as_slice(),
            levels: self.levels.as_slice(),
        }
    }
}

/// A graph to walk.
pub(crate) struct GraphView<'a> {
    graph: &'a Graph,
    base: &'a [u32],
    upper: &'a [u32],
    pub(crate) levels: &'a [u8],
}

impl GraphView<'_> {
    /// The list of a node, unused places included.
    #[inline]
    pub(crate) fn list(&self, node: u32, level: u8) -> &[u32] {
        let range = self.graph.range(node, level);
        if level == 0 { &self.base[range] } else { &self.upper[range] }
    }

    /// The links of a node.
    #[inline]
    pub(crate) fn links(&self, node: u32, level: u8) -> impl Iterator<Item = u32> + '_ {
        self.list(node, level).iter().copied().take_while(|&link| link != NONE)
    }

    /// Node and top level that searches start from.
    pub(crate) fn entry(&self) -> Option<(u32, u8)> {
        let entry = self.graph.entry;
        (entry != NONE).then(|| (entry, self.levels[entry as usize].saturating_sub(1)))
    }
}
