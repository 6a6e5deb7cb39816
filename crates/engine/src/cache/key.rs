//! [`Key`]: a hash (BLAKE3) over everything that an answer depends on.
//!
//! Fields are taken apart by destructuring, so that whoever adds one to a query has to say here what it means. Each is written with a tag
//! and, where it can have several lengths, with its length, so that no two queries are written alike.

use crate::config::EngineConfig;
use crate::search::{Alike, Fusion, Query, Region, Target};
use std::fmt;

/// Goes up whenever the same query is answered, or written here, in another way.
const VERSION: &str = concat!("bilin ", env!("CARGO_PKG_VERSION"), " answers 1");

/// Names an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) [u8; 32]);

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

/// What the configuration says about answers.
pub(super) fn configured(config: &EngineConfig) -> [u8; 32] {
    let told = format!(
        "{VERSION} {:?} {:?} {} {} {} {} {} {:?} {:?} {:?}",
        config.search_mode,
        config.fusion,
        config.sentence_weight,
        config.search_candidates,
        config.max_query_chars,
        config.min_query_letters,
        config.max_top_k,
        config.long_queries,
        config.rerank,
        config.picture_limits,
    );
    *blake3::hash(told.as_bytes()).as_bytes()
}

impl Key {
    pub(super) fn of(edition: &[u8; 32], configured: &[u8; 32], form: &str, query: &Query) -> Key {
        let Query { target, top_k, filter, effort, mode, per, fusion, sentences, rerank } = query;
        let mut writer = Writer(blake3::Hasher::new());
        writer.0.update(edition);
        writer.0.update(configured);
        writer.bytes(b'f', form.as_bytes());
        match target {
            Target::Text(text) => writer.bytes(b't', text.as_bytes()),
            Target::Picture(picture) => writer.bytes(b'p', picture),
            Target::Vector(vector) => {
                writer.number(b'v', vector.len());
                for value in vector {
                    writer.0.update(&value.to_bits().to_le_bytes());
                }
            }
            Target::Like(id) => writer.bytes(b'l', id.as_bytes()),
            Target::Alike(alike) => writer.alike(alike),
        }
        writer.number(b'k', *top_k);
        // `Display` writes a filter so that it is read back as the same one, however it was spelt.
        writer.bytes(b'w', filter.as_ref().map_or_else(String::new, ToString::to_string).as_bytes());
        writer.number(b'e', effort.unwrap_or(0));
        writer.bytes(b'm', mode.map_or("", |mode| mode.name()).as_bytes());
        writer.bytes(b'g', per.name().as_bytes());
        match fusion {
            None => writer.number(b'u', 0),
            Some(Fusion::Rrf { k }) => writer.number(b'r', *k as usize),
            Some(Fusion::Weighted { dense }) => writer.number(b'd', dense.to_bits() as usize),
            Some(Fusion::Share { words }) => writer.number(b's', words.to_bits() as usize),
        }
        writer.number(b'n', sentences.map_or(0, |weight| 1 + weight.to_bits() as usize));
        writer.number(b'x', rerank.map_or(0, |rerank| 1 + usize::from(rerank)));
        Key(*writer.0.finalize().as_bytes())
    }
}

struct Writer(blake3::Hasher);

impl Writer {
    fn number(&mut self, tag: u8, number: usize) {
        self.0.update(&[tag]);
        self.0.update(&(number as u64).to_le_bytes());
    }

    /// Lists are written with their lengths.
    fn alike(&mut self, alike: &Alike) {
        let Alike { text, pictures, like, unlike, unlike_pictures, region } = alike;
        self.number(b'T', usize::from(text.is_some()));
        self.bytes(b't', text.as_deref().unwrap_or("").as_bytes());
        for (tag, list) in [(b'P', pictures), (b'Q', unlike_pictures)] {
            self.number(tag, list.len());
            list.iter().for_each(|picture| self.bytes(b'p', picture));
        }
        for (tag, list) in [(b'L', like), (b'U', unlike)] {
            self.number(tag, list.len());
            list.iter().for_each(|id| self.bytes(b'l', id.as_bytes()));
        }
        let region: Vec<u8> = region.iter().flat_map(Region::bytes).collect();
        self.bytes(b'R', &region);
    }

    fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.number(tag, bytes.len());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Mode, Per};
    use std::collections::HashSet;

    #[test]
    fn everything_that_changes_an_answer_changes_the_key() {
        let plain = Query::new(Target::Text("向量".to_owned()));
        let with = |change: &dyn Fn(&mut Query)| {
            let mut query = plain.clone();
            change(&mut query);
            query
        };
        let region = |left| Some(Region { left, top: 0.0, width: 0.5, height: 0.5 });
        let alike = |change: &dyn Fn(&mut Alike)| {
            let mut alike = Alike { pictures: vec![vec![1]], like: vec!["a".to_owned()], ..Alike::default() };
            change(&mut alike);
            Query::new(Target::Alike(alike))
        };
        let queries = [
            alike(&|_| ()),
            alike(&|a| a.text = Some(String::new())),
            alike(&|a| a.text = Some("b".to_owned())),
            alike(&|a| a.pictures.clear()),
            alike(&|a| a.pictures.push(vec![1])),
            alike(&|a| a.unlike_pictures.push(vec![1])),
            alike(&|a| a.like.push("b".to_owned())),
            alike(&|a| a.unlike.push("b".to_owned())),
            alike(&|a| a.region = region(0.0)),
            alike(&|a| a.region = region(0.25)),
            plain.clone(),
            with(&|q| q.target = Target::Text("向量 ".to_owned())),
            with(&|q| q.target = Target::Like("向量".to_owned())),
            with(&|q| q.target = Target::Picture("向量".into())),
            with(&|q| q.target = Target::Vector(vec![0.0, 1.0])),
            with(&|q| q.target = Target::Vector(vec![-0.0, 1.0])),
            with(&|q| q.top_k = 4),
            with(&|q| q.filter = Some("price < 10".parse().unwrap())),
            with(&|q| q.filter = Some("price <= 10".parse().unwrap())),
            with(&|q| q.effort = Some(4)),
            with(&|q| q.mode = Some(Mode::Dense)),
            with(&|q| q.mode = Some(Mode::Hybrid)),
            with(&|q| q.per = Per::Document),
            with(&|q| q.fusion = Some(Fusion::Rrf { k: 60 })),
            with(&|q| q.fusion = Some(Fusion::Weighted { dense: 0.5 })),
            with(&|q| q.fusion = Some(Fusion::Share { words: 0.5 })),
            with(&|q| q.sentences = Some(0.0)),
            with(&|q| q.sentences = Some(0.5)),
            with(&|q| q.rerank = Some(false)),
            with(&|q| q.rerank = Some(true)),
        ];
        let configured = configured(&EngineConfig::default());
        let mut keys: HashSet<Key> =
            queries.iter().map(|query| Key::of(&[0; 32], &configured, "search", query)).collect();
        keys.insert(Key::of(&[1; 32], &configured, "search", &plain));
        keys.insert(Key::of(&[0; 32], &configured, "text-search", &plain));
        let other = EngineConfig { search_candidates: 7, ..EngineConfig::default() };
        keys.insert(Key::of(&[0; 32], &super::configured(&other), "search", &plain));
        assert_eq!(keys.len(), queries.len() + 3);
    }

    #[test]
    fn the_same_filter_spelt_otherwise_is_the_same_key() {
        let key = |filter: &str| {
            let query =
                Query { filter: Some(filter.parse().unwrap()), ..Query::new(Target::Like("a".into())) };
            Key::of(&[0; 32], &[0; 32], "search", &query)
        };
        assert_eq!(key("price < 10 and page=1"), key("price<10 AND page = 1"));
        assert_ne!(key("price < 10 and page=1"), key("price < 10 or page=1"));
    }
}
