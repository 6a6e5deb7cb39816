//! The page at `/`: plain ES modules and CSS, embedded in the binary, served without a build step or a CDN.
//!
//! `assets/` is the page as a browser loads it: `index.html`, `icon.svg`, the styles in `css/` and the modules in `js/`, in a folder for each
//! page. Nothing in it is inline, so that the strict Content-Security-Policy holds, and everything shown is set as text, never as HTML.

use include_dir::{Dir, include_dir};
use std::collections::BTreeMap;
use std::sync::LazyLock;

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/console/assets");

/// One file of the page.
pub struct Asset {
    /// Its content.
    pub bytes: &'static [u8],
    /// Its media type.
    pub content_type: &'static str,
    /// Its hash, quoted as the `ETag` header wants it.
    pub etag: String,
}

/// A file by its path below `assets/`; only embedded files can be named.
pub fn asset(path: &str) -> Option<&'static Asset> {
    static ASSETS: LazyLock<BTreeMap<&'static str, Asset>> = LazyLock::new(|| {
        let mut assets = BTreeMap::new();
        collect(&FILES, &mut assets);
        assets
    });
    ASSETS.get(path)
}

fn collect(dir: &'static Dir<'static>, assets: &mut BTreeMap<&'static str, Asset>) {
    for file in dir.files() {
        if let Some(path) = file.path().to_str() {
            let bytes = file.contents();
            let etag = format!("\"{}\"", &blake3::hash(bytes).to_hex()[..16]);
            assets.insert(path, Asset { bytes, content_type: content_type(path), etag });
        }
    }
    for inner in dir.dirs() {
        collect(inner, assets);
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_file_has_a_known_type_and_the_page_is_there() {
        assert!(asset("index.html").is_some());
        assert!(asset("../mod.rs").is_none());
        let mut all = BTreeMap::new();
        collect(&FILES, &mut all);
        for (path, file) in &all {
            assert_ne!(file.content_type, "application/octet-stream", "{path}");
        }
    }

    /// The path of `named`, which stands in the module at `from`.
    fn resolved(from: &str, named: &str) -> String {
        let mut parts: Vec<&str> = from.split('/').collect();
        parts.pop();
        for part in named.split('/') {
            match part {
                "." => {}
                ".." => drop(parts.pop()),
                name => parts.push(name),
            }
        }
        parts.join("/")
    }

    #[test]
    fn whatever_the_page_and_its_modules_load_is_embedded() {
        let mut all = BTreeMap::new();
        collect(&FILES, &mut all);
        let mut loaded = 0;
        for (path, file) in &all {
            let text = std::str::from_utf8(file.bytes).unwrap();
            let absolute =
                text.split("\"/assets/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
            let imported = text
                .split("from \"")
                .skip(1)
                .chain(text.split("import(\"").skip(1))
                .map(|rest| rest.split('"').next().unwrap())
                .filter(|named| named.starts_with('.'))
                .map(|named| resolved(path, named));
            for wanted in absolute.chain(imported) {
                assert!(all.contains_key(wanted.as_str()), "{path} loads {wanted}, which is not there");
                loaded += 1;
            }
        }
        assert!(loaded > 60, "the search for imports finds too little: {loaded}");
    }

    #[test]
    fn nothing_is_inline_or_set_as_html() {
        let mut all = BTreeMap::new();
        collect(&FILES, &mut all);
        for (path, file) in &all {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://"]
            {
                assert!(!text.contains(word), "{path} holds {word}");
            }
        }
        let page = std::str::from_utf8(asset("index.html").unwrap().bytes).unwrap();
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains(" onclick"));
    }
}
