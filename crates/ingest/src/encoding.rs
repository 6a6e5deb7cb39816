//! Bytes of a text file into text.
//!
//! Accepted: UTF-8 with or without a byte order mark, UTF-16 with one, and GB18030 (with GBK and GB2312, its subsets) where
//! the bytes are surely that. A guess that may be wrong is worse than an error: a collection full of mojibake is found by
//! nobody. NUL means data, not text.

use crate::error::IngestError;
use std::borrow::Cow;

/// Text of a file without its byte order mark.
///
/// # Errors
/// What is binary, or in no encoding that can be told with certainty.
pub fn decode(bytes: Vec<u8>) -> Result<String, IngestError> {
    if let Some(rest) = bytes.strip_prefix(&[0xFF, 0xFE]) {
        return decode_utf16(rest, u16::from_le_bytes);
    }
    if let Some(rest) = bytes.strip_prefix(&[0xFE, 0xFF]) {
        return decode_utf16(rest, u16::from_be_bytes);
    }
    if let Some(offset) = bytes.iter().position(|&byte| byte == 0) {
        return Err(IngestError::Binary { offset });
    }
    match String::from_utf8(bytes) {
        Ok(mut text) => {
            if text.starts_with('\u{FEFF}') {
                text.drain(..'\u{FEFF}'.len_utf8());
            }
            Ok(text)
        }
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            decode_gb18030(error.as_bytes()).ok_or(IngestError::UnknownEncoding { offset })
        }
    }
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, IngestError> {
    const MARK_BYTES: usize = 2;
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    let mut offset = MARK_BYTES;
    for decoded in char::decode_utf16(pairs.iter().map(|&pair| unit(pair))) {
        match decoded {
            Ok('\0') => return Err(IngestError::Binary { offset }),
            Ok(character) => {
                offset += 2 * character.len_utf16();
                text.push(character);
            }
            Err(_) => return Err(IngestError::BrokenUtf16 { offset }),
        }
    }
    if !odd.is_empty() {
        return Err(IngestError::BrokenUtf16 { offset });
    }
    Ok(text)
}

/// GB18030 if the bytes are valid in it *and* read as common Chinese.
///
/// Validity alone proves little: most Latin-1, Big5 or Shift-JIS texts are valid as well and decode to rare characters. In
/// real Chinese text nearly every character is one of the 6 763 of GB2312, the 3 755 frequent ones of which stand in the
/// rows 0xB0..=0xD7, or one of its punctuation marks and full-width forms (rows 0xA1 and 0xA3). Korean EUC-KR uses the same
/// rows, so the particles and marks that no Chinese text lacks must occur as well.
fn decode_gb18030(bytes: &[u8]) -> Option<String> {
    let text = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(bytes)?;
    let (mut wide, mut common) = (0usize, 0usize);
    let mut rest = bytes;
    while let [lead, tail @ ..] = rest {
        if *lead < 0x80 {
            rest = tail;
            continue;
        }
        wide += 1;
        let trail = tail.first().copied().unwrap_or(0);
        if matches!(lead, 0xA1 | 0xA3 | 0xB0..=0xD7) && trail >= 0xA1 {
            common += 1;
        }
        // Four-byte characters have a digit as second byte.
        rest = tail.get(if (0x30..=0x39).contains(&trail) { 3 } else { 1 }..).unwrap_or(&[]);
    }
    let telltales = text.chars().filter(|&character| is_telltale(character)).count();
    // 85 in 100: names, traditional characters and symbols are the rest. 8 in 100: tables and lists lack particles.
    let reads_as_chinese = common * 100 >= wide * 85 && telltales * 100 >= wide * 8;
    reads_as_chinese.then(|| Cow::into_owned(text))
}

/// A short name as GB18030, if it is valid in it and nearly all of its wide characters stand in the rows of frequent ones.
pub(crate) fn chinese_name(bytes: &[u8]) -> Option<String> {
    let text = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(bytes)?;
    let wide = text.chars().filter(|character| !character.is_ascii()).count();
    let is_common = |character: &char| matches!(character, '\u{3000}'..='\u{303F}' | '\u{4E00}'..='\u{9FFF}' | '\u{FF00}'..='\u{FFEF}' | '“' | '”' | '·' | '—');
    let common = text.chars().filter(is_common).count();
    (common * 100 >= wide * 85).then(|| text.into_owned())
}

/// The most frequent characters and marks of modern Chinese, simplified or not: every fourth character of running text.
fn is_telltale(character: char) -> bool {
    const TELLTALES: &str = "的一是不了在人有我他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可里后\
        小么心多天而能好都然没日于起还发成事只作当想看文无开手用主行方又如前所本见经头面同已从分将外但与意进把法此实理美点\
        种全工是這來個國說們為時得過學對後麼沒還發，。、；：？！“”（）《》";
    TELLTALES.contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gb(text: &str) -> Vec<u8> {
        encoding_rs::GB18030.encode(text).0.into_owned()
    }

    #[test]
    fn utf8_with_and_without_mark() {
        assert_eq!(decode("向量检索".into()).unwrap(), "向量检索");
        assert_eq!(decode("\u{FEFF}向量".into()).unwrap(), "向量");
        assert_eq!(decode(Vec::new()).unwrap(), "");
    }

    #[test]
    fn utf16_of_both_orders() {
        let little: Vec<u8> =
            [0xFF, 0xFE].into_iter().chain("向𠮷a".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert_eq!(decode(little).unwrap(), "向𠮷a");
        let big: Vec<u8> =
            [0xFE, 0xFF].into_iter().chain("向𠮷a".encode_utf16().flat_map(u16::to_be_bytes)).collect();
        assert_eq!(decode(big).unwrap(), "向𠮷a");
    }

    #[test]
    fn broken_utf16_names_the_offset() {
        let unpaired = decode(vec![0xFF, 0xFE, 0x61, 0x00, 0x00, 0xD8, 0x61, 0x00]);
        assert!(matches!(unpaired, Err(IngestError::BrokenUtf16 { offset: 4 })), "{unpaired:?}");
        let odd = decode(vec![0xFE, 0xFF, 0x00, 0x61, 0x00]);
        assert!(matches!(odd, Err(IngestError::BrokenUtf16 { offset: 4 })), "{odd:?}");
        let nul = decode(vec![0xFF, 0xFE, 0x61, 0x00, 0x00, 0x00]);
        assert!(matches!(nul, Err(IngestError::Binary { offset: 4 })), "{nul:?}");
    }

    #[test]
    fn nul_is_binary() {
        let png = decode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec());
        assert!(matches!(png, Err(IngestError::Binary { offset: 8 })), "{png:?}");
    }

    #[test]
    fn gb18030_is_told_from_its_look_alikes() {
        let chinese = "FAISS是高效的向量检索库，支持CPU和GPU。";
        assert_eq!(decode(gb(chinese)).unwrap(), chinese);
        let rare = "他叫朱镕基，在北京的𠮷野家吃饭。";
        assert_eq!(decode(gb(rare)).unwrap(), rare);

        let others: [(&str, Vec<u8>); 5] = [
            ("Latin-1", b"Le caf\xe9 est situ\xe9 pr\xe8s de l'\xe9glise fran\xe7aise".to_vec()),
            ("Big5", encoding_rs::BIG5.encode("資料庫支援多種索引類型，適合大規模向量檢索。").0.into_owned()),
            (
                "Shift-JIS",
                encoding_rs::SHIFT_JIS.encode("これは日本語のテキストです。検索します。").0.into_owned(),
            ),
            ("EUC-JP", encoding_rs::EUC_JP.encode("これは日本語のテキストです。検索します。").0.into_owned()),
            ("EUC-KR", encoding_rs::EUC_KR.encode("데이터베이스는 다양한 색인을 지원합니다").0.into_owned()),
        ];
        for (name, bytes) in others {
            let offset = std::str::from_utf8(&bytes).unwrap_err().valid_up_to();
            match decode(bytes) {
                Err(IngestError::UnknownEncoding { offset: named }) => assert_eq!(named, offset, "{name}"),
                other => panic!("{name} was taken: {other:?}"),
            }
        }
    }
}
