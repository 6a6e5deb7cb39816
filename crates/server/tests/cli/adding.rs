//! `bilin add`: what it takes in, what it reports, and that running it again is safe.

use crate::workspace::{SENTENCES, Workspace, picture, png_claiming};

const CHAPTER: &str = "# Storage\n\n## Backups\n\nA backup is a complete copy with a manifest. Restore it with one command.\n\n\
    ## Locks\n\nOne process owns the data folder.\n";

#[test]
fn a_folder_is_added_once_and_then_only_changes() {
    let workspace = Workspace::new();
    workspace.write("docs/a.md", CHAPTER);
    workspace.write("docs/b.txt", SENTENCES);
    let first = workspace.run(&["add", "notes", "docs", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!(first["type"], "added");
    assert_eq!(first["collection"], "notes");
    assert_eq!(first["files_added"], 2);
    assert!(first["items_added"].as_u64().unwrap() >= 5, "{first}");

    let before = workspace.on_disk();
    let second = workspace.run(&["add", "notes", "docs", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!((&second["files_added"], &second["files_unchanged"]), (&0.into(), &2.into()));
    assert_eq!(second["seq"], first["seq"], "nothing was committed");
    workspace.is_as_before(&before);

    workspace.write("docs/a.md", CHAPTER.replace("complete copy", "full copy"));
    let third = workspace.run(&["add", "notes", "docs", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!((&third["files_changed"], &third["files_unchanged"]), (&1.into(), &1.into()));

    std::fs::remove_file(workspace.path("docs/b.txt")).unwrap();
    let kept = workspace.run(&["add", "notes", "docs", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!(kept["files_removed"], 0, "only --sync removes");
    let gone = workspace.run(&["add", "notes", "docs", "--sync", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!(gone["files_removed"], 1);
}

#[test]
fn people_get_a_sentence_and_scripts_no_bars() {
    let workspace = Workspace::new();
    workspace.write("corpus.txt", SENTENCES);
    let run = workspace.run(&["add", "notes", "corpus.txt"]).exits(0);
    assert!(run.text().starts_with("notes: 1 file added; 3 items added in "), "{}", run.text());
    assert!(!run.stderr.contains('\u{1b}'), "no colours and bars beside a terminal: {:?}", run.stderr);
}

#[test]
fn a_bad_file_is_named_and_the_rest_goes_in() {
    let workspace = Workspace::new();
    workspace.write("docs/bad.jsonl", "{\"text\": \"good record\"}\n{broken\n");
    workspace.write("docs/good.txt", SENTENCES);
    let run = workspace.run(&["add", "notes", "docs", "--json"]).exits(1);
    assert!(run.stderr.contains("problem: ") && run.stderr.contains("bad.jsonl"), "{}", run.stderr);
    let lines = run.json();
    let added = lines.last().unwrap();
    assert_eq!(lines[0]["type"], "problem");
    assert_eq!(added["problems"], 1);
    assert!(added["items_added"].as_u64().unwrap() >= 3, "{added}");
}

#[test]
fn metadata_is_there_to_filter_by() {
    let workspace = Workspace::new();
    workspace.write("corpus.txt", SENTENCES);
    workspace.run(&["add", "notes", "corpus.txt", "--meta", "year=2024", "--meta", "author=李白"]).exits(0);
    let found = |filter: &str| workspace.run(&["search", "notes", "FAISS", "--filter", filter]).code;
    assert_eq!(found("year > 2000 AND author = \"李白\""), Some(0));
    assert_eq!(found("year > 2030"), Some(1), "nothing found");
}

#[test]
fn pictures_make_a_picture_collection() {
    let workspace = Workspace::new();
    picture(&workspace, "shop/red/one.png", [200, 30, 30]);
    picture(&workspace, "shop/blue/two.jpg", [20, 30, 220]);
    let added = workspace.run(&["add", "shop", "shop", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!(added["items_added"], 2);
    let listed = workspace.run(&["collections", "shop", "--json"]).exits(0).json().pop().unwrap();
    assert_eq!((&listed["kind"], &listed["dim"]), (&"image".into(), &1280.into()));
}

#[test]
fn items_of_marks_alone_are_counted_and_left_out() {
    let workspace = Workspace::new();
    workspace.write("a.jsonl", "{\"text\": \"……!?\"}\n{\"text\": \"FAISS\"}\n{\"text\": \"😀\"}\n");
    let run = workspace.run(&["add", "notes", "a.jsonl"]).exits(0);
    assert!(run.stderr.contains("2 items hold only punctuation or symbols"), "{}", run.stderr);
    let added = workspace.run(&["add", "again", "a.jsonl", "--json"]).exits(0).json();
    let added = added.iter().find(|line| line["type"] == "added").unwrap();
    assert_eq!((added["items_added"].as_u64(), added["items_left_out"].as_u64()), (Some(1), Some(2)));
}

/// A server on this machine that gives every path below `/files/` its content, and redirects `/away` to itself by another name.
fn web(files: Vec<(&'static str, &'static str, Vec<u8>)>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 2048];
            let length = std::io::Read::read(&mut stream, &mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
            let found = files.iter().find(|(name, ..)| *name == path);
            let (status, head, body) = match found {
                Some((_, kind, body)) => ("200 OK", format!("Content-Type: {kind}"), body.as_slice()),
                None if path == "/away" => {
                    ("302 Found", format!("Location: http://localhost:{port}/a.png"), &[][..])
                }
                None => ("404 Not Found", "X: y".to_owned(), &b"nothing"[..]),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = std::io::Write::write_all(&mut stream, &[head.as_bytes(), body].concat());
        }
    });
    port
}

#[test]
fn addresses_are_fetched_where_that_is_allowed() {
    let workspace = Workspace::new();
    let red = std::fs::read(picture(&workspace, "red.png", [200, 30, 30])).unwrap();
    let huge = png_claiming(60_000, 60_000);
    let page = "<html><body><h1>向量检索</h1><p>倒排索引先聚类,再在近的组里查找。</p></body></html>"
        .as_bytes()
        .to_vec();
    let port = web(vec![
        ("/a.png", "image/png", red.clone()),
        ("/huge.png", "image/png", huge),
        ("/fake.png", "image/png", b"<script>alert(1)</script>".to_vec()),
        ("/notes", "text/html; charset=utf-8", page),
    ]);
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let off = workspace.run(&["add", "web", &url("/a.png")]).exits(1);
    off.complains(&["add.urls"]);
    off.hints("add.urls");
    assert!(!workspace.path("bilin-data").exists(), "a refusal leaves nothing behind");
    let told = workspace.run_with(("BILIN_ADD_URLS", "yes"), &["add", "web", &url("/a.png")]).exits(1);
    assert!(told.stderr.contains("not a public address"), "{}", told.stderr);
    workspace.write("bilin.toml", format!("[add]\nurls = \"yes\"\nurl_hosts = \"127.0.0.1:{port}\"\n"));
    let mut arguments = vec!["add".to_owned(), "web".to_owned(), "--json".to_owned()];
    arguments.extend(["/a.png", "/huge.png", "/fake.png", "/away", "/none.png"].map(url));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = workspace.run(&arguments).exits(1);
    let lines = run.json();
    let reasons: Vec<&str> = lines.iter().filter_map(|line| line["reason"].as_str()).collect();
    let words = ["60000 x 60000", "not a picture", "not a public address", "404"];
    assert_eq!(reasons.len(), words.len(), "{reasons:?}");
    for (reason, word) in reasons.iter().zip(words) {
        assert!(reason.contains(word), "{word}: {reasons:?}");
    }
    assert_eq!(lines.last().unwrap()["files_added"], 1, "{lines:?}");
    let found = workspace.answers(&["search", "web", "--image", "red.png", "--json"]);
    assert_eq!((&found[0]["id"], &found[0]["metadata"]["product_id"]), (&url("/a.png").into(), &"a".into()));
    workspace.run(&["add", "pages", &url("/notes")]).exits(0);
    let found = workspace.answers(&["search", "pages", "倒排索引", "--json"]);
    assert_eq!(found[0]["metadata"]["source"], url("/notes"));
    workspace.run(&["add", "web", &url("/a.png"), "--sync"]).exits(2).complains(&["--sync"]);
}

/// A PDF of a page for each content.
fn pdf(contents: &[&str]) -> Vec<u8> {
    let font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>";
    let kids: Vec<String> = (0..contents.len()).map(|page| format!("{} 0 R", 3 + 2 * page)).collect();
    let mut objects = vec![
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        format!(
            "<</Type/Pages/Count {}/Kids[{}]/MediaBox[0 0 600 800]/Resources<</Font<</F1 {font}>>>>>>",
            kids.len(),
            kids.join(" ")
        ),
    ];
    for (page, content) in contents.iter().enumerate() {
        objects.push(format!("<</Type/Page/Parent 2 0 R/Contents {} 0 R>>", 4 + 2 * page));
        objects.push(format!("<</Length {}>> stream\n{content}\nendstream", content.len()));
    }
    let mut bytes = String::from("%PDF-1.7\n");
    let mut table = String::from("0000000000 65535 f \n");
    for (at, object) in objects.iter().enumerate() {
        table += &format!("{:010} 00000 n \n", bytes.len());
        bytes += &format!("{} 0 obj\n{object}\nendobj\n", at + 1);
    }
    let (start, count) = (bytes.len(), objects.len() + 1);
    bytes +=
        &format!("xref\n0 {count}\n{table}trailer <</Size {count} /Root 1 0 R>>\nstartxref\n{start}\n%%EOF");
    bytes.into_bytes()
}

#[test]
fn a_page_that_is_a_picture_is_a_warning_and_a_document_of_pictures_a_problem() {
    let workspace = Workspace::new();
    let text = "BT /F1 12 Tf 72 700 Td (A backup is a complete copy with a manifest.) Tj ET";
    let picture = "q 500 0 0 700 50 50 cm BI /W 1 /H 1 /BPC 8 /CS /G ID x EI Q";
    workspace.write("docs/mixed.pdf", pdf(&[text, picture, text]));
    let run = workspace.run(&["add", "notes", "docs", "--json"]).exits(0);
    assert!(run.stderr.contains("warning: ") && run.stderr.contains("page 2: no text"), "{}", run.stderr);
    let lines = run.json();
    let added = lines.last().unwrap();
    assert_eq!((&lines[0]["type"], &lines[0]["partial"]), (&"problem".into(), &true.into()));
    assert_eq!(
        (&added["files_added"], &added["problems"], &added["partial"]),
        (&1.into(), &0.into(), &1.into())
    );

    workspace.write("docs/scanned.pdf", pdf(&[picture]));
    let run = workspace.run(&["add", "notes", "docs", "--json"]).exits(1);
    assert!(run.stderr.contains("problem: ") && run.stderr.contains("scanned.pdf"), "{}", run.stderr);
    let lines = run.json();
    let added = lines.last().unwrap();
    assert_eq!((&added["problems"], &added["partial"]), (&1.into(), &0.into()), "{lines:?}");
}
