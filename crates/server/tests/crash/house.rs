//! A data folder under test: its collections, the writers of each, and the lives that end with a kill.
use crate::Phase;
use crate::client::Client;
use crate::compare;
use crate::process::{Process, Span};
use crate::record::{DIM, Random, Write, Writer};
use crate::requests::{Request, send, write_on};
use bilin_engine::{Engine, EngineConfig, Metric, NewCollection};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::ops::{Add, RangeInclusive};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// So small that segments fill up all the time.
const ROWS_PER_SEGMENT: usize = 64;
/// Documents that are put once, so that there is something to index.
const RESIDENTS: u64 = 1_000;
/// Writers of a collection, and ids of each.
const WRITERS: usize = 2;
const IDS: u64 = 30;
/// The collection that is merged into others, and the writer of what came from it.
const SOURCE: &str = "source";
const MERGED: &str = "merged";
/// What [`Writer::put_all`] puts before a merge.
const MERGED_IDS: u64 = 24;
/// Backups of a collection that are kept.
const BACKUPS_KEPT: usize = 3;
/// Of the collections of texts.
const TEXT_MODEL: &str = "e5-small-zh-en";
/// Longest life of a server that answers writes.
const LIFE_MS: u64 = 120;

/// A collection, and what must be in it.
pub struct Expected {
    pub name: String,
    pub is_text: bool,
    pub is_exact: bool,
    pub writers: Vec<Writer>,
    /// Which states of its writers each of its backups may hold, by the name of its folder.
    pub backups: BTreeMap<String, Held>,
    /// What it holds since a restore, or may hold since one that was killed.
    pub restored: Option<Restored>,
    /// The states in which its writers were when the last life began.
    began: Vec<u64>,
}

/// For each writer, the numbers of its states between which a backup was made.
pub type Held = Vec<RangeInclusive<u64>>;

/// A restore that was begun.
pub struct Restored {
    pub held: Held,
    /// Killed: what was there before may be there still.
    pub was_killed: bool,
}

impl Expected {
    fn new(name: &str, is_text: bool, is_exact: bool) -> Expected {
        let mut writers = vec![Writer::quiet(MERGED, MERGED_IDS)];
        if name != SOURCE {
            writers.extend((0..WRITERS).map(|number| Writer::new(&format!("w{number}"), IDS)));
        }
        let name = name.to_owned();
        Expected {
            name,
            is_text,
            is_exact,
            writers,
            backups: BTreeMap::new(),
            restored: None,
            began: Vec::new(),
        }
    }

    fn writer(&mut self, name: &str) -> &mut Writer {
        self.writers.iter_mut().find(|writer| writer.name == name).unwrap()
    }

    fn states(&self) -> Vec<u64> {
        self.writers.iter().map(Writer::state).collect()
    }

    /// Of backups that are new since the life began: what they may hold. Of those that are gone: nothing.
    fn note_backups(&mut self, folder: &Path) {
        let there = names(folder);
        self.backups.retain(|name, _| there.contains(name));
        let held: Held = self.began.iter().zip(self.states()).map(|(began, now)| *began..=now).collect();
        for name in there.into_iter().filter(|name| !name.starts_with('.')) {
            self.backups.entry(name).or_insert_with(|| held.clone());
        }
        for (at, writer) in self.writers.iter_mut().enumerate() {
            let oldest = self.backups.values().map(|held| *held[at].start()).min();
            writer.forget_before(oldest.unwrap_or_else(|| writer.state()));
        }
    }
}

/// What happened, summed up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub acknowledged: u64,
    pub unanswered: u64,
    pub unanswered_there: u64,
    pub compared: u64,
    /// Files and folders that the killed process was in the middle of making.
    pub half_made: u64,
}

impl Add for Figures {
    type Output = Figures;

    fn add(self, other: Figures) -> Figures {
        Figures {
            acknowledged: self.acknowledged + other.acknowledged,
            unanswered: self.unanswered + other.unanswered,
            unanswered_there: self.unanswered_there + other.unanswered_there,
            compared: self.compared + other.compared,
            half_made: self.half_made + other.half_made,
        }
    }
}

/// A data folder under test.
pub struct House {
    folder: tempfile::TempDir,
    pub collections: Vec<Expected>,
    pub figures: Figures,
    pub killed: BTreeMap<Phase, u64>,
    /// What kills left half made, and nobody has cleared away yet.
    half_made: BTreeSet<String>,
    opening: Span,
    /// By what takes so long, and of which collection.
    spans: BTreeMap<(Phase, String), Span>,
}

impl House {
    fn new(collections: Vec<Expected>) -> House {
        House {
            folder: tempfile::tempdir().unwrap(),
            collections,
            figures: Figures::default(),
            killed: BTreeMap::new(),
            half_made: BTreeSet::new(),
            opening: Span::guess(50),
            spans: BTreeMap::new(),
        }
    }

    /// Collections of bare vectors: searched exactly, with a graph, and with lists.
    pub fn of_vectors() -> House {
        let house = House::new(vec![
            Expected::new("plain", false, true),
            Expected::new("graph", false, false),
            Expected::new("lists", false, false),
            Expected::new(SOURCE, false, true),
        ]);
        let engine = house.engine();
        for (name, index) in [("plain", "Flat"), ("graph", "HNSW8"), ("lists", "IVF8,Flat"), (SOURCE, "Flat")]
        {
            let (metric, index) = (Some(Metric::L2), Some(index.parse().unwrap()));
            let new = NewCollection { dim: Some(DIM), metric, index, ..NewCollection::default() };
            engine.create(name, &new).unwrap();
        }
        drop(engine);
        house.with_residents()
    }

    /// Collections of texts, whose vectors the built-in model makes.
    pub fn of_texts() -> House {
        let house = House::new(vec![Expected::new("texts", true, true), Expected::new(SOURCE, true, true)]);
        let engine = house.engine();
        for expected in &house.collections {
            engine.create(&expected.name, &NewCollection::default()).unwrap();
        }
        drop(engine);
        house
    }

    fn with_residents(mut self) -> House {
        let mut server = Process::serve(self.data(), false);
        let mut client = Client::connect(server.address().unwrap()).unwrap();
        for expected in self.collections.iter_mut().filter(|expected| !expected.is_exact) {
            let mut residents = Writer::quiet("resident", RESIDENTS);
            residents.unanswered = Some(residents.put_all());
            send(&mut client, &expected.name, &mut residents, false).unwrap();
            expected.writers.push(residents);
        }
        drop(server);
        self.compare(&mut Random(0), true);
        self
    }

    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    pub fn engine(&self) -> Engine {
        let config = EngineConfig {
            threads: 1,
            rows_per_segment: Some(ROWS_PER_SEGMENT),
            ..EngineConfig::new(self.data())
        };
        Engine::open(config).unwrap()
    }

    /// One life, or two, of which the last ends with a kill in this phase unless it was faster.
    pub fn live(&mut self, phase: Phase, random: &mut Random) {
        for expected in &mut self.collections {
            expected.began = expected.states();
        }
        let has_texts = self.collections.iter().any(|expected| expected.is_text);
        let phase = if phase == Phase::Reencode && !has_texts { Phase::Compaction } else { phase };
        let killed = match phase {
            Phase::Write => self.serve(None, random),
            Phase::Recovery => self.recover(random),
            Phase::Restore => self.restore(random),
            phase => {
                let during = self.request(phase, random);
                self.serve(Some(&during), random)
            }
        };
        if killed {
            *self.killed.entry(phase).or_default() += 1;
        }
        let left = half_made(self.folder.path());
        self.figures.half_made += left.difference(&self.half_made).count() as u64;
        self.half_made = left;
    }

    /// Compares everything; `inside`: by the engine in this process, else over HTTP.
    pub fn compare(&mut self, random: &mut Random, inside: bool) {
        match inside {
            true => compare::inside(self, random),
            false => compare::over_http(self, random),
        }
        let backups = self.folder.path().join("backups");
        for expected in &mut self.collections {
            expected.note_backups(&backups.join(&expected.name));
        }
    }

    /// A request that takes as long as a phase does.
    fn request(&self, phase: Phase, random: &mut Random) -> Request {
        // Asked to maintain, a collection without an index has only its space to give back.
        let fits = |expected: &&Expected| match phase {
            Phase::Build => !expected.is_exact,
            Phase::Compaction => expected.is_exact,
            Phase::Merge => expected.name != SOURCE,
            Phase::Reencode => expected.is_text,
            _ => true,
        };
        let fitting: Vec<_> = self.collections.iter().filter(fits).collect();
        let of = match fitting.len() as u64 {
            0 => &self.collections[random.below(self.collections.len() as u64) as usize],
            count => fitting[random.below(count) as usize],
        };
        let name = &of.name;
        match phase {
            Phase::Backup => Request {
                phase,
                path: "/v1/backups".to_owned(),
                body: json!({"collection": name, "keep": BACKUPS_KEPT}),
                of: name.clone(),
                is_merge: false,
            },
            Phase::Merge => Request {
                phase,
                path: format!("/v1/collections/{name}/merge"),
                body: json!({"sources": [SOURCE], "on_conflict": "replace"}),
                of: name.clone(),
                is_merge: true,
            },
            Phase::Reencode if of.is_text => Request {
                phase,
                path: format!("/v1/collections/{name}/reencode"),
                body: json!({"model": TEXT_MODEL, "force": true}),
                of: name.clone(),
                is_merge: false,
            },
            _ => Request {
                phase,
                path: format!("/v1/collections/{name}/maintain"),
                body: json!({"force": true}),
                of: name.clone(),
                is_merge: false,
            },
        }
    }

    fn named(&mut self, name: &str) -> &mut Expected {
        self.collections.iter_mut().find(|expected| expected.name == name).unwrap()
    }

    /// Before a merge its source changes, so that half a merge would be seen; what the target gets is written down.
    fn prepare_merge(&mut self, address: SocketAddr, target: &str) {
        let source = self.named(SOURCE);
        let is_text = source.is_text;
        let writer = source.writer(MERGED);
        writer.unanswered = Some(writer.put_all());
        send(&mut Client::connect(address).unwrap(), SOURCE, writer, is_text).unwrap();
        let documents = writer.documents.clone();
        let target = self.named(target);
        target.writer(MERGED).unanswered = Some(Write::Merge(documents));
    }

    /// Clients write to a server until it is killed. With a request: within its time; whether it was.
    fn serve(&mut self, during: Option<&Request>, random: &mut Random) -> bool {
        let started = Instant::now();
        let mut server = Process::serve(self.folder.path(), random.below(2) == 0);
        let address = server.address().expect("a server that starts");
        self.opening.learn(started);
        let target = during.filter(|request| request.is_merge).map(|request| request.of.as_str());
        if let Some(target) = target {
            self.prepare_merge(address, target);
        }
        let life = Duration::from_micros(random.below(LIFE_MS * 1_000));
        let spans = &mut self.spans;
        let (acknowledged, killed, answered) = thread::scope(|scope| {
            let mut threads = Vec::new();
            for expected in &mut self.collections {
                for writer in expected.writers.iter_mut().filter(|writer| writer.is_client) {
                    let (name, is_text, seed) = (expected.name.clone(), expected.is_text, random.next());
                    threads
                        .push(scope.spawn(move || write_on(address, &name, writer, is_text, Random(seed))));
                }
            }
            thread::sleep(life);
            let (killed, asked) = match during {
                None => (true, None),
                Some(request) => {
                    let key = (request.phase, request.of.clone());
                    let span = spans.entry(key).or_insert_with(|| Span::guess(20));
                    let asked = scope.spawn(move || request.send(address));
                    let begun = Instant::now();
                    span.sleep_part(random, || asked.is_finished());
                    let was_faster = asked.is_finished();
                    match was_faster {
                        true => span.learn(begun),
                        false => span.outlasted(begun),
                    }
                    (!was_faster, Some(asked))
                }
            };
            assert!(server.kill(), "the server ended by itself");
            let acknowledged = threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>();
            // An answer may have been on its way when the kill came.
            (acknowledged, killed, asked.is_some_and(|asked| asked.join().unwrap()))
        });
        self.figures.acknowledged += acknowledged;
        if let Some(target) = target.filter(|_| answered) {
            self.named(target).writer(MERGED).answered();
            self.figures.acknowledged += 1;
        }
        if !killed {
            // Killed all the same, while it wrote.
            *self.killed.entry(Phase::Write).or_default() += 1;
        }
        killed
    }

    /// Kills what opens the folder that a kill has left, before it is done opening.
    fn recover(&mut self, random: &mut Random) -> bool {
        self.serve(None, random);
        *self.killed.entry(Phase::Write).or_default() += 1;
        let mut server = Process::serve(self.folder.path(), random.below(2) == 0);
        self.opening.sleep_part(random, || false);
        server.kill();
        // A server that listened had recovered.
        server.address().is_none()
    }

    /// Puts the newest backup back from the command line.
    fn restore(&mut self, random: &mut Random) -> bool {
        let at = random.below(self.collections.len() as u64) as usize;
        if self.collections[at].backups.is_empty() {
            let made = Process::start(self.folder.path(), &["backup", &self.collections[at].name]).finish();
            assert_eq!(made.0, Some(0), "a backup ends well");
            let backups = self.folder.path().join("backups").join(&self.collections[at].name);
            self.collections[at].note_backups(&backups);
        }
        let expected = &mut self.collections[at];
        let (_, held) = expected.backups.last_key_value().unwrap();
        let held = held.clone();
        let collections = self.folder.path().join("collections");
        let mut process = Process::start(self.folder.path(), &["restore", &expected.name]);
        let has_begun = process.wait_until(|| names(&collections).iter().any(|name| name.starts_with('.')));
        let begun = Instant::now();
        let key = (Phase::Restore, expected.name.clone());
        let span = self.spans.entry(key).or_insert_with(|| Span::guess(20));
        span.sleep_part(random, || false);
        let was_killed = has_begun && process.is_running();
        if was_killed {
            process.kill();
            span.outlasted(begun);
        } else {
            assert_eq!(process.finish().0, Some(0), "a restore ends well");
            span.learn(begun);
        }
        expected.restored = Some(Restored { held, was_killed });
        was_killed
    }
}

/// Indexes, backups and copies under the names that they have until they are whole.
fn half_made(data: &Path) -> BTreeSet<String> {
    let below = |folder: &'static str| {
        names(&data.join(folder)).into_iter().map(move |name| format!("{folder}/{name}"))
    };
    let collections = below("collections").map(|name| format!("{name}/index"));
    let places = below("backups").chain(collections).chain(["collections".to_owned()]);
    let made = places.flat_map(|place| {
        let names = names(&data.join(&place)).into_iter();
        names
            .filter(|name| name.starts_with('.') || name.ends_with(".tmp"))
            .map(move |name| format!("{place}/{name}"))
    });
    made.collect()
}

/// Names in a folder, which need not be there.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
}
