//! The tokenizer of a CLIP model that has only `vocab.json` and `merges.txt`: byte pairs (Sennrich et al., 2016; over bytes, Radford
//! et al., 2019), the last pair of a word ending in `</w>`.
//!
//! As `transformers`' `CLIPTokenizer`: small letters, white space as one space, words cut at what is neither letter nor figure, every
//! figure by itself. `merges.txt` has a line of version, then a pair a line, the first merged first.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use super::wordpiece::SpecialToken;

const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// What of `tokenizer_config.json` changes how text is cut; `transformers`' defaults for CLIP.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct PairsConfig {
    unk_token: SpecialToken,
    bos_token: SpecialToken,
    eos_token: SpecialToken,
    pad_token: SpecialToken,
}

impl Default for PairsConfig {
    fn default() -> Self {
        let token = |name: &str| SpecialToken::Plain(name.to_owned());
        PairsConfig {
            unk_token: token("<|endoftext|>"),
            bos_token: token("<|startoftext|>"),
            eos_token: token("<|endoftext|>"),
            pad_token: token("<|endoftext|>"),
        }
    }
}

/// The tokenizer of a `vocab.json` and a `merges.txt`.
pub(crate) fn from_pairs(
    vocabulary: &[u8],
    merges: &[u8],
    config: &PairsConfig,
) -> Result<Tokenizer, String> {
    let vocabulary: Map<String, Value> =
        serde_json::from_slice(vocabulary).map_err(|error| format!("its vocab.json: {error}"))?;
    let merges = std::str::from_utf8(merges).map_err(|error| format!("its merges.txt: {error}"))?;
    let pairs: Vec<&str> =
        merges.lines().filter(|line| !line.starts_with("#version") && !line.trim().is_empty()).collect();
    let id = |token: &SpecialToken| {
        let token = token.text();
        vocabulary.get(token).cloned().ok_or_else(|| format!("its vocab.json lacks the token {token:?}"))
    };
    let (first, last) = (id(&config.bos_token)?, id(&config.eos_token)?);
    id(&config.unk_token)?;
    let mut added: Vec<Value> = Vec::new();
    for token in [&config.unk_token, &config.bos_token, &config.eos_token, &config.pad_token] {
        if let Ok(id) = id(token)
            && added.iter().all(|known| known["id"] != id)
        {
            added.push(json!({"id": id, "content": token.text(), "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true}));
        }
    }
    let file = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
        "post_processor": {"type": "RobertaProcessing", "sep": [config.eos_token.text(), last],
            "cls": [config.bos_token.text(), first], "trim_offsets": false, "add_prefix_space": false},
        "model": {"type": "BPE", "unk_token": config.unk_token.text(), "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "vocab": vocabulary, "merges": pairs},
    });
    super::from_json(file.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: &str = r#"{"a": 0, "c": 1, "r": 2, "a</w>": 3, "r</w>": 4, "1</w>": 5, "2</w>": 6, "ca": 7, "car</w>": 8,
        "<|startoftext|>": 9, "<|endoftext|>": 10}"#;
    const MERGES: &[u8] = b"#version: 0.2\nc a\nca r</w>\n";

    fn tokenizer() -> Tokenizer {
        from_pairs(VOCABULARY.as_bytes(), MERGES, &PairsConfig::default()).expect("a tokenizer")
    }

    #[test]
    fn text_is_cut_as_clip_does() {
        let ids = |text: &str| tokenizer().encode_fast(text, true).expect("tokens").get_ids().to_vec();
        assert_eq!(ids("A  CAR\n12"), [9, 3, 8, 5, 6, 10]);
        assert_eq!(ids("carca<|endoftext|>a"), [9, 7, 2, 1, 3, 10, 3, 10], "special tokens stay whole");
    }

    #[test]
    fn files_without_what_is_needed_are_refused() {
        let refused = |vocabulary: &[u8], merges: &[u8]| {
            from_pairs(vocabulary, merges, &PairsConfig::default()).err().unwrap_or_default()
        };
        assert!(refused(b"{\"a\": 1}", MERGES).contains("<|startoftext|>"));
        assert!(refused(b"[]", MERGES).contains("vocab.json"));
        assert!(refused(VOCABULARY.as_bytes(), b"\xff").contains("merges.txt"));
        assert!(refused(VOCABULARY.as_bytes(), b"x y\n").contains("tokenizer is not understood"));
    }
}
