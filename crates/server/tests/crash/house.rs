//! A data folder under test: its collections, the writers of each, and the lives that end with a kill.
use crate::Phase;
use crate::client::Client;
use crate::compare;
use crate::process::{Process, Span};
use crate::record::{DIM, Documents, Random, Write, Writer, document};
use bilin_engine::{Engine, EngineConfig, Metric, NewCollection};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::ops::Add;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// So small that segments fill up all the time.
const ROWS_PER_SEGMENT: usize = 64;
/// Documents that are put once, so that there is something to index.
const RESIDENTS: u64 = 1_000;
/// Writers of a collection, and ids of each.
const WRITERS: usize = 2;
const IDS: u64 = 30;
/// Longest life of a server that answers writes.
const LIFE_MS: u64 = 120;

/// Versions by id, by writer: the whole of a collection.
pub type State = BTreeMap<String, Documents>;

/// A collection, and what must be in it.
pub struct Expected {
    pub name: String,
    pub is_text: bool,
    pub is_exact: bool,
    pub writers: Vec<Writer>,
    /// What each of its backups holds, by the name of its folder.
    pub backups: BTreeMap<String, State>,
    /// What it may hold instead of what was written: a restore was killed.
    pub alternative: Option<State>,
}

impl Expected {
    fn new(name: &str, is_text: bool, is_exact: bool) -> Expected {
        let writers = (0..WRITERS).map(|number| Writer::new(&format!("w{number}"), IDS)).collect();
        let name = name.to_owned();
        Expected { name, is_text, is_exact, writers, backups: BTreeMap::new(), alternative: None }
    }

    pub fn state(&self) -> State {
        self.writers.iter().map(|writer| (writer.name.clone(), writer.documents.clone())).collect()
    }
}

/// What happened, summed up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub acknowledged: u64,
    pub unanswered: u64,
    pub unanswered_there: u64,
    pub compared: u64,
}

impl Add for Figures {
    type Output = Figures;

    fn add(self, other: Figures) -> Figures {
        Figures {
            acknowledged: self.acknowledged + other.acknowledged,
            unanswered: self.unanswered + other.unanswered,
            unanswered_there: self.unanswered_there + other.unanswered_there,
            compared: self.compared + other.compared,
        }
    }
}

/// A data folder under test.
pub struct House {
    folder: tempfile::TempDir,
    pub collections: Vec<Expected>,
    pub figures: Figures,
    pub killed: BTreeMap<Phase, u64>,
    opening: Span,
    building: Span,
    backing_up: Span,
    restoring: Span,
}

impl House {
    fn new(collections: Vec<Expected>) -> House {
        House {
            folder: tempfile::tempdir().unwrap(),
            collections,
            figures: Figures::default(),
            killed: BTreeMap::new(),
            opening: Span::guess(50),
            building: Span::guess(50),
            backing_up: Span::guess(30),
            restoring: Span::guess(30),
        }
    }

    /// Collections of bare vectors: searched exactly, with a graph, and with lists.
    pub fn of_vectors() -> House {
        let house = House::new(vec![
            Expected::new("plain", false, true),
            Expected::new("graph", false, false),
            Expected::new("lists", false, false),
        ]);
        let engine = house.engine();
        for (name, index) in [("plain", "Flat"), ("graph", "HNSW8"), ("lists", "IVF8,Flat")] {
            let (metric, index) = (Some(Metric::L2), Some(index.parse().unwrap()));
            let new = NewCollection { dim: Some(DIM), metric, index, ..NewCollection::default() };
            engine.create(name, &new).unwrap();
        }
        drop(engine);
        house.with_residents()
    }

    /// Collections of texts, whose vectors the built-in model makes.
    pub fn of_texts() -> House {
        let house = House::new(vec![Expected::new("texts", true, true)]);
        house.engine().create("texts", &NewCollection::default()).unwrap();
        house
    }

    fn with_residents(mut self) -> House {
        let mut server = Process::serve(self.data());
        let mut client = Client::connect(server.address().unwrap()).unwrap();
        for expected in self.collections.iter_mut().filter(|expected| !expected.is_exact) {
            let mut residents = Writer::new("resident", RESIDENTS);
            let all = (0..RESIDENTS).map(|number| (residents.id(number), 1)).collect();
            residents.unanswered = Some(Write::Put(all));
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

    /// One life, or a few, of which the last ends with a kill in this phase; none where the process was faster.
    pub fn live(&mut self, phase: Phase, random: &mut Random) {
        let killed = match phase {
            Phase::Write => self.write(random),
            Phase::Recovery => self.write(random) && self.recover(random),
            Phase::Build => self.build(random),
            Phase::Backup => self.back_up(random),
            Phase::Restore => self.restore(random),
        };
        if killed {
            *self.killed.entry(phase).or_default() += 1;
        }
    }

    /// Compares everything; `inside`: by the engine in this process, else over HTTP.
    pub fn compare(&mut self, random: &mut Random, inside: bool) {
        match inside {
            true => compare::inside(self, random),
            false => compare::over_http(self, random),
        }
    }

    fn write(&mut self, random: &mut Random) -> bool {
        let started = Instant::now();
        let mut server = Process::serve(self.folder.path());
        let address = server.address().expect("a server that starts");
        self.opening.learn(started);
        let life = Duration::from_micros(random.below(LIFE_MS * 1_000));
        let acknowledged = thread::scope(|scope| {
            let mut threads = Vec::new();
            for expected in &mut self.collections {
                for writer in expected.writers.iter_mut().filter(|writer| writer.name != "resident") {
                    let (name, is_text, seed) = (expected.name.clone(), expected.is_text, random.next());
                    threads
                        .push(scope.spawn(move || write_on(address, &name, writer, is_text, Random(seed))));
                }
            }
            thread::sleep(life);
            assert!(server.kill(), "the server ended by itself");
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
        });
        self.figures.acknowledged += acknowledged;
        true
    }

    /// Kills what opens the folder, once or twice, before it is done opening.
    fn recover(&mut self, random: &mut Random) -> bool {
        *self.killed.entry(Phase::Write).or_default() += 1;
        let mut server = Process::serve(self.folder.path());
        self.opening.sleep_part(random);
        server.kill();
        // A server that listened had recovered.
        server.address().is_none()
    }

    fn build(&mut self, random: &mut Random) -> bool {
        let indexed = self.collections.iter().filter(|expected| !expected.is_exact).count() as u64;
        if indexed == 0 {
            return false;
        }
        let name = &self.collections[1 + random.below(indexed) as usize].name;
        let mut process = Process::start(self.folder.path(), &["collections", name, "--maintain", "--force"]);
        let has_begun = process.said("maintenance");
        let begun = Instant::now();
        self.building.sleep_part(random);
        let killed = has_begun && process.is_running();
        if !killed {
            let (code, _) = process.finish();
            assert_eq!(code, Some(0), "a build ends well");
            self.building.learn(begun);
            return false;
        }
        process.kill()
    }

    fn back_up(&mut self, random: &mut Random) -> bool {
        let at = random.below(self.collections.len() as u64) as usize;
        let name = self.collections[at].name.clone();
        let folder = self.folder.path().join("backups").join(&name);
        let before = names(&folder);
        let mut process = Process::start(self.folder.path(), &["backup", &name, "--keep", "3"]);
        let begins = || names(&folder).iter().any(|name| name.starts_with(".making-"));
        let has_begun = process.wait_until(begins);
        let begun = Instant::now();
        self.backing_up.sleep_part(random);
        let killed = has_begun && process.is_running();
        if killed {
            process.kill();
        } else {
            assert_eq!(process.finish().0, Some(0), "a backup ends well");
            self.backing_up.learn(begun);
        }
        let there = names(&folder);
        let expected = &mut self.collections[at];
        let state = expected.state();
        expected.backups.retain(|name, _| there.contains(name));
        for new in there.iter().filter(|name| !name.starts_with('.') && !before.contains(name)) {
            expected.backups.insert(new.clone(), state.clone());
        }
        assert!(
            killed || expected.backups.values().any(|held| *held == state),
            "a backup that was made is there"
        );
        killed
    }

    fn restore(&mut self, random: &mut Random) -> bool {
        let with_backup: Vec<usize> =
            (0..self.collections.len()).filter(|at| !self.collections[*at].backups.is_empty()).collect();
        if with_backup.is_empty() {
            self.back_up(random);
            return false;
        }
        let expected = &mut self.collections[with_backup[random.below(with_backup.len() as u64) as usize]];
        let (_, state) = expected.backups.last_key_value().unwrap();
        let state = state.clone();
        let collections = self.folder.path().join("collections");
        let mut process = Process::start(self.folder.path(), &["restore", &expected.name]);
        let has_begun = process.wait_until(|| names(&collections).iter().any(|name| name.starts_with('.')));
        let begun = Instant::now();
        self.restoring.sleep_part(random);
        let killed = has_begun && process.is_running();
        if killed {
            process.kill();
            expected.alternative = Some(state);
        } else {
            assert_eq!(process.finish().0, Some(0), "a restore ends well");
            self.restoring.learn(begun);
            for writer in &mut expected.writers {
                writer.documents = state[&writer.name].clone();
            }
        }
        killed
    }
}

/// Names in a folder, which need not be there.
fn names(folder: &PathBuf) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect()
}

/// Writes until the server is gone; returns how many requests were answered.
fn write_on(address: SocketAddr, name: &str, writer: &mut Writer, is_text: bool, mut random: Random) -> u64 {
    let mut acknowledged = 0;
    let Ok(mut client) = Client::connect(address) else { return 0 };
    loop {
        writer.unanswered = Some(writer.next(&mut random));
        if send(&mut client, name, writer, is_text).is_err() {
            return acknowledged;
        }
        acknowledged += 1;
    }
}

/// Sends the writer's unanswered request.
fn send(client: &mut Client, name: &str, writer: &mut Writer, is_text: bool) -> std::io::Result<()> {
    let documents = format!("/v1/collections/{name}/documents");
    let (status, answer) = match writer.unanswered.as_ref().unwrap() {
        Write::Put(new) => {
            let new: Vec<_> = new.iter().map(|(id, version)| document(id, *version, is_text)).collect();
            client.ask("POST", &documents, Some(&json!({"documents": new})))?
        }
        Write::Delete(id) => client.ask("DELETE", &format!("{documents}/{id}"), None)?,
    };
    assert_eq!(status, 200, "{:?}: {answer}", writer.unanswered);
    writer.answered();
    Ok(())
}
