//! Many threads at once: adding and searching neither wait for each other for ever nor see half a commit.

use crate::support::{Place, text_query};
use bilin_engine::{AddOptions, DocumentContent, NewCollection, NewDocument, Query, Target};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn searches_go_on_while_documents_are_added_and_deleted() {
    const COMMITS: usize = 60;
    const DOCUMENTS: usize = 8;
    let place = Place::new();
    let new = NewCollection { dim: Some(4), ..NewCollection::default() };
    place.engine.create("v", &new).expect("made");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let query =
                        Query { top_k: 1_000, ..Query::new(Target::Vector(vec![1.0, 1.0, 0.0, 0.0])) };
                    let (mut searches, mut last_seq) = (0, 0);
                    while !done.load(Ordering::Relaxed) || searches == 0 {
                        let answer = place.engine.search("v", &query).expect("an answer");
                        assert_eq!(answer.results.len() % DOCUMENTS, 0, "half a commit was seen");
                        assert!(answer.seq >= last_seq, "time ran backwards");
                        last_seq = answer.seq;
                        searches += 1;
                    }
                    searches
                })
            })
            .collect();
        for commit in 0..COMMITS {
            let documents = (0..DOCUMENTS).map(|number| NewDocument {
                id: Some(format!("{commit}-{number}")),
                content: Some(DocumentContent::Vector(vec![1.0, commit as f32, number as f32, 0.5])),
                ..NewDocument::default()
            });
            place.engine.add_documents("v", documents.collect()).expect("added");
            if commit % 3 == 2 {
                let ids: Vec<_> = (0..DOCUMENTS).map(|number| format!("{commit}-{number}")).collect();
                place.engine.delete_documents("v", &ids).expect("deleted");
            }
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().expect("no panic") > 0);
        }
    });
    let items = place.engine.collection("v").expect("it").status.items;
    assert_eq!(items, COMMITS / 3 * 2 * DOCUMENTS);
}

#[test]
fn text_searches_finish_while_a_folder_is_added() {
    let place = Place::new();
    for number in 0..40 {
        place.write(
            &format!("{number:02}.txt"),
            "向量检索的第一句话。\n向量检索的第二句话。\n向量检索的第三句话。\n",
        );
    }
    place.engine.create("notes", &NewCollection::default()).expect("made");
    let paths = [place.files()];
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| place.engine.add_paths("notes", &paths, &AddOptions::default(), &()));
        let searching: Vec<_> = (0..6)
            .map(|number| {
                let place = &place;
                scope.spawn(move || {
                    for _ in 0..5 {
                        let query = text_query(&format!("第{number}句话是什么?"), 5);
                        place.engine.search("notes", &query).expect("an answer");
                    }
                })
            })
            .collect();
        for search in searching {
            search.join().expect("no panic");
        }
        let report = adding.join().expect("no panic").expect("added");
        assert_eq!((report.files_added, report.items_added), (40, 120), "{report:?}");
    });
}
