//! What clients wrote and what was acknowledged, and what a document of a given version looks like.
//!
//! Each writer owns ids that nobody else writes, so its last request, unanswered when the kill came, can be judged alone:
//! the documents are those of the record, or those of the record with that whole request.
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

pub const DIM: usize = 8;

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The vector of a version: small whole numbers, so that distances are exact in whatever order they are summed.
pub fn vector(id: &str, version: u64) -> Vec<f32> {
    let seed = id.bytes().fold(version, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut random = Random(seed);
    let mut vector: Vec<f32> = (0..DIM).map(|_| random.below(201) as f32 - 100.0).collect();
    vector[0] = (version % 256) as f32;
    vector[1] = (version / 256 % 256) as f32;
    vector[2] = (version / 65_536) as f32;
    vector
}

pub fn metadata(id: &str, version: u64) -> Map<String, Value> {
    let (writer, _) = id.rsplit_once('-').unwrap();
    let fields = json!({"version": version, "named": id, "writer": writer});
    let Value::Object(fields) = fields else { unreachable!("an object") };
    fields
}

pub fn text(id: &str, version: u64) -> String {
    format!("文档 {id} 的第 {version} 版")
}

/// The document as the HTTP API takes it.
pub fn document(id: &str, version: u64, is_text: bool) -> Value {
    let metadata = metadata(id, version);
    match is_text {
        true => json!({"id": id, "text": text(id, version), "metadata": metadata}),
        false => json!({"id": id, "vector": vector(id, version), "metadata": metadata}),
    }
}

/// Versions by id; an id that is missing is no document.
pub type Documents = BTreeMap<String, u64>;

/// One request.
#[derive(Clone, Debug)]
pub enum Write {
    /// Documents put with a version, new ones or in the place of others.
    Put(Vec<(String, u64)>),
    Delete(String),
    /// All of the writer's below a version, by a filter.
    DeleteBelow(u64),
    /// What another collection holds, put by merging it.
    Merge(Documents),
}

impl Write {
    pub fn onto(&self, documents: &mut Documents) {
        match self {
            Write::Put(new) => documents.extend(new.iter().cloned()),
            Write::Delete(id) => {
                documents.remove(id);
            }
            Write::DeleteBelow(bound) => documents.retain(|_, version| *version >= *bound),
            Write::Merge(source) => documents.extend(source.clone()),
        }
    }
}

/// One writer's side of the story.
#[derive(Clone, Debug)]
pub struct Writer {
    /// Starts the ids that are its own.
    pub name: String,
    /// A client that writes all the time; else it writes only when the house says so.
    pub is_client: bool,
    pub ids: u64,
    pub documents: Documents,
    pub next_version: u64,
    /// Sent and not answered.
    pub unanswered: Option<Write>,
    /// What its documents were, by the number of the state; the last is what they are. Old ones that no backup can hold
    /// are forgotten.
    history: BTreeMap<u64, Documents>,
}

impl Writer {
    pub fn new(name: &str, ids: u64) -> Writer {
        let history = BTreeMap::from([(0, Documents::new())]);
        let (name, documents) = (name.to_owned(), Documents::new());
        Writer { name, is_client: true, ids, documents, next_version: 1, unanswered: None, history }
    }

    /// One that writes only when the house says so.
    pub fn quiet(name: &str, ids: u64) -> Writer {
        Writer { is_client: false, ..Writer::new(name, ids) }
    }

    /// Number of the newest state.
    pub fn state(&self) -> u64 {
        self.history.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Whether `found` is one of its states of these numbers.
    pub fn was(&self, found: &Documents, states: &RangeInclusive<u64>) -> bool {
        self.history.range(states.clone()).any(|(_, state)| state == found)
    }

    /// Goes on from `documents`, which it held before: a backup is back.
    pub fn go_on_from(&mut self, documents: &Documents) {
        self.documents.clone_from(documents);
        self.remember();
    }

    pub fn forget_before(&mut self, number: u64) {
        self.history = self.history.split_off(&number);
    }

    fn remember(&mut self) {
        self.history.insert(self.state() + 1, self.documents.clone());
    }

    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    /// Puts all of its ids with a new version.
    pub fn put_all(&mut self) -> Write {
        let version = self.next_version;
        self.next_version += 1;
        Write::Put((0..self.ids).map(|number| (self.id(number), version)).collect())
    }

    /// Its next request.
    pub fn next(&mut self, random: &mut Random) -> Write {
        if random.below(4) == 0 && !self.documents.is_empty() {
            let at = random.below(self.documents.len() as u64) as usize;
            let (id, version) = self.documents.iter().nth(at).unwrap();
            return match random.below(8) {
                // Those older than a quarter of the ids can be, so that some stay.
                0 => Write::DeleteBelow(version.saturating_sub(self.ids / 4)),
                _ => Write::Delete(id.clone()),
            };
        }
        let version = self.next_version;
        self.next_version += 1;
        let count = if random.below(2) == 0 { 1 } else { 1 + random.below(8) };
        let first = random.below(self.ids);
        let ids = (first..first + count).map(|number| (self.id(number % self.ids), version));
        // Fewer ids than documents would name one twice.
        Write::Put(ids.take(self.ids as usize).collect())
    }

    pub fn answered(&mut self) {
        if let Some(write) = self.unanswered.take() {
            write.onto(&mut self.documents);
            self.remember();
        }
    }

    /// Takes what is there, which must be the record, or the record with the unanswered request. Returns whether that
    /// request is there, if there was one.
    pub fn settle(&mut self, found: &Documents, place: &str) -> Option<bool> {
        let Some(write) = self.unanswered.take() else {
            assert_eq!(found, &self.documents, "{place}: writer {} with nothing unanswered", self.name);
            return None;
        };
        let mut with = self.documents.clone();
        write.onto(&mut with);
        let is_there = *found == with;
        assert!(
            is_there || *found == self.documents,
            "{place}: writer {} found neither without nor with {write:?}\nwithout: {:?}\nfound: {found:?}",
            self.name,
            self.documents
        );
        if is_there {
            self.documents = with;
            self.remember();
        }
        Some(is_there)
    }
}
