//! Bytes of a text file into text.
//!
//! Accepted: UTF-8 with or without a byte order mark, UTF-16 with one or where its line ends give it away, and GB18030 (with GBK
//! and GB2312, its subsets) and Big5 where the bytes surely read as Chinese, simplified or traditional. A guess that may be wrong
//! is worse than an error: a collection full of mojibake is found by nobody. NUL means data, not text.

use crate::error::IngestError;

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
        return unmarked_utf16(&bytes).ok_or(IngestError::Binary { offset });
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
            decode_chinese(error.as_bytes()).ok_or(IngestError::UnknownEncoding { offset })
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

/// UTF-16 without its mark, if one of the two byte orders makes text of it that is Chinese or Latin and has line ends or spaces.
fn unmarked_utf16(bytes: &[u8]) -> Option<String> {
    /// Less is too little to tell by.
    const FEWEST_BYTES: usize = 16;
    if bytes.len() < FEWEST_BYTES || !bytes.len().is_multiple_of(2) {
        return None;
    }
    let is_common = |c: char| {
        matches!(c, ' '..='~' | '\n' | '\r' | '\t' | '\u{A0}'..='\u{FF}' | '\u{2010}'..='\u{2026}' | '\u{3000}'..='\u{303F}'
            | '\u{4E00}'..='\u{9FFF}' | '\u{FF00}'..='\u{FFEF}')
    };
    let mut texts =
        [u16::from_le_bytes as fn([u8; 2]) -> u16, u16::from_be_bytes].into_iter().filter_map(|unit| {
            let text = decode_utf16(bytes, unit).ok()?;
            let (common, all) =
                text.chars().fold((0, 0), |(common, all), c| (common + usize::from(is_common(c)), all + 1));
            (common * 100 >= all * 98 && text.contains([' ', '\n'])).then_some(text)
        });
    let text = texts.next()?;
    // Both orders: nothing tells which.
    texts.next().is_none().then_some(text)
}

/// GB18030 or Big5, if the bytes are valid in it *and* read as Chinese; the one that reads better where both do.
fn decode_chinese(bytes: &[u8]) -> Option<String> {
    let readings = [decode_gb18030(bytes), decode_big5(bytes)];
    let best = readings.into_iter().flatten().max_by_key(|reading| reading.telltales)?;
    Some(best.text)
}

/// A text that reads as Chinese, and how many characters it has that every Chinese text is full of.
struct Reading {
    text: String,
    telltales: usize,
}

impl Reading {
    /// The reading, if enough of its wide characters are common ones and telltales.
    ///
    /// Validity alone proves little: most Latin-1 or Shift-JIS texts are valid GB18030 and decode to rare characters, and much
    /// of Big5 is valid GB18030 and the other way round. 85 in 100 are common: names and symbols are the rest. 8 in 100 are
    /// telltales: tables and lists lack particles. Korean EUC-KR uses the rows of common characters, and has no telltales.
    fn certain(text: String, wide: usize, common: usize) -> Option<Self> {
        let telltales = text.chars().filter(|&character| is_telltale(character)).count();
        (common * 100 >= wide * 85 && telltales * 100 >= wide * 8).then_some(Self { text, telltales })
    }
}

/// Common are the 3 755 characters of GB2312's first level (rows 0xB0..=0xD7), its marks and full-width forms (0xA1, 0xA3), and
/// the 5 401 of Big5's first level, which are the common ones of traditional Chinese.
fn decode_gb18030(bytes: &[u8]) -> Option<Reading> {
    let text = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(bytes)?;
    let (mut wide, mut common) = (0usize, 0usize);
    let mut characters = text.chars().filter(|character| !character.is_ascii());
    let mut rest = bytes;
    while let [lead, tail @ ..] = rest {
        if *lead < 0x80 {
            rest = tail;
            continue;
        }
        wide += 1;
        let character = characters.next();
        let trail = tail.first().copied().unwrap_or(0);
        let is_simplified = matches!(lead, 0xA1 | 0xA3 | 0xB0..=0xD7) && trail >= 0xA1;
        common += usize::from(is_simplified || character.is_some_and(is_common_in_big5));
        // Four-byte characters have a digit as second byte.
        rest = tail.get(if (0x30..=0x39).contains(&trail) { 3 } else { 1 }..).unwrap_or(&[]);
    }
    Reading::certain(text.into_owned(), wide, common)
}

/// Common are the characters of Big5's first level (rows 0xA4..=0xC6) and its marks and full-width forms (0xA1..=0xA3).
fn decode_big5(bytes: &[u8]) -> Option<Reading> {
    let text = encoding_rs::BIG5.decode_without_bom_handling_and_without_replacement(bytes)?;
    let (mut wide, mut common) = (0usize, 0usize);
    let mut rest = bytes;
    while let [lead, tail @ ..] = rest {
        if *lead < 0x80 {
            rest = tail;
            continue;
        }
        wide += 1;
        common += usize::from(matches!(lead, 0xA1..=0xC6));
        rest = tail.get(1..).unwrap_or(&[]);
    }
    Reading::certain(text.into_owned(), wide, common)
}

fn is_common_in_big5(character: char) -> bool {
    let mut buffer = [0; 4];
    let text: &str = character.encode_utf8(&mut buffer);
    let (encoded, _, is_wrong) = encoding_rs::BIG5.encode(text);
    !is_wrong && matches!(encoded.first(), Some(0xA4..=0xC6))
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
    fn traditional_chinese_in_both_encodings() {
        for text in [
            "資料庫支援多種索引類型，適合大規模向量檢索。",
            "第一章　緒論\r\n　　本課程介紹資訊檢索的基本概念與實作。",
            "《紅樓夢》是中國古典小說的巔峰之作，作者曹雪芹。",
            "今天天氣很好，我們去公園散步吧！",
        ] {
            assert_eq!(decode(encoding_rs::BIG5.encode(text).0.into_owned()).unwrap(), text);
            assert_eq!(decode(gb(text)).unwrap(), text);
        }
    }

    #[test]
    fn mixed_and_short_files_of_simplified_chinese() {
        for text in [
            "你好",
            "机器学习笔记",
            "# 待办\n1. 安装 CUDA 12.1\n2. 运行 python train.py --epochs 10，然后看日志\n",
            "姓名,年龄,城市\n张三,28,北京\n李四,35,上海\n我们的数据\n",
            "价格：￥128.00（含税）——仅限今日！",
            "GB2312 只收 6763 个汉字，“镕”“堃”“𠮷”不在其中。",
        ] {
            assert_eq!(decode(gb(text)).unwrap(), text, "{text}");
        }
        // Simplified and traditional characters in one text.
        let mixed = "臺灣的“軟體”在大陆叫“软件”，“程式”叫“程序”，这是两岸用语的不同。";
        assert_eq!(decode(gb(mixed)).unwrap(), mixed);
    }

    #[test]
    fn utf16_that_lost_its_mark() {
        for text in ["向量检索 与 倒排索引。\n第二行，很短。\n", "Plain English text in UTF-16.\r\n"]
        {
            let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            assert_eq!(decode(little).unwrap(), text);
            let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            assert_eq!(decode(big).unwrap(), text);
        }
        assert!(matches!(decode((0..=255).collect()), Err(IngestError::Binary { offset: 0 })));
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

        let others: [(&str, Vec<u8>); 4] = [
            ("Latin-1", b"Le caf\xe9 est situ\xe9 pr\xe8s de l'\xe9glise fran\xe7aise".to_vec()),
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
