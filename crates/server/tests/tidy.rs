//! House rules that a compiler does not check: who may import whom, how files open, how long they are, where `unsafe`
//! may stand, what must not be left lying about. `CONTRIBUTING.md` says why.

#![allow(clippy::unwrap_used)] // a test that cannot read the tree has failed

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Member -> the members that it may import. The order is bottom up.
const ARROWS: [(&str, &[&str]); 6] = [
    ("index", &[]),
    ("encode", &[]),
    ("ingest", &[]),
    ("store", &["index"]),
    ("engine", &["index", "encode", "ingest", "store"]),
    ("server", &["engine"]),
];
/// Only the server may know these.
const SERVER_ONLY: [&str; 11] = [
    "axum",
    "clap",
    "tokio",
    "hyper",
    "tower",
    "tower-http",
    "utoipa",
    "indicatif",
    "object_store",
    "reqwest",
    "rustls",
];
const MAX_LINES: usize = 800;
const MAX_DEPTH: usize = 3;
/// Names that tell nobody what is inside.
const EMPTY_NAMES: [&str; 6] = ["common", "utils", "util", "types", "helpers", "misc"];
/// Folders and files that may hold `unsafe`: the SIMD kernels, one file a crate that maps memory,
/// one that stands between SQLite and the file system (docs/decisions/0034-checked-catalog-pages.md), and the one that sets up the
/// allocator.
const UNSAFE_ROOMS: [&str; 7] = [
    "crates/index/src/kernels/",
    "crates/encode/src/math/fixed_x86.rs",
    "crates/encode/src/math/integer_x86.rs",
    "crates/encode/src/weights/map.rs",
    "crates/store/src/map.rs",
    "crates/store/src/catalog/pages.rs",
    "crates/server/src/main.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Every file below `folder`, as `/`-separated paths from the root; build outputs and hidden folders left out.
fn files(folder: &str) -> Vec<String> {
    fn walk(at: &Path, found: &mut Vec<PathBuf>) {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with('.')
                || ["target", "node_modules", "bilin-data", "__pycache__"].contains(&name.as_str())
            {
                continue;
            }
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    let root = root();
    found.iter().map(|path| path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/")).collect()
}

fn rust_files() -> Vec<String> {
    let found: Vec<String> = files("crates").into_iter().filter(|path| path.ends_with(".rs")).collect();
    assert!(found.len() > 20, "the walk finds too little: {found:?}");
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All broken rules are shown at once.
fn all_well(broken: &[String]) {
    assert!(broken.is_empty(), "\n  {}", broken.join("\n  "));
}

fn manifest(member: &str) -> toml::Table {
    read(&format!("crates/{member}/Cargo.toml")).parse().unwrap()
}

/// Names of all dependencies of a manifest: normal, dev, build, and those of single targets.
fn dependencies(table: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in table {
        let Some(inner) = value.as_table() else { continue };
        if key.ends_with("dependencies") {
            for (name, wanted) in inner {
                let package = wanted.get("package").and_then(toml::Value::as_str).unwrap_or(name);
                names.push(package.to_owned());
            }
        } else if key == "target" {
            names.extend(inner.values().filter_map(toml::Value::as_table).flat_map(dependencies));
        }
    }
    names
}

#[test]
fn members_import_only_what_their_line_names() {
    let mut broken = Vec::new();
    for (member, may) in ARROWS {
        for name in dependencies(&manifest(member)) {
            let imported = name.strip_prefix("bilin-").or((name == "bilin").then_some("server"));
            if let Some(imported) = imported
                && !may.contains(&imported)
            {
                broken.push(format!("crates/{member} imports {name}; it may import {may:?}"));
            }
            if member != "server" && SERVER_ONLY.contains(&name.as_str()) {
                broken.push(format!("crates/{member} imports {name}, which belongs to the server alone"));
            }
        }
    }
    all_well(&broken);
}

#[test]
fn the_workspace_has_the_members_of_the_plan() {
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members: Vec<&str> = workspace["workspace"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let planned: Vec<String> = ARROWS.iter().map(|(member, _)| format!("crates/{member}")).collect();
    assert_eq!(members, planned);
    let folders: Vec<String> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !ARROWS.iter().any(|(member, _)| member == name))
        .collect();
    assert!(folders.is_empty(), "not in the plan: {folders:?}");
}

#[test]
fn names_say_what_is_inside() {
    let mut broken = Vec::new();
    for path in rust_files() {
        let parts = path.trim_end_matches(".rs").split('/');
        if let Some(name) = parts.into_iter().find(|part| EMPTY_NAMES.contains(part)) {
            broken.push(format!("{path}: {name:?} says nothing"));
        }
        if let Some(inside) = path.split_once("/src/").map(|(_, inside)| inside)
            && inside.matches('/').count() > MAX_DEPTH
        {
            broken.push(format!("{path}: deeper than {MAX_DEPTH} folders under src"));
        }
    }
    all_well(&broken);
}

#[test]
fn files_open_with_their_idea_and_stay_short() {
    let mut broken = Vec::new();
    for path in rust_files() {
        let text = read(&path);
        if !text.starts_with("//! ") {
            broken.push(format!("{path}: does not open with //!"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            broken.push(format!("{path}: {lines} lines, at most {MAX_LINES}"));
        }
    }
    all_well(&broken);
}

/// The code of a line: what stands before a comment, without the insides of plain string literals.
fn code(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => {
                characters.next();
            }
            '"' => in_string = !in_string,
            '/' if !in_string && characters.peek() == Some(&'/') => break,
            _ if in_string => {}
            _ => code.push(character),
        }
    }
    code
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|character: char| !character.is_alphanumeric() && character != '_').any(|part| part == word)
}

#[test]
fn unsafe_stands_only_in_its_rooms() {
    assert!(has_word(&code("let x = unsafe { y };"), "unsafe"));
    assert!(!has_word(&code("#![deny(unsafe_code)] // unsafe"), "unsafe"));
    let mut broken = Vec::new();
    let mut in_store = BTreeMap::new();
    for path in rust_files() {
        let text = read(&path);
        let lines: Vec<usize> = text
            .lines()
            .enumerate()
            .filter(|(_, line)| has_word(&code(line), "unsafe"))
            .map(|(at, _)| at + 1)
            .collect();
        if lines.is_empty() {
            continue;
        }
        if !UNSAFE_ROOMS.iter().any(|room| path.starts_with(room)) {
            broken.push(format!("{path}: unsafe at lines {lines:?}"));
        } else if path.starts_with("crates/store/") {
            in_store.insert(path, lines);
        }
    }
    assert!(in_store.len() <= 2, "more than one file maps memory and one talks to SQLite: {in_store:?}");
    all_well(&broken);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not hold the words.
    let banned: Vec<String> =
        [("TO", "DO"), ("FIX", "ME"), ("todo", "!("), ("unimplemented", "!("), ("#[ig", "nore")]
            .iter()
            .map(|(a, b)| format!("{a}{b}"))
            .collect();
    let endings = [".rs", ".toml", ".js", ".css", ".html", ".py", ".sh"];
    let mut broken = Vec::new();
    for path in files("") {
        if !endings.iter().any(|ending| path.ends_with(ending)) {
            continue;
        }
        for (at, line) in read(&path).lines().enumerate() {
            for word in banned.iter().filter(|word| line.contains(word.as_str())) {
                broken.push(format!("{path}:{}: {word}", at + 1));
            }
        }
    }
    all_well(&broken);
}

#[test]
fn both_readmes_open_with_the_same_two_commands() {
    for path in ["README.md", "README.zh-CN.md"] {
        let text = read(path);
        let opening: Vec<&str> = text.lines().take(12).collect();
        for command in ["cargo run --release -- demo", "./check"] {
            assert!(
                opening.iter().any(|line| line.trim_start().starts_with(command)),
                "{path} does not open with {command:?}: {opening:#?}"
            );
        }
    }
}
