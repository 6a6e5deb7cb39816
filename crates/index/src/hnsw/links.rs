//! Lists of links, all of one capacity, packed into as few bits a link as the row numbers need.
//!
//! List `i` is the `stride` bytes from `i * stride`, with `stride = capacity * width / 8` rounded up; link `j` of it is the
//! `width` bits from bit `j * width`, lowest bit first. Lists are filled from the front; the first link with all bits set ends
//! a list, and so do the bits left over. `width` is at most [`MAX_PACKED_BITS`], so that one read of 64 bits holds two links
//! wherever they start, or else 32.

use super::graph::NONE;
use crate::file::Array;

/// Widest link that is packed; beyond, links are whole u32.
const MAX_PACKED_BITS: u32 = 28;
/// Narrowest link, so that a small graph is not packed anew again and again.
const MIN_BITS: u32 = 12;

/// Lists of level 0, or of all levels above.
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    bytes: Array<u8>,
    /// Most links of a list.
    capacity: usize,
    /// Bits of a link.
    width: u32,
}

/// Bits of a link in a graph of `rows` rows: the number with all bits set is none of them.
fn width_for(rows: usize) -> u32 {
    let bits = (usize::BITS - rows.leading_zeros()).max(MIN_BITS);
    if bits > MAX_PACKED_BITS { u32::BITS } else { bits }
}

/// True for the widths that a file may name.
pub(crate) fn is_width(width: u32) -> bool {
    (MIN_BITS..=MAX_PACKED_BITS).contains(&width) || width == u32::BITS
}

/// Bytes of a list.
pub(crate) fn stride(capacity: usize, width: u32) -> usize {
    (capacity * width as usize).div_ceil(8)
}

impl Lists {
    pub(crate) fn new(capacity: usize) -> Self {
        Lists::from_parts(Array::Owned(Vec::new()), capacity, MIN_BITS)
    }

    /// `bytes` is `[lists, stride(capacity, width)]`; [`is_width`] holds.
    pub(crate) fn from_parts(bytes: Array<u8>, capacity: usize, width: u32) -> Self {
        Lists { bytes, capacity, width }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn width(&self) -> u32 {
        self.width
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Makes room for links to `rows` rows and for `lists` lists, new ones empty. Wider links are packed anew: at every
    /// doubling of the rows, so a row added costs the same however many there are.
    pub(crate) fn resize(&mut self, lists: usize, rows: usize) {
        let width = width_for(rows);
        if width > self.width {
            let old =
                std::mem::replace(self, Lists::from_parts(Array::Owned(Vec::new()), self.capacity, width));
            self.reserve(lists);
            let mut links = Vec::with_capacity(self.capacity);
            for list in 0..old.view().len() {
                links.clear();
                old.view().for_each(list, |link| links.push(link));
                self.set(list, &links);
            }
        }
        self.reserve(lists);
    }

    fn reserve(&mut self, lists: usize) {
        let bytes = lists * stride(self.capacity, self.width);
        self.bytes.to_mut().resize(bytes, u8::MAX);
    }

    /// Replaces a list; `links` are at most its capacity.
    pub(crate) fn set(&mut self, list: usize, links: &[u32]) {
        let (width, stride) = (self.width, stride(self.capacity, self.width));
        let bytes = &mut self.bytes.to_mut()[list * stride..(list + 1) * stride];
        bytes.fill(u8::MAX);
        let (mut waiting, mut bits, mut at) = (0_u64, 0, 0);
        for &link in links {
            waiting |= u64::from(link) << bits;
            bits += width;
            while bits >= 8 {
                bytes[at] = waiting as u8;
                waiting >>= 8;
                bits -= 8;
                at += 1;
            }
        }
        if bits > 0 {
            bytes[at] = waiting as u8 | u8::MAX << bits;
        }
    }

    pub(crate) fn view(&self) -> ListsView<'_> {
        ListsView {
            bytes: self.bytes.as_slice(),
            stride: stride(self.capacity, self.width),
            capacity: self.capacity,
            width: self.width,
        }
    }
}

/// Lists to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListsView<'a> {
    bytes: &'a [u8],
    stride: usize,
    capacity: usize,
    width: u32,
}

impl<'a> ListsView<'a> {
    /// Number of lists.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / self.stride
    }

    /// Most links of a list.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The bytes of a list, to be prefetched.
    #[inline]
    pub(crate) fn bytes(&self, list: usize) -> &'a [u8] {
        &self.bytes[list * self.stride..(list + 1) * self.stride]
    }

    /// The link with all bits set.
    #[inline]
    fn none(&self) -> u32 {
        NONE >> (u32::BITS - self.width)
    }

    /// Links `2 * pair` and `2 * pair + 1` of the list that starts at byte `start`, in the low bits.
    #[inline(always)]
    fn pair(&self, start: usize, pair: usize) -> u64 {
        let bit = 2 * pair * self.width as usize;
        let at = start + bit / 8;
        let word = match self.bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => u64::from_le_bytes(bytes),
            None => self.last_word(at),
        };
        word >> (bit % 8)
    }

    /// Up to eight bytes at the end of the array.
    #[cold]
    fn last_word(&self, at: usize) -> u64 {
        let mut word = [u8::MAX; 8];
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        let count = rest.len().min(8);
        word[..count].copy_from_slice(&rest[..count]);
        u64::from_le_bytes(word)
    }

    /// Calls `each` with the links of a list.
    #[inline(always)]
    pub(crate) fn for_each(&self, list: usize, mut each: impl FnMut(u32)) {
        let (start, none) = (list * self.stride, self.none());
        for pair in 0..self.capacity / 2 {
            let word = self.pair(start, pair);
            let (first, second) = (word as u32 & none, (word >> self.width) as u32 & none);
            if first == none {
                return;
            }
            each(first);
            if second == none {
                return;
            }
            each(second);
        }
        if !self.capacity.is_multiple_of(2) {
            let last = self.pair(start, self.capacity / 2) as u32 & none;
            if last != none {
                each(last);
            }
        }
    }

    /// Every place of a list, [`NONE`] where there is no link.
    pub(crate) fn places(self, list: usize) -> impl Iterator<Item = u32> + 'a {
        let (start, none) = (list * self.stride, self.none());
        (0..self.capacity).map(move |place| {
            let word = self.pair(start, place / 2) >> (self.width as usize * (place % 2));
            let link = word as u32 & none;
            if link == none { NONE } else { link }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_hold_what_was_set_through_every_growth(
            capacity in 1_usize..70,
            rows in prop::collection::vec(1_usize..1 << 31, 1..5),
            seed in any::<u64>(),
        ) {
            let mut random = crate::random::Random::new(seed);
            let mut sizes = rows;
            sizes.sort_unstable();
            let (mut lists, mut model) = (Lists::new(capacity), Vec::<Vec<u32>>::new());
            for rows in sizes {
                model.resize(model.len() + 3, Vec::new());
                lists.resize(model.len(), rows);
                prop_assert!(is_width(lists.width()));
                for _ in 0..4 {
                    let list = random.below(model.len());
                    let links: Vec<u32> =
                        (0..random.below(capacity + 1)).map(|_| random.below(rows) as u32).collect();
                    lists.set(list, &links);
                    model[list] = links;
                }
                let view = lists.view();
                prop_assert_eq!(view.len(), model.len());
                for (list, expected) in model.iter().enumerate() {
                    let mut found = Vec::new();
                    view.for_each(list, |link| found.push(link));
                    prop_assert_eq!(&found, expected);
                    let places: Vec<u32> = view.places(list).collect();
                    prop_assert_eq!(&places[..expected.len()], &expected[..]);
                    prop_assert!(places[expected.len()..].iter().all(|&link| link == NONE));
                }
            }
        }
    }
}
