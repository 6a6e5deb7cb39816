//! The links of a graph on every level, and how to find them.
//!
//! Level 0 of node `i` is list `i` of `base`; levels 1.. of a node that has them are consecutive lists of `upper`. Where a
//! node's start is the sum of the upper levels of all nodes before it: kept for every 64th node, the rest is counted. Invariants:
//! a link on level `l` points to a node that is on level `l`; the entry is on the top level.

use super::links::{Lists, ListsView};
use crate::file::Array;

/// No node.
pub(crate) const NONE: u32 = u32::MAX;
/// Most levels of a node; 16 levels serve M^15 nodes.
pub(crate) const MAX_LEVELS: u8 = 16;
/// Set in a row's number of levels once it has been taken out.
pub(crate) const BURIED: u8 = 0x80;
/// Nodes between two known starts of upper lists.
const NODES_PER_START: usize = 64;

/// Adjacency lists of every level.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    /// Links per node and level above 0, as the spec names it.
    pub(crate) m: usize,
    /// Number of levels that each row is on; 0 = not linked. With [`BURIED`] set, the row was taken out.
    pub(crate) levels: Array<u8>,
    pub(crate) base: Lists,
    pub(crate) upper: Lists,
    /// Derived from `levels`: where the upper lists of every 64th row start, in lists.
    starts: Vec<u32>,
    /// Upper lists in all.
    upper_lists: usize,
    /// Where searches start; [`NONE`] when no row is linked.
    pub(crate) entry: u32,
}

impl Graph {
    pub(crate) fn new(m: usize) -> Self {
        let lists = (Lists::new(2 * m), Lists::new(m));
        Graph::from_parts(m, Array::Owned(Vec::new()), lists, NONE)
    }

    /// A graph of `levels` and lists that agree with them: `(base, upper)`.
    pub(crate) fn from_parts(m: usize, levels: Array<u8>, lists: (Lists, Lists), entry: u32) -> Self {
        let mut graph =
            Graph { m, levels, base: lists.0, upper: lists.1, starts: Vec::new(), upper_lists: 0, entry };
        graph.count_upper(0);
        graph
    }

    /// Rows in all, linked or not.
    pub(crate) fn len(&self) -> usize {
        self.levels.as_slice().len()
    }

    /// Appends rows without links; `levels[i]` is the number of levels of each.
    pub(crate) fn extend(&mut self, levels: &[u8]) {
        let first = self.len();
        self.levels.to_mut().extend_from_slice(levels);
        self.count_upper(first);
        self.base.resize(self.len(), self.len());
        self.upper.resize(self.upper_lists, self.len());
    }

    /// Goes on counting upper lists from row `first`.
    fn count_upper(&mut self, first: usize) {
        for (row, &count) in self.levels.as_slice().iter().enumerate().skip(first) {
            if row.is_multiple_of(NODES_PER_START) {
                self.starts.push(self.upper_lists as u32);
            }
            self.upper_lists += usize::from((count & !BURIED).saturating_sub(1));
        }
    }

    /// Upper lists that `levels` ask for.
    pub(crate) fn upper_lists(levels: &[u8]) -> usize {
        levels.iter().map(|&count| usize::from((count & !BURIED).saturating_sub(1))).sum()
    }

    /// Most links of a list on `level`.
    pub(crate) fn capacity(&self, level: u8) -> usize {
        if level == 0 { self.base.capacity() } else { self.upper.capacity() }
    }

    /// Replaces a list; `links` are at most its capacity.
    pub(crate) fn set_links(&mut self, node: u32, level: u8, links: &[u32]) {
        if level == 0 {
            return self.base.set(node as usize, links);
        }
        let list = self.view().upper_list(node, level);
        self.upper.set(list, links);
    }

    /// Bytes of everything here.
    pub(crate) fn bytes(&self) -> usize {
        let lists = self.base.as_bytes().len() + self.upper.as_bytes().len();
        lists + self.levels.bytes() + self.starts.len() * size_of::<u32>()
    }

    /// Slices resolved once, for walking.
    pub(crate) fn view(&self) -> GraphView<'_> {
        GraphView {
            base: self.base.view(),
            upper: self.upper.view(),
            starts: &self.starts,
            levels: self.levels.as_slice(),
            entry: self.entry,
        }
    }
}

/// A graph to walk.
#[derive(Clone, Copy)]
pub(crate) struct GraphView<'a> {
    base: ListsView<'a>,
    upper: ListsView<'a>,
    starts: &'a [u32],
    levels: &'a [u8],
    entry: u32,
}

impl<'a> GraphView<'a> {
    /// Rows in all, linked or not.
    pub(crate) fn len(&self) -> usize {
        self.levels.len()
    }

    /// Levels that a row is on; 0 = not linked.
    #[inline]
    pub(crate) fn levels_of(&self, row: u32) -> u8 {
        self.levels[row as usize] & !BURIED
    }

    /// True for a row that was taken out.
    #[inline]
    pub(crate) fn is_buried(&self, row: u32) -> bool {
        self.levels[row as usize] & BURIED != 0
    }

    /// True for a row that is linked and was not taken out.
    #[inline]
    pub(crate) fn is_live(&self, row: u32) -> bool {
        self.levels_of(row) > 0 && !self.is_buried(row)
    }

    /// Which of the upper lists is that of `node` on `level`, 1 or more.
    fn upper_list(&self, node: u32, level: u8) -> usize {
        let node = node as usize;
        let start = node / NODES_PER_START;
        let before = Graph::upper_lists(&self.levels[start * NODES_PER_START..node]);
        self.starts[start] as usize + before + usize::from(level) - 1
    }

    /// Most links of a list on `level`.
    #[inline]
    pub(crate) fn capacity(&self, level: u8) -> usize {
        if level == 0 { self.base.capacity() } else { self.upper.capacity() }
    }

    #[inline]
    fn list(&self, node: u32, level: u8) -> (&ListsView<'a>, usize) {
        if level == 0 { (&self.base, node as usize) } else { (&self.upper, self.upper_list(node, level)) }
    }

    /// Calls `each` with the links of a node.
    #[inline(always)]
    pub(crate) fn for_each_link(&self, node: u32, level: u8, each: impl FnMut(u32)) {
        let (lists, list) = self.list(node, level);
        lists.for_each(list, each);
    }

    /// The links of a node.
    pub(crate) fn links(&self, node: u32, level: u8) -> Vec<u32> {
        let mut links = Vec::with_capacity(32);
        self.for_each_link(node, level, |link| links.push(link));
        links
    }

    /// Asks for the links of a node on level 0.
    #[inline]
    pub(crate) fn prefetch(&self, node: u32) {
        crate::kernels::prefetch(self.base.bytes(node as usize));
    }

    /// Node and top level that searches start from.
    pub(crate) fn entry(&self) -> Option<(u32, u8)> {
        (self.entry != NONE).then(|| (self.entry, self.levels_of(self.entry).saturating_sub(1)))
    }
}
