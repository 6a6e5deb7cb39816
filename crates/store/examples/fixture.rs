//! Writes a small collection of the current format, for `tests/fixtures/v<n>/`: `-- FOLDER` (must not exist).
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use bilin_index::{IndexSpec, Metric};
use bilin_store::{Batch, DataDir, FileStamp, Kind, ModelRef, NewDocument, NewItem, Settings};
use serde_json::{Value, json};

fn item(vector: [f32; 3], text: &str, metadata: Value) -> NewItem {
    let metadata = metadata.as_object().cloned().unwrap_or_default();
    NewItem {
        vector: vector.to_vec(),
        text: Some(text.to_owned()),
        metadata,
        thumbnail: None,
        sentences: None,
    }
}

fn document(id: &str, file: Option<&str>, items: Vec<NewItem>) -> NewDocument {
    NewDocument { id: id.to_owned(), file: file.map(str::to_owned), items }
}

fn main() -> Result<(), Box<dyn Error>> {
    let target = PathBuf::from(std::env::args().nth(1).ok_or("expected a folder to write to")?);
    let folder = tempfile::tempdir()?;
    let data = DataDir::open(folder.path())?;
    let settings = Settings {
        kind: Kind::Text,
        model: Some(ModelRef {
            id: "fixture".into(),
            revision: "1".into(),
            space: "fixture-space".into(),
            reading: bilin_store::Reading::default(),
        }),
        dim: 3,
        metric: Metric::Cosine,
        index: IndexSpec::AUTO,
        target_recall: 0.95,
    };
    let collection = data.create("fixture", &settings)?;
    let file = Some("/docs/course.md");
    let first = item([1.0, 0.0, 0.0], "向量检索的第一课", json!({"chapter": "第一章", "page": 1}));
    let gone = item([0.0, 0.0, 1.0], "gone", json!({}));
    let files =
        vec![FileStamp { path: "/docs/course.md".into(), bytes: 42, modified_ns: -1, hash: "00ff".into() }];
    let upsert = vec![document("course.md#1", file, vec![first]), document("gone", None, vec![gone])];
    collection.apply(Batch { upsert, files, ..Batch::default() })?;
    let revised = vec![
        item(
            [1.0, 0.2, 0.0],
            "向量检索的第一课(修订)",
            json!({"chapter": "第一章", "page": 2, "score": 0.1}),
        ),
        item([0.6, 0.0, 0.8], "a second passage", json!({"chapter": "第一章", "page": "3"})),
    ];
    let upsert = vec![document("course.md#1", file, revised)];
    collection.apply(Batch { delete: vec!["gone".into()], upsert, ..Batch::default() })?;
    let mut picture = item([0.0, 1.0, 0.0], "", json!({"category": "鸟类"}));
    picture.thumbnail = Some(vec![0xff, 0xd8, 0xff, 0xd9]);
    collection.apply(Batch { upsert: vec![document("picture", None, vec![picture])], ..Batch::default() })?;
    drop(collection);
    let source = folder.path().join("collections/fixture");
    fs::create_dir_all(target.join("vectors"))?;
    for name in ["catalog.sqlite", "vectors/000000.rows"] {
        fs::copy(source.join(name), target.join(name))?;
    }
    // The free room behind the committed rows is cut off at open anyway.
    fs::File::options().write(true).open(target.join("vectors/000000.rows"))?.set_len(4096 + 5 * 12)?;
    if fs::exists(source.join("catalog.sqlite-wal"))? {
        return Err("the catalog was not closed cleanly".into());
    }
    Ok(())
}
