//! Merging collections: everything comes along or nothing does, by each rule for what both have, also when killed.
use std::env;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bilin_index::{IndexSpec, Metric};
use bilin_store::{
    Batch, Clash, Collection, CompactOptions, DataDir, FileStamp, Kind, ModelRef, NewDocument, Settings,
    StoreError,
};

use crate::lives::{CHILD, live};
use crate::sample::{Model, Random, compare, document, item, reopen, settings};

const DIM: usize = 4;
const KILLS: usize = 20;
/// Documents of each version in the kill test.
const DOCUMENTS: usize = 300;

fn note(id: &str, text: &str, file: Option<&str>, random: &mut Random) -> NewDocument {
    let mut first = item(random.vector(DIM), text);
    first.thumbnail = Some(random.next().to_le_bytes().to_vec());
    first.sentences = Some(random.next().to_le_bytes().to_vec());
    let mut document = document(id, vec![first, item(random.vector(DIM), "second")]);
    document.file = file.map(str::to_owned);
    document
}

fn stamp(path: &str, hash: &str) -> FileStamp {
    FileStamp { path: path.to_owned(), bytes: 7, modified_ns: 8, hash: hash.to_owned() }
}

fn add(collection: &Collection, model: &mut Model, upsert: Vec<NewDocument>, files: Vec<FileStamp>) {
    model.extend(upsert.iter().map(|document| (document.id.clone(), document.clone())));
    collection.apply(Batch { upsert, files, ..Batch::default() }).unwrap();
}

/// Two collections with the document "both", a file "/both" (by other ids) and a file of their own each.
fn pair(data: &DataDir) -> (Arc<Collection>, Model, Arc<Collection>, Model) {
    let settings = settings(DIM, Metric::Cosine, IndexSpec::FLAT);
    let mut random = Random(7);
    let mut made = Vec::new();
    for name in ["target", "source"] {
        let collection = data.create_with_segments(name, &settings, 16).unwrap();
        let mut model = Model::new();
        let own = format!("/{name}");
        let mut upsert: Vec<NewDocument> = (0..40)
            .map(|at| note(&format!("{name} {at}"), &format!("text {at}"), None, &mut random))
            .collect();
        upsert.push(note("both", name, None, &mut random));
        upsert.push(note(&format!("{name} of both"), name, Some("/both"), &mut random));
        upsert.push(note(&format!("{name} of its own"), name, Some(&own), &mut random));
        let files = vec![stamp("/both", name), stamp(&own, name)];
        add(&collection, &mut model, upsert, files);
        // Deleted ones stay behind.
        let gone = format!("{name} 3");
        model.remove(&gone);
        collection.apply(Batch { delete: vec![gone], ..Batch::default() }).unwrap();
        made.push((collection, model));
    }
    let (source, theirs) = made.pop().unwrap();
    let (target, ours) = made.pop().unwrap();
    (target, ours, source, theirs)
}

fn check(data: DataDir, folder: &Path, collections: [(Arc<Collection>, &Model); 2]) {
    let mut random = Random(8);
    for (collection, model) in &collections {
        compare(&collection.snapshot(), model, Metric::Cosine, &mut random);
        collection.verify(true).unwrap();
    }
    let names = collections.each_ref().map(|(collection, _)| collection.name().to_owned());
    let models = collections.map(|(_, model)| model);
    drop(data);
    let data = reopen(folder);
    for (name, model) in names.iter().zip(models) {
        let collection = data.open_collection(name).unwrap();
        compare(&collection.snapshot(), model, Metric::Cosine, &mut random);
    }
}

#[test]
fn what_both_have_fails_and_names_some_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let (target, ours, source, theirs) = pair(&data);
    let before = target.snapshot().seq();
    let error = target.merge_from(&source, Clash::Fail).unwrap_err();
    let StoreError::Clash { count: 2, examples } = &error else { panic!("{error}") };
    assert_eq!(examples, &["both", "source of both"]);
    assert_eq!(target.snapshot().seq(), before);
    check(data, folder.path(), [(target, &ours), (source, &theirs)]);
}

#[test]
fn what_both_have_stays_as_the_target_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let (target, mut ours, source, theirs) = pair(&data);
    let merged = target.merge_from(&source, Clash::Keep).unwrap();
    assert_eq!((merged.applied.added, merged.applied.updated, merged.kept, merged.items), (40, 0, 2, 80));
    for (id, document) in &theirs {
        if id != "source of both" {
            ours.entry(id.clone()).or_insert_with(|| document.clone());
        }
    }
    assert_eq!(target.file_stamp("/both").unwrap(), Some(stamp("/both", "target")));
    assert_eq!(target.file_stamp("/source").unwrap(), Some(stamp("/source", "source")));
    // Once more there is nothing left to take.
    let again = target.merge_from(&source, Clash::Keep).unwrap();
    assert_eq!((again.applied.added, again.kept, again.applied.seq), (0, 42, merged.applied.seq));
    check(data, folder.path(), [(target, &ours), (source, &theirs)]);
}

#[test]
fn what_both_have_becomes_as_the_source_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let (target, mut ours, source, theirs) = pair(&data);
    let before = (target.snapshot(), ours.clone());
    let merged = target.merge_from(&source, Clash::Replace).unwrap();
    let applied = merged.applied;
    assert_eq!((applied.added, applied.updated, applied.deleted, merged.kept), (41, 1, 1, 0));
    ours.remove("target of both");
    ours.extend(theirs.clone());
    assert_eq!(target.file_stamp("/both").unwrap(), Some(stamp("/both", "source")));
    compare(&before.0, &before.1, Metric::Cosine, &mut Random(9));
    drop(before);
    check(data, folder.path(), [(target, &ours), (source, &theirs)]);
}

#[test]
fn other_spaces_and_the_collection_itself_are_refused_naming_both() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let base = settings(DIM, Metric::L2, IndexSpec::FLAT);
    let target = data.create("target", &base).unwrap();
    let model = |revision: &str| {
        Some(ModelRef {
            id: "m".into(),
            revision: revision.into(),
            space: format!("m@{revision}"),
            reading: bilin_store::Reading::default(),
        })
    };
    let others = [
        (Settings { dim: 5, ..base.clone() }, "dimension 4 in \"target\", 5 in \"other-0\""),
        (
            Settings { metric: Metric::Cosine, ..base.clone() },
            "metric l2 in \"target\", cosine in \"other-1\"",
        ),
        (Settings { kind: Kind::Vector, ..base.clone() }, "kind text in \"target\", vector in \"other-2\""),
        (Settings { model: model("1"), ..base.clone() }, "model none in \"target\", m (revision 1"),
    ];
    for (at, (settings, words)) in others.into_iter().enumerate() {
        let other = data.create(&format!("other-{at}"), &settings).unwrap();
        let error = target.merge_from(&other, Clash::Replace).unwrap_err();
        assert!(matches!(error, StoreError::Spaces { .. }) && error.to_string().contains(words), "{error}");
    }
    let error = target.merge_from(&target, Clash::Keep).unwrap_err().to_string();
    assert!(error.contains("expected another collection"), "{error}");
    // Another index or target recall is no other space.
    let tuned = Settings { index: IndexSpec::hnsw(8), target_recall: 0.5, ..base };
    let tuned = data.create("tuned", &tuned).unwrap();
    assert_eq!(target.merge_from(&tuned, Clash::Fail).unwrap().applied.added, 0);
}

/// The second process: writes a version of every document into "part" by one commit, merges it into "all", gives back the
/// space of the version before, and so on until it is killed.
#[test]
fn merger() {
    let Some(folder) = env::var_os(CHILD) else {
        // Run as a test: there is no folder to work on, and the real work is checked by the test below.
        return;
    };
    let data = DataDir::open(Path::new(&folder)).unwrap();
    let (part, all) = (data.open_collection("part").unwrap(), data.open_collection("all").unwrap());
    let first = part.snapshot().document("0").unwrap().first().map_or(0, |item| version(&item.text));
    let compact = |collection: &Collection| {
        collection.compact(&CompactOptions { force: true, progress: None }).unwrap();
    };
    for version in first + 1.. {
        let upsert = (0..DOCUMENTS)
            .map(|id| {
                let items = vec![item(vec![version as f32; DIM], &version.to_string())];
                document(&id.to_string(), items)
            })
            .collect();
        part.apply(Batch { upsert, ..Batch::default() }).unwrap();
        println!("\nwrote {version}");
        let merged = all.merge_from(&part, Clash::Replace).unwrap();
        assert_eq!(merged.applied.added + merged.applied.updated, DOCUMENTS);
        println!("\nmerged {version}");
        std::io::stdout().flush().unwrap();
        compact(&part);
        compact(&all);
    }
}

fn version(text: &Option<String>) -> u64 {
    text.as_ref().unwrap().parse().unwrap()
}

/// The one version that all documents of a collection have; 0 when it has none.
fn only_version(collection: &Collection) -> u64 {
    collection.verify(true).unwrap();
    let snapshot = collection.snapshot();
    if snapshot.documents() == 0 {
        return 0;
    }
    assert_eq!((snapshot.documents(), snapshot.count()), (DOCUMENTS, DOCUMENTS));
    let versions: Vec<u64> = (0..DOCUMENTS)
        .map(|id| {
            let items = snapshot.document(&id.to_string()).unwrap();
            let found = version(&items[0].text);
            assert_eq!(snapshot.vector(items[0].slot), [found as f32; DIM]);
            found
        })
        .collect();
    assert!(versions.iter().all(|version| *version == versions[0]), "half a merge: {versions:?}");
    versions[0]
}

#[test]
fn a_killed_merge_or_compaction_leaves_all_or_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    for name in ["part", "all"] {
        data.create_with_segments(name, &settings(DIM, Metric::L2, IndexSpec::FLAT), 64).unwrap();
    }
    drop(data);
    let seed = 21;
    println!("seed {seed}");
    let (mut random, mut acknowledged) = (Random(seed), 0);
    for kill in 0..KILLS {
        let lines = live("merging::merger", folder.path(), &mut random);
        let (mut wrote, mut merged) = (0, 0);
        for line in lines {
            let number = |rest: &str| rest.trim().parse::<u64>().unwrap();
            if let Some(rest) = line.strip_prefix("wrote ") {
                wrote = number(rest);
            } else if let Some(rest) = line.strip_prefix("merged ") {
                merged = number(rest);
                acknowledged += 1;
            }
        }
        let data = reopen(folder.path());
        let part = only_version(&data.open_collection("part").unwrap());
        let all = only_version(&data.open_collection("all").unwrap());
        assert!(part >= wrote && all >= merged && all <= part, "kill {kill}: {part} {wrote}, {all} {merged}");
    }
    assert!(acknowledged > 5, "only {acknowledged} merges in {KILLS} lives");
    println!("{acknowledged} merges over {KILLS} kills");
}
