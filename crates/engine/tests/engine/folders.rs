//! Folders of text: added, changed, removed, partly bad, stopped half-way.

use crate::support::{FAISS_LINES, Place, text_query, texts};
use bilin_engine::{AddEvent, AddOptions, AddProgress, ErrorKind, Kind};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;

const GARDEN: &str = "# Gardening\n\n## Tomatoes\n\nTomatoes want sun, warmth and regular water. Tie the plants to a stake.\n\n## Roses\n\nRoses are pruned in early spring, before the buds open.\n";

#[test]
fn the_tutorial_question_finds_the_architecture_sentence() {
    let place = Place::new();
    place.write("text_corpus.txt", FAISS_LINES);
    let report = place.add("faiss").expect("added");
    assert_eq!((report.files_added, report.items_added), (1, 6), "{report:?}");
    assert!(report.problems.is_empty(), "{report:?}");
    let answer = place.ask("faiss", "FAISS的架构包含哪些模块?", 3);
    let first = &answer.results[0];
    assert!(texts(&answer)[0].contains("架构主要包含"), "{:?}", texts(&answer));
    assert!(first.similarity > 0.8 && first.similarity <= 1.0, "{first:?}");
    assert!(first.score >= first.similarity, "words that are found only add: {first:?}");
    // Between unit vectors the squared distance and the cosine say the same.
    assert!((first.l2_distance - (2.0 - 2.0 * first.similarity)).abs() < 1e-4, "{first:?}");
    assert!(first.metadata.contains_key("source"), "{first:?}");
    assert_eq!(answer.results.iter().map(|found| found.rank).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_folder_is_searched_in_two_languages_and_survives_reopening() {
    let place = Place::new();
    place.write("faiss.txt", FAISS_LINES);
    place.write("home/garden.md", GARDEN);
    place.write(
        "home/tea.md",
        "# 茶\n\n## 绿茶\n\n绿茶宜用八十度左右的水冲泡,时间不要太长。\n\n## 红茶\n\n红茶可以用沸水冲泡。\n",
    );
    place.write("picture.png", b"passed over");
    let report = place.add("notes").expect("added");
    assert_eq!((report.files_added, report.passed_over), (3, 1), "{report:?}");
    let place = place.reopen();
    let answer = place.ask("notes", "泡绿茶的水温是多少?", 1);
    assert!(texts(&answer)[0].contains("八十度"), "{:?}", texts(&answer));
    assert_eq!(answer.results[0].metadata["section"], "绿茶");
    let answer = place.ask("notes", "when should I prune my roses?", 1);
    assert!(texts(&answer)[0].contains("pruned"), "{:?}", texts(&answer));
    assert!(answer.results[0].id.ends_with("home/garden.md"), "{}", answer.results[0].id);
    let again = place.add("notes").expect("added again");
    assert_eq!((again.files_unchanged, again.files_added, again.items_added), (3, 0, 0), "{again:?}");
    assert_eq!(place.engine.health().status, "healthy");
}

#[test]
fn a_changed_file_is_replaced_and_a_removed_one_goes_with_sync() {
    let place = Place::new();
    place.write("a.txt", "猫喜欢晒太阳。\n狗喜欢散步。\n");
    let gone = place.write("b.txt", "鱼在水里游。\n");
    place.add("pets").expect("added");
    place.write("a.txt", "兔子爱吃胡萝卜。\n");
    let report = place.add("pets").expect("changed");
    assert_eq!((report.files_changed, report.files_unchanged, report.items_added), (1, 1, 1), "{report:?}");
    assert_eq!(texts(&place.ask("pets", "动物", 10)).len(), 2);
    std::fs::remove_file(gone).expect("removed");
    let report = place.add("pets").expect("added");
    assert_eq!(report.files_removed, 0, "without sync nothing is removed");
    let options = AddOptions { sync: true, ..AddOptions::default() };
    let report = place.add_with("pets", &options).expect("synced");
    assert_eq!((report.files_removed, report.files_unchanged), (1, 1), "{report:?}");
    assert_eq!(texts(&place.ask("pets", "动物", 10)), ["兔子爱吃胡萝卜。"]);
}

#[test]
fn sync_is_bounded_to_its_roots_and_needs_them_to_exist() {
    let place = Place::new();
    place.write("one/a.txt", "第一个文件。\n");
    place.write("two/b.txt", "第二个文件。\n");
    place.add("docs").expect("added");
    std::fs::remove_file(place.files().join("two/b.txt")).expect("removed");
    let options = AddOptions { sync: true, ..AddOptions::default() };
    let one = place.engine.add_paths("docs", &[place.files().join("one")], &options, &()).expect("synced");
    assert_eq!(one.files_removed, 0, "{one:?}");
    let seq = one.seq;
    std::fs::rename(place.files(), place.root.path().join("elsewhere")).expect("renamed");
    let error = place.add_with("docs", &options).expect_err("the root is gone");
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert!(error.message.contains("files"), "{error}");
    let info = place.engine.collection("docs").expect("the collection");
    assert_eq!((info.status.seq, info.status.items), (seq, 2));
}

#[test]
fn a_bad_file_is_reported_and_the_good_ones_are_in() {
    let place = Place::new();
    place.write("good.txt", "好文件里的一句话。\n");
    place.write("bad.txt", b"text\0with\0zeros");
    place.write(
        "records.jsonl",
        "{\"id\": \"r1\", \"text\": \"一条记录\"}\nnot json\n{\"id\": \"r1\", \"text\": \"重复的\"}\n",
    );
    let report = place.add("mixed").expect("added");
    assert_eq!((report.files_added, report.items_added), (2, 2), "{report:?}");
    let bad: Vec<_> = report.problems.iter().filter_map(|problem| problem.path.file_name()).collect();
    assert!(bad.iter().any(|name| *name == "bad.txt"), "{bad:?}");
    assert_eq!(bad.iter().filter(|name| **name == "records.jsonl").count(), 2, "{:?}", report.problems);
    assert!(place.engine.document("mixed", "r1").expect("looked up").is_some());
}

#[test]
fn only_bad_files_leave_no_collection_behind() {
    let place = Place::new();
    place.write("bad.txt", b"text\0with\0zeros");
    let report = place.add("nothing").expect("a report");
    assert_eq!((report.files_added, report.problems.len()), (0, 1), "{report:?}");
    assert!(place.engine.collections().is_empty());
}

#[test]
fn an_id_that_belongs_to_another_file_is_not_taken_over() {
    let place = Place::new();
    place.write("one.jsonl", "{\"id\": \"7\", \"text\": \"七个小矮人\"}\n");
    place.write("two.jsonl", "{\"id\": \"7\", \"text\": \"七月的天气很热\"}\n");
    let report = place.add("records").expect("added");
    assert_eq!(report.items_added, 2, "{report:?}");
    assert_eq!(texts(&place.ask("records", "天气", 10)).len(), 2);
    let first = place.engine.document("records", "7").expect("looked up").expect("it exists");
    assert_eq!(first.items[0].text.as_deref(), Some("七个小矮人"));
}

#[test]
fn options_set_fields_on_every_item() {
    let place = Place::new();
    place.write("a.txt", "第一句话。\n第二句话。\n");
    let metadata = [("course".to_owned(), "检索".into())].into_iter().collect();
    place.add_with("docs", &AddOptions { metadata, ..AddOptions::default() }).expect("added");
    let answer = place.ask("docs", "话", 10);
    assert_eq!(answer.results.len(), 2);
    assert!(answer.results.iter().all(|found| found.metadata["course"] == "检索"));
}

#[test]
fn text_for_a_picture_collection_is_refused_with_both_named() {
    let place = Place::new();
    place.write("a.txt", "一句话。\n");
    let new = bilin_engine::NewCollection { kind: Some(Kind::Image), ..Default::default() };
    place.engine.create("photos", &new).expect("made");
    let error = place.add("photos").expect_err("text is no picture");
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    assert!(error.message.contains("pictures") && error.message.contains("text"), "{error}");
    let options = AddOptions { model: Some("no-such-model".into()), ..AddOptions::default() };
    let error = place.add_with("other", &options).expect_err("unknown model");
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.message.contains("no-such-model") && error.message.contains("e5-small-zh-en"), "{error}");
    assert_eq!(place.engine.collections().len(), 1);
}

/// Remembers events, and stops after a number of commits.
#[derive(Default)]
struct Watch {
    events: RefCell<Vec<AddEvent>>,
    commits: Cell<usize>,
    stop_after: Option<usize>,
}
impl AddProgress for Watch {
    fn event(&self, event: &AddEvent) {
        if matches!(event, AddEvent::Committed { .. }) {
            self.commits.set(self.commits.get() + 1);
        }
        self.events.borrow_mut().push(event.clone());
    }
    fn cancelled(&self) -> bool {
        self.stop_after.is_some_and(|commits| self.commits.get() >= commits)
    }
}

#[test]
fn progress_names_every_file_once_and_what_was_stopped_can_be_taken_up() {
    let place = Place::new();
    for number in 0..200 {
        place.write(&format!("{number:03}.txt"), format!("第{number}个文件里写着数字{number}。\n"));
    }
    let watch = Watch { stop_after: Some(1), ..Watch::default() };
    let paths: [PathBuf; 1] = [place.files()];
    let error =
        place.engine.add_paths("many", &paths, &AddOptions::default(), &watch).expect_err("it was stopped");
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    let place = place.reopen();
    let kept = place.engine.collection("many").expect("the collection").status.items;
    assert!(kept > 0 && kept < 200, "{kept}");
    let watch = Watch::default();
    let report = place.engine.add_paths("many", &paths, &AddOptions::default(), &watch).expect("the rest");
    assert_eq!((report.files_unchanged, report.files_added), (kept, 200 - kept), "{report:?}");
    let events = watch.events.into_inner();
    assert!(matches!(events[0], AddEvent::Found { files: 200, .. }), "{:?}", events[0]);
    let files = events.iter().filter(|event| matches!(event, AddEvent::File { .. })).count();
    assert_eq!(files, 200);
    let answer = place.engine.search("many", &text_query("数字57", 300)).expect("an answer");
    assert_eq!(answer.results.len(), 200, "top_k over the count returns what there is");
}

#[test]
fn a_large_file_of_records_takes_several_commits() {
    let place = Place::new();
    let mut lines = String::new();
    for number in 0..560 {
        lines += &format!("{{\"id\": \"{number}\", \"text\": \"number {number}\", \"number\": {number}}}\n");
    }
    place.write("records.jsonl", &lines);
    let watch = Watch::default();
    let report =
        place.engine.add_paths("records", &[place.files()], &AddOptions::default(), &watch).expect("added");
    assert_eq!((report.files_added, report.items_added), (1, 560), "{report:?}");
    assert!(watch.commits.get() >= 2, "{}", watch.commits.get());
    place.write("records.jsonl", lines.replace("number 7\"", "the seventh\""));
    let watch = Watch::default();
    let report =
        place.engine.add_paths("records", &[place.files()], &AddOptions::default(), &watch).expect("changed");
    assert_eq!(
        (report.files_changed, watch.commits.get()),
        (1, 1),
        "a changed file is replaced in one commit"
    );
    assert_eq!(place.engine.collection("records").expect("it").status.items, 560);
}
