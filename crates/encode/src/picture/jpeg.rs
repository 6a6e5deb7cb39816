//! Whether a JPEG file is all there: the decoder fills what is missing with grey, and grey is no reason to match.
//!
//! A file is a chain of segments, `FF marker length...`; after a start of scan comes entropy-coded data, in which `FF` is
//! followed by 00 or a restart marker, up to the next marker (ITU T.81, annex B). Complete means: an end-of-image marker
//! (FF D9) is reached by that chain, so the one of an EXIF thumbnail does not count.

const END_OF_IMAGE: u8 = 0xD9;

/// Whether the chain of segments reaches the end-of-image marker.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // To the next marker, over entropy-coded data and fill bytes.
        let Some(&[first, marker]) = bytes.get(at..at + 2) else { return false };
        if first != 0xFF || matches!(marker, 0x00 | 0xFF | 0xD0..=0xD7) {
            at += 1;
            continue;
        }
        if marker == END_OF_IMAGE {
            return true;
        }
        let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return false };
        at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_outer_chain_counts() {
        let mut file =
            vec![0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9, 0xFF, 0xDA, 0, 2, 1, 2, 0xFF, 0, 3];
        assert!(!is_complete(&file));
        file.extend([0xFF, 0xD3, 7, 0xFF, 0xD9]);
        assert!(is_complete(&file));
        for length in 0..file.len() {
            assert!(!is_complete(&file[..length]), "{length}");
        }
    }
}
