//! Which characters the bytes of an HTML file are: byte order mark, UTF-8, what the file says, what its bytes look like.
//!
//! Text that is valid UTF-8 and not plain ASCII is UTF-8 whatever the file says: no text in another encoding is that by chance.

use crate::encoding;
use crate::error::IngestError;
use encoding_rs::Encoding;
use memchr::memmem;

/// Where browsers look for the file's own word on it, with room for comments.
const HEAD_BYTES: usize = 4096;
/// Part of the characters, in parts of 1000, that may be broken in an encoding that the file names.
const BROKEN: usize = 10;

pub(super) fn decode(bytes: &[u8]) -> Result<String, IngestError> {
    let has_mark = bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
    if !has_mark
        && std::str::from_utf8(bytes).is_err()
        && let Some(text) = stated(bytes).and_then(|encoding| decode_as(bytes, encoding))
    {
        return Ok(text);
    }
    encoding::decode(bytes.to_vec())
}

/// Decoded, if nearly all of it is valid.
fn decode_as(bytes: &[u8], encoding: &'static Encoding) -> Option<String> {
    let (text, broken) = encoding.decode_without_bom_handling(bytes);
    let wrong = if broken { text.matches(char::REPLACEMENT_CHARACTER).count() } else { 0 };
    (wrong * 1000 <= text.len() * BROKEN).then(|| text.into_owned())
}

/// The encoding that a `meta` element or an XML declaration names.
fn stated(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..HEAD_BYTES.min(bytes.len()))?.to_ascii_lowercase();
    let after = |word: &[u8]| memmem::find(&head, word).and_then(|at| head.get(at + word.len()..));
    let declared = after(b"<?xml").and_then(|declaration| {
        let end = declaration.iter().position(|&byte| byte == b'>')?;
        let declaration = declaration.get(..end)?;
        declaration.get(memmem::find(declaration, b"encoding")? + b"encoding".len()..)
    });
    let label = after(b"charset").or(declared)?;
    let label: Vec<u8> = label
        .iter()
        .copied()
        .skip_while(|byte| matches!(byte, b'=' | b' ' | b'"' | b'\''))
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"-_:.".contains(byte))
        .collect();
    Encoding::for_label(&label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_it_is() {
        let gbk = encoding_rs::GBK.encode("<meta charset='gb2312'><p>鼠标</p>").0.into_owned();
        assert!(decode(&gbk).unwrap().ends_with("<p>鼠标</p>"));
        let big5 = encoding_rs::BIG5
            .encode("<meta http-equiv=Content-Type content='text/html; charset=Big5'>滑鼠")
            .0;
        assert!(decode(&big5).unwrap().ends_with("滑鼠"));
        let latin = b"<?xml version='1.0' encoding='iso-8859-1'?><p>caf\xe9</p>";
        assert!(decode(latin).unwrap().ends_with("<p>café</p>"));
        let lie = "<meta charset=gbk><p>其实是 UTF-8</p>";
        assert_eq!(decode(lie.as_bytes()).unwrap(), lie);
        let silent = encoding_rs::GBK.encode("<p>没有说明编码的网页，也能看懂。</p>").0.into_owned();
        assert!(decode(&silent).unwrap().contains("没有说明"));
        assert!(decode(b"<meta charset=gbk>\xff\xff\xff\xff").is_err());
    }
}
