//! Mutations of valid files, seeded: what a fuzzer without coverage does. The same seed gives the same files anywhere.

/// What numbers and structure of documents go wrong at.
const WORDS: [&str; 18] = [
    "0",
    "-1",
    "65536",
    "4294967295",
    "99999999999999999999",
    "1e400",
    "<<",
    ">>",
    "[",
    "]",
    " 1 0 R",
    "endobj",
    "stream",
    "</p>",
    "<table>",
    "<![CDATA[",
    "&#x110000;",
    "\u{0}",
];

/// Xorshift (Marsaglia, 2003).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
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
    let length = (1 + random.below(24)).min(bytes.len() - at);
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.below(256) as u8,
        2 if random.below(4) == 0 => bytes.truncate(at),
        3 => drop(bytes.drain(at..at + length)),
        4 => {
            let piece = bytes[at..at + length].to_vec();
            let to = random.below(bytes.len() + 1);
            drop(bytes.splice(to..to, piece));
        }
        5 => {
            // The next number that is written in digits becomes another.
            let Some(start) = (at..bytes.len()).find(|at| bytes[*at].is_ascii_digit()) else { return };
            let end = (start..bytes.len()).find(|at| !bytes[*at].is_ascii_digit()).unwrap_or(bytes.len());
            drop(bytes.splice(start..end, WORDS[random.below(6)].bytes()));
        }
        6 => drop(bytes.splice(at..at, WORDS[random.below(WORDS.len())].bytes())),
        _ => {
            let from = random.below(bytes.len() - length + 1);
            let piece = bytes[from..from + length].to_vec();
            bytes[at..at + length].copy_from_slice(&piece);
        }
    }
}
