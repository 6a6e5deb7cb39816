//! Which commits are still looked at: what compaction may take away for good.
//!
//! Invariant: every [`Snapshot`](crate::Snapshot), and every copy of it, holds the [`View`] of its commit, and [`Views`]
//! knows each of them without keeping it alive. Nobody can come to hold an older view than the newest unless they hold it
//! now, so [`Views::oldest`] never goes back. Readers only drop an `Arc`; they wait for nobody.
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A commit that somebody looks at.
#[derive(Debug)]
pub(crate) struct View {
    seq: u64,
}

/// The views of one collection.
#[derive(Debug, Default)]
pub(crate) struct Views(Mutex<Vec<Weak<View>>>);

impl Views {
    /// A view of commit `seq`, held as long as the result or a copy of it.
    pub(crate) fn hold(&self, seq: u64) -> Arc<View> {
        let view = Arc::new(View { seq });
        // A list of weak pointers is whole at any point, so a panic elsewhere does not spoil it.
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|view| view.strong_count() > 0);
        held.push(Arc::downgrade(&view));
        view
    }

    /// The oldest commit that is looked at: an item deleted by it, or before, is asked for by nobody any more.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().filter_map(Weak::upgrade).map(|view| view.seq).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_held_view_counts() {
        let views = Views::default();
        assert_eq!(views.oldest(), None);
        let first = views.hold(3);
        let copy = Arc::clone(&first);
        let second = views.hold(4);
        assert_eq!(views.oldest(), Some(3));
        drop(first);
        assert_eq!(views.oldest(), Some(3), "a copy is held");
        drop(copy);
        assert_eq!(views.oldest(), Some(4));
        drop(second);
        assert_eq!(views.oldest(), None);
    }
}
