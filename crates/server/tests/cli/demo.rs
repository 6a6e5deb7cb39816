//! `bilin demo`: works in an empty folder, works again, and leaves what is not its own alone.

use crate::workspace::{SENTENCES, Workspace};

#[test]
fn the_demo_answers_and_may_be_run_again() {
    let workspace = Workspace::new();
    let lines = workspace.run(&["demo", "--no-serve", "--json"]).exits(0).json();
    let added: Vec<_> = lines.iter().filter(|line| line["type"] == "added").collect();
    assert_eq!(added.len(), 2);
    assert!(added.iter().all(|line| line["files_added"].as_u64().unwrap() > 0), "{added:?}");
    assert!(added[1]["items_added"].as_u64().unwrap() >= 40, "{added:?}");

    let answers: Vec<_> = lines.iter().filter(|line| line["type"] == "answer").collect();
    assert_eq!(answers.len(), 5);
    assert!(answers.iter().all(|answer| answer["count"] == 3), "{answers:?}");
    let best = |answer: usize| &answers[answer]["results"][0];
    let architecture = best(0)["text"].as_str().unwrap();
    assert!(architecture.contains("架构"), "{architecture}");
    let same = best(3);
    assert!(same["id"].as_str().unwrap().ends_with("clownfish.jpg"), "{same}");
    assert!(same["similarity"].as_f64().unwrap() > 0.999, "{same}");
    let altered = best(4);
    assert!(altered["id"].as_str().unwrap().ends_with("eiffel_tower.jpg"), "{altered}");
    assert_eq!(altered["metadata"]["category"], "landmarks");

    let headline = lines.iter().find(|line| line["type"] == "headline").expect("an evaluation");
    assert_eq!(headline["questions"], 40, "{headline}");
    for measure in ["hit_at_1", "hit_at_3", "mrr"] {
        assert!(headline["figures"][measure]["value"].as_f64().unwrap() > 0.4, "{headline}");
    }

    let before = workspace.on_disk();
    let run = workspace.run(&["demo", "--no-serve"]).exits(0);
    workspace.is_as_before(&before);
    let text = run.text();
    assert!(text.contains("unchanged; 0 items added"), "{text}");
    assert_eq!(text.matches("\n? ").count(), 5, "{text}");
    assert!(text.contains("40 questions with known answers: hit@1 0."), "{text}");
    assert!(text.contains("bilin serve"), "{text}");
}

#[test]
fn other_collections_stay_as_they_are() {
    let workspace = Workspace::with_notes();
    workspace.run(&["add", "course", "corpus.txt"]).exits(0);
    let before = workspace.on_disk();
    let run = workspace.run(&["demo", "--no-serve"]).exits(1);
    assert!(run.stderr.contains("error: collection \"course\""), "{}", run.stderr);
    run.hints("--data");
    workspace.is_as_before(&before);

    let other = Workspace::new();
    other.write("corpus.txt", SENTENCES);
    other.run(&["add", "notes", "corpus.txt"]).exits(0);
    other.run(&["demo", "--no-serve", "--quiet"]).exits(0);
    let names: Vec<_> = other
        .run(&["collections", "--json"])
        .exits(0)
        .json()
        .iter()
        .map(|line| line["name"].clone())
        .collect();
    assert_eq!(names, ["course", "notes", "pictures"]);
}
