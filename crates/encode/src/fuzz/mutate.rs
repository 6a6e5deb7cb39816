//! Mutations of valid files, seeded: what a fuzzer without coverage does. The same seed gives the same files anywhere.

/// Numbers that lengths, offsets and sizes go wrong at.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_fff8,
    u64::MAX,
];
/// Numbers and marks that texts go wrong at.
const WORDS: [&str; 14] = [
    "0",
    "-1",
    "1e400",
    "18446744073709551615",
    "4294967295",
    "null",
    "[]",
    "{}",
    "\"\"",
    "\\ud800",
    "\u{0}",
    "\u{1F600}",
    "true",
    "/../",
];

/// Xorshift (Marsaglia, 2003).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// A file changed in one to six places.
pub(super) fn mutated(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..=random.below(6) {
        mutate(&mut bytes, random);
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return bytes.push(random.below(256) as u8);
    }
    let at = random.below(bytes.len());
    let length = (1 + random.below(16)).min(bytes.len() - at);
    match random.below(9) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.below(256) as u8,
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..at + length)),
        4 => {
            let piece = bytes[at..at + length].to_vec();
            let to = random.below(bytes.len() + 1);
            drop(bytes.splice(to..to, piece));
        }
        5 => {
            let edge = EDGES[random.below(EDGES.len())];
            let edge = if random.below(2) == 0 { edge.to_le_bytes() } else { edge.to_be_bytes() };
            let width = [1, 2, 4, 8][random.below(4)].min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&edge[..width]);
        }
        6 => digits(bytes, at, random),
        7 => {
            let word = WORDS[random.below(WORDS.len())];
            drop(bytes.splice(at..at, word.bytes()));
        }
        _ => {
            let from = random.below(bytes.len() - length + 1);
            let piece = bytes[from..from + length].to_vec();
            bytes[at..at + length].copy_from_slice(&piece);
        }
    }
}

/// The next number that is written in digits becomes another.
fn digits(bytes: &mut Vec<u8>, from: usize, random: &mut Random) {
    let Some(start) = (from..bytes.len()).find(|at| bytes[*at].is_ascii_digit()) else { return };
    let end = (start..bytes.len()).find(|at| !bytes[*at].is_ascii_digit()).unwrap_or(bytes.len());
    let word = WORDS[random.below(WORDS.len())];
    drop(bytes.splice(start..end, word.bytes()));
}
