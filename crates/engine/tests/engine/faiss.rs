//! FAISS files in and out: the tutorial's folders, ids, refusals that change nothing.

use crate::support::{Place, text_query, texts};
use bilin_engine::faiss::{ExportIds, ExportOptions, INDEX_FILE, ImportOptions, Imported, METADATA_FILE};
use bilin_engine::{Clash, Error, ErrorKind, Kind, Metric, Query, Target};
use bilin_index::faiss as format;
use bilin_index::{BuildOptions, RowChunks, build};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const TEXT_MODEL_DIM: usize = 384;

/// An index of FAISS over rows, with ids of the user's own where given.
fn index_file(
    place: &Place,
    rows: Vec<f32>,
    dim: usize,
    metric: Metric,
    spec: &str,
    ids: Option<&[i64]>,
) -> PathBuf {
    let rows = RowChunks::from_vec(rows, dim).expect("rows");
    let spec = spec.parse().expect("a spec");
    let index = build(&spec, metric, &rows, &BuildOptions::default()).expect("an index");
    let mut tree = index.to_faiss().expect("a tree");
    if let Some(ids) = ids {
        tree = format::rename(tree, ids).expect("ids");
    }
    let mut bytes = Vec::new();
    format::write(&tree, &mut bytes).expect("bytes");
    place.write(INDEX_FILE, bytes)
}

/// Metadata beside it.
fn metadata_file(place: &Place, list: &Value) -> Option<PathBuf> {
    Some(place.write(METADATA_FILE, list.to_string()))
}

fn import(place: &Place, path: &Path, options: &ImportOptions) -> Result<Imported, Error> {
    place.engine.import_faiss("moved", path, options, &())
}

#[test]
fn the_tutorials_folder_becomes_a_collection_that_answers() {
    let sentences = [
        "FAISS的架构主要包含向量存储模块、距离计算模块和索引优化模块。",
        "FAISS的安装方式十分灵活,可通过pip安装。",
        "小猫喜欢在阳光下睡觉。",
    ];
    let shapes =
        [
            json!(sentences.map(|text| json!({"source": "技术博客", "text": text}))),
            json!(sentences.map(
                |text| json!({"text": text, "metadata": {"source": "技术博客", "total_sentences": "3"}})
            )),
        ];
    for shape in shapes {
        let place = Place::new();
        let texts_owned = sentences.map(str::to_owned);
        let (rows, dim) =
            place.engine.encode_texts(None, &texts_owned, bilin_engine::Prompt::Document).expect("vectors");
        let path = index_file(&place, rows, dim, Metric::InnerProduct, "Flat", None);
        let model = Some(place.engine.config().default_text_model.clone());
        let options =
            ImportOptions { metadata: metadata_file(&place, &shape), model, ..ImportOptions::default() };
        let imported = import(&place, &path, &options).expect("imported");
        assert_eq!((imported.items, imported.added, imported.created), (3, 3, true));
        assert_eq!((imported.metric, imported.source.as_str()), (Metric::Cosine, "Flat"));
        let answer = place.engine.search("moved", &text_query("FAISS由哪些模块组成?", 3)).expect("an answer");
        assert_eq!(texts(&answer)[0], sentences[0], "{answer:?}");
        assert_eq!(answer.results[0].id, "0");
        assert_eq!(answer.results[0].metadata["source"], "技术博客");
        let again = import(&place, &path, &options).expect("imported again");
        assert_eq!((again.added, again.updated, again.created), (0, 3, false));
    }
}

fn four_rows() -> Vec<f32> {
    vec![1.0, 0.0, 0.0, 2.0, 3.0, 3.0, 9.0, 9.0]
}

#[test]
fn an_export_comes_back_as_it_was() {
    let list = json!([
        {"id": "a", "text": "one", "metadata": {"page": 1}},
        {"id": "a", "text": "two", "metadata": {"page": 2}},
        {"id": "b", "metadata": {}},
        {"id": "c/d.md", "text": "四", "metadata": {"tags": ["x"], "deep": {"y": null}}},
    ]);
    for spec in ["Flat", "IVF2,Flat", "HNSW4"] {
        for metric in [Metric::L2, Metric::Cosine] {
            let place = Place::new();
            let mut rows = four_rows();
            if metric == Metric::Cosine {
                rows.chunks_mut(2).for_each(|row| assert!(bilin_index::normalise(row)));
            }
            let path = index_file(&place, rows, 2, metric, "Flat", None);
            let options =
                ImportOptions { metadata: metadata_file(&place, &list), ..ImportOptions::default() };
            let imported = import(&place, &path, &options).expect("imported");
            assert_eq!((imported.added, imported.items, imported.metric), (3, 4, metric));
            let folder = place.root.path().join("out");
            let export = ExportOptions { index: spec.parse().expect("a spec"), ..ExportOptions::default() };
            let exported = place.engine.export_faiss("moved", &folder, &export, &()).expect("exported");
            assert_eq!((exported.items, exported.index.to_string().as_str()), (4, spec));
            let written: Value =
                serde_json::from_slice(&std::fs::read(&exported.metadata_path).expect("a list"))
                    .expect("JSON");
            assert_eq!(written, list);
            let refused =
                place.engine.export_faiss("moved", &folder, &export, &()).expect_err("there already");
            assert_eq!(refused.kind, ErrorKind::Conflict);

            let options =
                ImportOptions { metadata: Some(exported.metadata_path), ..ImportOptions::default() };
            let back = place.engine.import_faiss("back", &exported.index_path, &options, &()).expect("back");
            assert_eq!((back.added, back.items, back.metric), (3, 4, metric), "{spec}");
            for id in ["a", "b", "c/d.md"] {
                let of = |name| place.engine.document(name, id).expect("read").expect("a document").items;
                let (before, after) = (of("moved"), of("back"));
                assert_eq!(before.len(), after.len());
                for (before, after) in before.iter().zip(&after) {
                    assert_eq!((&before.text, &before.metadata), (&after.text, &after.metadata));
                    let (a, b) =
                        (before.vector.as_ref().expect("a vector"), after.vector.as_ref().expect("a vector"));
                    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-6), "{a:?} {b:?}");
                }
            }
            let names: Vec<_> = std::fs::read_dir(&folder)
                .expect("a folder")
                .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
                .collect();
            assert_eq!(names.len(), 2, "nothing unfinished is left: {names:?}");
        }
    }
}

#[test]
fn ids_of_the_users_own_are_document_ids() {
    for spec in ["Flat", "IVF2,Flat", "HNSW4"] {
        let place = Place::new();
        let ids = [700, 7, 70, 9_007_199_254_740_993];
        let path = index_file(&place, four_rows(), 2, Metric::L2, spec, Some(&ids));
        import(&place, &path, &ImportOptions::default()).expect("imported");
        let query = Query { top_k: 1, ..Query::new(Target::Vector(vec![0.0, 2.0])) };
        let answer = place.engine.search("moved", &query).expect("an answer");
        assert_eq!(answer.results[0].id, "7", "{spec}");
        let folder = place.root.path().join("out");
        let export = ExportOptions {
            ids: ExportIds::Documents,
            index: spec.parse().expect("a spec"),
            ..ExportOptions::default()
        };
        let exported = place.engine.export_faiss("moved", &folder, &export, &()).expect("exported");
        let bytes = std::fs::read(&exported.index_path).expect("a file");
        let opened = format::open(&format::read(&bytes).expect("a tree"), 1 << 20).expect("an index");
        let mut held = opened.index.ids().to_vec();
        held.sort_unstable();
        assert_eq!(held, [7, 70, 700, 9_007_199_254_740_993], "{spec}");
        let options = ImportOptions { metadata: Some(exported.metadata_path), ..ImportOptions::default() };
        let back = place.engine.import_faiss("back", &exported.index_path, &options, &()).expect("back");
        assert_eq!(back.items, 4);
        let item = &place.engine.document("back", "70").expect("read").expect("a document").items[0];
        assert_eq!(item.vector.as_deref(), Some(&[3.0, 3.0][..]), "{spec}");
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let place = Place::new();
    let path = index_file(&place, four_rows(), 2, Metric::L2, "Flat", None);
    let refused = |path: &Path, options: ImportOptions, words: &[&str]| {
        let before = place.engine.collections().len();
        let error = import(&place, path, &options).expect_err(words[0]);
        for word in words {
            assert!(error.message.contains(word), "{word:?} is not in: {}", error.message);
        }
        assert_eq!(place.engine.collections().len(), before, "{words:?}");
    };
    let options =
        |list: Value| ImportOptions { metadata: metadata_file(&place, &list), ..ImportOptions::default() };
    refused(&path, options(json!([{"text": "only one"}])), &["4 vectors", "1 entries"]);
    refused(&path, options(json!({"text": "no list"})), &[METADATA_FILE, "a list"]);
    refused(&path, options(json!([1, 2, 3, 4])), &[METADATA_FILE, "entry 0"]);
    let model = Some(place.engine.config().default_text_model.clone());
    refused(
        &path,
        ImportOptions { model, ..ImportOptions::default() },
        &[&TEXT_MODEL_DIM.to_string(), "holds 2"],
    );
    let gone = place.files().join("gone.index");
    refused(&gone, ImportOptions::default(), &["gone.index"]);
    let zero = index_file(&place, vec![0.0; 4], 2, Metric::L2, "Flat", None);
    let cosine = ImportOptions { metric: Some(Metric::Cosine), ..ImportOptions::default() };
    refused(&zero, cosine.clone(), &["id 0", "zeros"]);
    let mut bytes = std::fs::read(&path).expect("a file");
    let last = bytes.len() - 2;
    bytes[last..].copy_from_slice(&[0x80, 0x7f]);
    let infinite = place.write("infinite.index", &bytes);
    refused(&infinite, ImportOptions::default(), &["infinite.index", "offset", "codes", "a finite number"]);
    let cut = place.write("cut.index", &bytes[..30]);
    refused(&cut, ImportOptions::default(), &["cut.index", "offset 16, dummy"]);

    let path = index_file(&place, four_rows(), 2, Metric::L2, "Flat", None);
    import(&place, &path, &ImportOptions::default()).expect("imported");
    let seq = place.engine.collection("moved").expect("there").status.seq;
    refused(&path, cosine, &["by l2", "by cosine"]);
    let wide = index_file(&place, vec![1.0; 6], 3, Metric::L2, "Flat", None);
    refused(&wide, ImportOptions::default(), &["dimension 2", "3"]);
    let settings = place.engine.collection("moved").expect("there");
    assert_eq!((settings.status.seq, settings.settings.kind), (seq, Kind::Vector));
}

#[test]
fn a_second_index_joins_the_first_by_the_rule_that_was_chosen() {
    let place = Place::new();
    let first = index_file(&place, four_rows(), 2, Metric::L2, "Flat", Some(&[1, 2, 3, 4]));
    import(&place, &first, &ImportOptions::default()).expect("imported");
    let moved: Vec<f32> = four_rows().iter().map(|value| value + 100.0).collect();
    let second = index_file(&place, moved, 2, Metric::L2, "Flat", Some(&[3, 4, 5, 6]));
    let by = |clash| ImportOptions { on_conflict: Some(clash), ..ImportOptions::default() };
    let count = || place.engine.collection("moved").expect("there").status.items;

    let error = import(&place, &second, &by(Clash::Fail)).expect_err("3 and 4 are in both");
    assert_eq!((error.kind, count()), (ErrorKind::Conflict, 4));
    assert!(error.message.contains("2 documents") && error.message.contains("\"3\", \"4\""), "{error}");
    let kept = import(&place, &second, &by(Clash::Keep)).expect("imported");
    assert_eq!((kept.added, kept.updated, kept.kept, kept.items, count()), (2, 0, 2, 2, 6));
    let replaced = import(&place, &second, &by(Clash::Replace)).expect("imported");
    assert_eq!((replaced.added, replaced.updated, replaced.kept, count()), (0, 4, 0, 6));
}
