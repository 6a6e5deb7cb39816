//! Activations between two layers, in memory that a thread uses again.
//!
//! A network makes and drops some megabytes per layer. Taken from the system each time they come as fresh pages, and cleared, which
//! cost a fifth of a picture's time. What a buffer holds when it is taken is left from before: who takes one overwrites it.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use rayon::prelude::*;

/// Buffers that a thread keeps: those of a layer, the one before it, and what a residual holds back.
const KEPT: usize = 6;

thread_local! {
    static SHELF: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Numbers to be overwritten; back on the thread's shelf when dropped.
pub(crate) struct Buffer {
    /// At least `length` long.
    numbers: Vec<f32>,
    length: usize,
}

impl Buffer {
    /// `length` numbers of whatever was there before.
    pub(crate) fn take(length: usize) -> Buffer {
        let kept = SHELF.with_borrow_mut(|shelf| {
            let fitting = |(_, numbers): &(usize, &Vec<f32>)| numbers.len() >= length;
            let smallest = shelf.iter().enumerate().filter(fitting).min_by_key(|(_, numbers)| numbers.len());
            smallest.map(|(at, _)| at).map(|at| shelf.swap_remove(at))
        });
        Buffer { numbers: kept.unwrap_or_else(|| vec![0.0; length]), length }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let numbers = std::mem::take(&mut self.numbers);
        // A thread that ends has no shelf any more: then the memory is given back.
        let _ = SHELF.try_with(|shelf| {
            let mut shelf = shelf.borrow_mut();
            shelf.push(numbers);
            if shelf.len() > KEPT
                && let Some(least) = (0..shelf.len()).min_by_key(|at| shelf[*at].len())
            {
                shelf.swap_remove(least);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[..self.length]
    }
}

/// Works on pieces of `size` numbers (the last may be shorter), each with its position; `shared` lets the other threads help.
pub(crate) fn in_pieces(
    numbers: &mut [f32],
    size: usize,
    shared: bool,
    work: impl Fn(usize, &mut [f32]) + Send + Sync,
) {
    match shared {
        true => numbers.par_chunks_mut(size).enumerate().for_each(|(at, piece)| work(at, piece)),
        false => numbers.chunks_mut(size).enumerate().for_each(|(at, piece)| work(at, piece)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_bounded() {
        let first = Buffer::take(1000);
        let place = first.as_ptr();
        drop(first);
        let again = Buffer::take(900);
        assert_eq!((again.as_ptr(), again.len()), (place, 900));
        let held: Vec<Buffer> = (1..20).map(|length| Buffer::take(2000 + length)).collect();
        drop(held);
        SHELF.with_borrow(|shelf| {
            assert_eq!(shelf.len(), KEPT);
            assert!(shelf.iter().all(|numbers| numbers.len() > 2000), "the largest are kept");
        });
    }
}
