//! The tokenizer of a BERT model that has only a `vocab.txt`: one token a line, its id the number of the line from 0.
//!
//! As `transformers`' `BertTokenizer`: control characters out, Chinese characters one by one, small letters and no accents where
//! the model is uncased, then the longest pieces first (Wu et al., 2016).

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

/// A longer word is an unknown one.
const MAX_WORD_CHARS: usize = 100;

/// What of `tokenizer_config.json` changes how text is cut; `transformers`' defaults for BERT.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct WordPieceConfig {
    do_lower_case: bool,
    tokenize_chinese_chars: bool,
    strip_accents: Option<bool>,
    unk_token: SpecialToken,
    cls_token: SpecialToken,
    sep_token: SpecialToken,
    pad_token: SpecialToken,
    mask_token: SpecialToken,
}

/// A token by itself, or with how it is matched.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum SpecialToken {
    Plain(String),
    Detailed { content: String },
}

impl SpecialToken {
    pub(super) fn text(&self) -> &str {
        match self {
            SpecialToken::Plain(text) | SpecialToken::Detailed { content: text } => text,
        }
    }
}

impl Default for WordPieceConfig {
    fn default() -> Self {
        let token = |name: &str| SpecialToken::Plain(format!("[{name}]"));
        WordPieceConfig {
            do_lower_case: true,
            tokenize_chinese_chars: true,
            strip_accents: None,
            unk_token: token("UNK"),
            cls_token: token("CLS"),
            sep_token: token("SEP"),
            pad_token: token("PAD"),
            mask_token: token("MASK"),
        }
    }
}

/// The tokenizer of a `vocab.txt`.
pub(crate) fn from_vocabulary(vocabulary: &[u8], config: &WordPieceConfig) -> Result<Tokenizer, String> {
    let text = std::str::from_utf8(vocabulary).map_err(|error| format!("its vocab.txt: {error}"))?;
    let tokens = text.strip_suffix('\n').unwrap_or(text).split('\n').map(|line| line.trim_end_matches('\r'));
    // Of a token that is there twice the last line counts, as in `transformers`.
    let vocabulary: Map<String, Value> =
        tokens.zip(0u32..).map(|(token, id)| (token.to_owned(), id.into())).collect();
    let id = |token: &SpecialToken| {
        let token = token.text();
        vocabulary.get(token).cloned().ok_or_else(|| format!("its vocab.txt lacks the token {token:?}"))
    };
    let (separator, first) = (id(&config.sep_token)?, id(&config.cls_token)?);
    id(&config.unk_token)?;
    let special =
        [&config.pad_token, &config.unk_token, &config.cls_token, &config.sep_token, &config.mask_token];
    let mut added: Vec<Value> = Vec::new();
    for token in special {
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
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "lowercase": config.do_lower_case,
            "handle_chinese_chars": config.tokenize_chinese_chars, "strip_accents": config.strip_accents},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": [config.sep_token.text(), separator],
            "cls": [config.cls_token.text(), first]},
        "model": {"type": "WordPiece", "unk_token": config.unk_token.text(), "continuing_subword_prefix": "##",
            "max_input_chars_per_word": MAX_WORD_CHARS, "vocab": vocabulary},
    });
    super::from_json(file.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n向\n量\nsearch\n##ing\ncafe\n";

    fn ids(config: &str, text: &str) -> Vec<u32> {
        let config = serde_json::from_str(config).expect("a config");
        let tokenizer = from_vocabulary(VOCABULARY.as_bytes(), &config).expect("a tokenizer");
        tokenizer.encode_fast(text, true).expect("tokens").get_ids().to_vec()
    }

    #[test]
    fn text_is_cut_as_bert_does() {
        assert_eq!(ids("{}", "向量 Searching Café"), [2, 5, 6, 7, 8, 9, 3]);
        assert_eq!(ids(r#"{"do_lower_case": false}"#, "向Searching café"), [2, 5, 1, 1, 3]);
        assert_eq!(ids(r#"{"unk_token": {"content": "[MASK]"}}"#, "狗"), [2, 4, 3]);
        assert_eq!(ids("{}", "[SEP]量"), [2, 3, 6, 3], "a special token is one");
    }

    #[test]
    fn a_vocabulary_without_what_is_needed_is_refused() {
        let refused = from_vocabulary(b"[PAD]\n[UNK]\n[CLS]\nx\n", &WordPieceConfig::default());
        assert!(refused.is_err_and(|reason| reason.contains("[SEP]")));
        assert!(from_vocabulary(b"\xff", &WordPieceConfig::default()).is_err());
    }
}
