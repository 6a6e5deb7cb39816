//! Walks over real folders.

use super::*;
use std::fs::{create_dir_all, write};

fn folder_with(files: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for file in files {
        let path = root.join(file);
        create_dir_all(path.parent().unwrap()).unwrap();
        write(path, "x").unwrap();
    }
    (folder, root)
}

fn sources(walk: &Walk) -> Vec<&str> {
    walk.found.iter().map(|found| found.source.as_str()).collect()
}

#[test]
fn sorted_by_name_without_the_hidden_and_the_unwanted() {
    let (_folder, root) = folder_with(&[
        "d/b.md",
        "d/a.TXT",
        "d/sub/c.jsonl",
        "d/.git/x.md",
        "d/.hidden.txt",
        "d/~$lecture.pptx",
        "d/p.jpg",
        "d/z.exe",
        "d/Z.csv",
    ]);
    let walk = walk_from(&[root.join("d")], Wanted::Text, Some(&root));
    assert_eq!(sources(&walk), ["d/Z.csv", "d/a.TXT", "d/b.md", "d/sub/c.jsonl"]);
    assert_eq!((walk.passed_over, walk.problems.len()), (2, 0));
    assert_eq!(walk.roots, [root.join("d")]);
    assert_eq!(walk.found[0].format, Format::Csv);
    assert_eq!(walk.found[0].bytes, 1);
}

#[test]
fn a_file_named_twice_comes_once() {
    let (_folder, root) = folder_with(&["d/a.md", "d/b.md"]);
    let arguments = [root.join("d/b.md"), root.join("d"), root.join("d/../d/a.md"), root.join("d")];
    let walk = walk_from(&arguments, Wanted::Text, Some(&root.join("d")));
    assert_eq!(sources(&walk), ["b.md", "a.md"]);
    assert_eq!(walk.roots.len(), 3);
}

#[test]
fn sources_outside_the_working_folder_are_absolute() {
    let (_folder, root) = folder_with(&["d/a.md"]);
    let (_other, elsewhere) = folder_with(&[]);
    let walk = walk_from(&[root.join("d")], Wanted::Text, Some(&elsewhere));
    assert_eq!(sources(&walk), [root.join("d/a.md").to_str().unwrap().replace('\\', "/")]);
}

#[test]
fn what_cannot_be_taken_is_a_problem_and_the_rest_goes_on() {
    let (_folder, root) = folder_with(&["a.md", "p.png", "x.xyz", "noextension"]);
    let arguments = ["missing.md", "x.xyz", "noextension", "p.png", "a.md"].map(|name| root.join(name));
    let walk = walk_from(&arguments, Wanted::Text, Some(&root));
    assert_eq!(sources(&walk), ["a.md"]);
    let reasons: Vec<&str> = walk.problems.iter().map(|problem| problem.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "it does not exist",
            "files of type \".xyz\" cannot be read",
            "a file without an extension cannot be read",
            "it is a picture, and texts are wanted here"
        ]
    );
    assert!(walk.problems.iter().all(|problem| problem.hint.is_some()));
    assert_eq!(walk.problems[0].path, root.join("missing.md"));
}

#[test]
fn pictures_know_the_folder_that_names_their_category() {
    let (_folder, root) = folder_with(&["p/a.jpg", "p/birds/b.PNG", "p/animals/cats/c.webp", "p/t.md"]);
    let arguments = [root.join("p/birds/b.PNG"), root.join("p")];
    let walk = walk_from(&arguments, Wanted::Pictures, Some(&root));
    assert_eq!(sources(&walk), ["p/birds/b.PNG", "p/a.jpg", "p/animals/cats/c.webp"]);
    let categories: Vec<Option<&str>> = walk.found.iter().map(|found| found.category.as_deref()).collect();
    assert_eq!(categories, [Some("birds"), None, Some("cats")]);
    assert_eq!(walk.passed_over, 1);
}

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn link_loops_end_and_links_lead_to_one_file() {
        let (_folder, root) = folder_with(&["d/a.md", "d/sub/b.md"]);
        symlink(root.join("d"), root.join("d/sub/loop")).unwrap();
        symlink("self", root.join("d/self")).unwrap();
        symlink("../a.md", root.join("d/sub/again.md")).unwrap();
        symlink("nowhere.md", root.join("d/dangling.md")).unwrap();
        symlink("nowhere", root.join("d/dangling")).unwrap();
        let walk = walk_from(&[root.join("d")], Wanted::Text, Some(&root));
        assert_eq!(sources(&walk), ["d/a.md", "d/sub/b.md"]);
        let reasons: Vec<&str> = walk.problems.iter().map(|problem| problem.reason.as_str()).collect();
        assert_eq!(reasons, ["it is a link to something that does not exist"]);
    }

    #[test]
    fn names_that_are_no_utf8_stay_apart() {
        let (_folder, root) = folder_with(&["d/a.md"]);
        for name in [b"x\xFF.md".as_slice(), b"x\xFE.md"] {
            write(root.join("d").join(OsStr::from_bytes(name)), "x").unwrap();
        }
        let walk = walk_from(&[root.join("d")], Wanted::Text, Some(&root));
        assert_eq!(sources(&walk), ["d/a.md", "d/x\u{FFFD}FE.md", "d/x\u{FFFD}FF.md"]);
    }

    #[test]
    fn an_unreadable_folder_is_a_problem() {
        let (_folder, root) = folder_with(&["d/closed/b.md", "d/z.md"]);
        let closed = root.join("d/closed");
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
        // The superuser reads everything: then there is nothing to report.
        let readable = std::fs::read_dir(&closed).is_ok();
        let walk = walk_from(&[root.join("d")], Wanted::Text, Some(&root));
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        if readable {
            assert_eq!(sources(&walk), ["d/closed/b.md", "d/z.md"]);
        } else {
            assert_eq!(sources(&walk), ["d/z.md"]);
            assert_eq!(walk.problems[0].path, closed);
            assert_eq!(walk.problems[0].reason, "you may not read it");
        }
    }

    #[test]
    fn a_folder_that_turns_out_a_file_and_special_files() {
        let (_folder, root) = folder_with(&["d/a.md"]);
        let socket = root.join("d/socket.md");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let walk = walk_from(&[root.join("d"), socket.clone()], Wanted::Text, Some(&root));
        assert_eq!(sources(&walk), ["d/a.md"]);
        assert_eq!(walk.problems[0].path, socket);
    }
}
