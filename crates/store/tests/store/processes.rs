//! Second processes: the lock of the data folder, and writers that are killed.
//!
//! The test binary starts itself with [`CHILD`] set to a folder; `child` is then not a test but that process.
use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use bilin_index::{IndexSpec, Metric};
use bilin_store::{Batch, DataDir, StoreError};

use crate::sample::{Random, document, item, settings};

const CHILD: &str = "BILIN_STORE_TEST_CHILD";
const KILLS: u64 = 20;
const IDS: usize = 12;
const DIM: usize = 3;

fn start_child(folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "processes::child", "--nocapture"])
        .env(CHILD, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads lines of the child that start with `word`.
fn lines(child: &mut Child, word: &'static str) -> impl Iterator<Item = String> + use<> {
    let output = BufReader::new(child.stdout.take().unwrap());
    output
        .lines()
        .map_while(Result::ok)
        .filter_map(move |line| line.split_once(word).map(|(_, rest)| rest.trim().to_owned()))
}

/// The second process: opens the folder and replaces documents until it is killed, saying when a batch is durable. Every
/// batch writes one version of several documents, whose items all carry that version.
#[test]
fn child() {
    let Some(folder) = env::var_os(CHILD) else {
        // Run as a test: there is no folder to work on, and the real work is checked by the tests below.
        return;
    };
    let data = DataDir::open(Path::new(&folder)).unwrap();
    let collection = data.open_collection("notes").unwrap();
    let mut version = collection.snapshot().seq() + 1;
    let mut random = Random(version);
    println!("\nopened");
    loop {
        let upsert = (0..1 + random.below(4))
            .map(|_| {
                let items = (0..1 + random.below(3))
                    .map(|_| item(vec![version as f32; DIM], &version.to_string()))
                    .collect();
                document(&random.below(IDS).to_string(), items)
            })
            .collect::<Vec<_>>();
        let ids: Vec<String> = upsert.iter().map(|document| document.id.clone()).collect();
        // Said before, so that a batch that became durable unsaid can be told from one that appeared from nowhere.
        println!("\ntrying {version} {}", ids.join(","));
        let applied = collection.apply(Batch { upsert, ..Batch::default() }).unwrap();
        assert_eq!(applied.seq, version);
        println!("\ndone {version}");
        std::io::stdout().flush().unwrap();
        version += 1;
    }
}

#[test]
fn a_second_process_is_told_who_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    DataDir::open(folder.path())
        .unwrap()
        .create("notes", &settings(DIM, Metric::L2, IndexSpec::FLAT))
        .unwrap();
    let mut child = start_child(folder.path());
    // Kept, for without a reader of what it says the child would end, and give up the folder.
    let mut said = lines(&mut child, "opened");
    said.next().unwrap();
    let error = DataDir::open(folder.path()).err().unwrap();
    let StoreError::Locked { path, holder } = &error else { panic!("{error}") };
    assert_eq!(path, &folder.path().canonicalize().unwrap());
    assert!(holder.starts_with(&format!("process {} started at 20", child.id())), "{holder}");
    assert!(error.to_string().contains("stop that process"), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    DataDir::open(folder.path()).unwrap();
}

#[test]
fn a_folder_is_locked_within_one_process_too() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    assert!(matches!(DataDir::open(folder.path()), Err(StoreError::Locked { .. })));
    let collection = data.create("notes", &settings(DIM, Metric::L2, IndexSpec::FLAT)).unwrap();
    drop(data);
    assert!(
        matches!(DataDir::open(folder.path()), Err(StoreError::Locked { .. })),
        "a collection is still open"
    );
    drop(collection);
    DataDir::open(folder.path()).unwrap();
}

#[test]
fn a_killed_writer_loses_nothing_acknowledged_and_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(DIM, Metric::L2, IndexSpec::FLAT);
    DataDir::open(folder.path()).unwrap().create_with_segments("notes", &settings, 8).unwrap();
    let seed = 20;
    println!("seed {seed}");
    let mut random = Random(seed);
    // Version of each document by id, and what the last batch tried.
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        let mut child = start_child(folder.path());
        let output = lines(&mut child, "");
        let reader = thread::spawn(move || output.collect::<Vec<_>>());
        thread::sleep(Duration::from_millis(30 + random.below(170) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        let output = reader.join().unwrap();
        let mut trying: Option<(u64, Vec<String>)> = None;
        for line in &output {
            if let Some(rest) = line.strip_prefix("trying ")
                && let Some((version, ids)) = rest.split_once(' ')
            {
                trying = Some((version.parse().unwrap(), ids.split(',').map(str::to_owned).collect()));
            } else if line.starts_with("done ") {
                let (version, ids) = trying.take().unwrap();
                assert_eq!(*line, format!("done {version}"));
                acknowledged += 1;
                expected.extend(ids.into_iter().map(|id| (id, version)));
            }
        }
        let data = DataDir::open(folder.path()).unwrap();
        let collection = data.open_collection("notes").unwrap();
        collection.verify(true).unwrap();
        let snapshot = collection.snapshot();
        if let Some((version, ids)) = trying
            && snapshot.seq() == version
        {
            expected.extend(ids.into_iter().map(|id| (id, version)));
        }
        assert_eq!(snapshot.seq(), expected.values().copied().max().unwrap_or(0), "kill {kill}");
        assert_eq!(snapshot.documents(), expected.len());
        for (id, version) in &expected {
            let items = snapshot.document(id).unwrap();
            assert!(!items.is_empty(), "kill {kill}: document {id} is gone");
            for item in items {
                assert_eq!(item.text, Some(version.to_string()), "kill {kill}: document {id}");
                assert_eq!(snapshot.vector(item.slot), [*version as f32; DIM]);
            }
        }
    }
    assert!(acknowledged > KILLS, "only {acknowledged} commits in {KILLS} lives");
    println!("{acknowledged} acknowledged commits over {KILLS} kills");
}
