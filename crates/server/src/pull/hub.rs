//! What a hub says of a model: its revision, and its files with sizes and checksums.
//!
//! Two languages are spoken. Hugging Face's (also its mirrors'): `GET /api/models/NAME/revision/REV?blobs=true` tells the commit
//! and the files, of which large ones have a SHA-256 and the others git's SHA-1; content is at `/NAME/resolve/COMMIT/PATH`.
//! ModelScope's: `GET /api/v1/models/NAME/repo/files?Revision=REV&Recursive=True`, each file with a SHA-256; content is at
//! `/api/v1/models/NAME/repo?Revision=REV&FilePath=PATH`. Nothing of an answer is believed: paths, sizes and numbers of
//! files are checked by who uses them, and by [`Listing::read`].

use super::digest::Checksum;
use crate::cli::Failure;
use clap::ValueEnum;
use reqwest::Url;
use serde::Deserialize;

/// Most files of a model's repository.
const MAX_FILES: usize = 10_000;

/// Where models come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hub {
    /// huggingface.co
    Huggingface,
    /// hf-mirror.com
    HfMirror,
    /// modelscope.cn
    Modelscope,
}

impl Hub {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Hub::Huggingface => "huggingface",
            Hub::HfMirror => "hf-mirror",
            Hub::Modelscope => "modelscope",
        }
    }

    /// Its own address.
    pub(crate) fn endpoint(self) -> &'static str {
        match self {
            Hub::Huggingface => "https://huggingface.co",
            Hub::HfMirror => "https://hf-mirror.com",
            Hub::Modelscope => "https://www.modelscope.cn",
        }
    }

    /// The revision that is meant when none is named.
    pub(crate) fn newest(self) -> &'static str {
        match self {
            Hub::Huggingface | Hub::HfMirror => "main",
            Hub::Modelscope => "master",
        }
    }

    /// Where the files of a model are told.
    pub(crate) fn listing_url(self, endpoint: &Url, name: &str, revision: &str) -> Url {
        match self {
            Hub::Huggingface | Hub::HfMirror => {
                let mut url = below(endpoint, ["api", "models"].into_iter().chain(name.split('/')));
                url = below(&url, ["revision", revision].into_iter());
                url.query_pairs_mut().append_pair("blobs", "true");
                url
            }
            Hub::Modelscope => {
                let mut url = below(endpoint, ["api", "v1", "models"].into_iter().chain(name.split('/')));
                url = below(&url, ["repo", "files"].into_iter());
                url.query_pairs_mut().append_pair("Revision", revision).append_pair("Recursive", "True");
                url
            }
        }
    }

    /// Where the content of a file is.
    pub(crate) fn file_url(self, endpoint: &Url, name: &str, revision: &str, path: &str) -> Url {
        match self {
            Hub::Huggingface | Hub::HfMirror => {
                let url = below(endpoint, name.split('/').chain(["resolve", revision]));
                below(&url, path.split('/'))
            }
            Hub::Modelscope => {
                let mut url = below(endpoint, ["api", "v1", "models"].into_iter().chain(name.split('/')));
                url = below(&url, ["repo"].into_iter());
                url.query_pairs_mut().append_pair("Revision", revision).append_pair("FilePath", path);
                url
            }
        }
    }
}

/// An address with more parts to its path, each encoded as one part.
fn below<'a>(url: &Url, parts: impl Iterator<Item = &'a str>) -> Url {
    let mut url = url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(parts);
    }
    url
}

/// A file of a model on a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// Relative, with `/`; not checked yet.
    pub(crate) path: String,
    /// Bytes, where told.
    pub(crate) size: Option<u64>,
    /// Of its content, where told.
    pub(crate) checksum: Option<Checksum>,
}

/// The files of a model.
#[derive(Debug)]
pub(crate) struct Listing {
    /// A commit, or what was asked for where the hub tells none.
    pub(crate) revision: String,
    /// Whether the files of this revision can never be others.
    pub(crate) is_pinned: bool,
    /// In the hub's order.
    pub(crate) files: Vec<RemoteFile>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

/// Hugging Face's answer.
#[derive(Deserialize)]
struct Model {
    sha: Option<String>,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScopeFile {
    path: String,
    #[serde(default)]
    r#type: String,
    size: Option<u64>,
    sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScopeFiles {
    files: Option<Vec<ScopeFile>>,
}

/// ModelScope's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Scope {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    data: Option<ScopeFiles>,
}

impl Listing {
    /// From a hub's answer; `revision` is what was asked for.
    pub(crate) fn read(hub: Hub, revision: &str, body: &[u8]) -> Result<Listing, Failure> {
        let broken = |why: String| {
            Failure::mendable(format!("the answer of {} is not understood: {why}", hub.name()))
                .with_hint("check --endpoint, which must speak the language of --from")
        };
        let listing = match hub {
            Hub::Huggingface | Hub::HfMirror => {
                let model: Model = serde_json::from_slice(body).map_err(|error| broken(error.to_string()))?;
                let commit = model.sha.filter(|sha| is_commit(sha));
                let files = model.siblings.into_iter().map(|file| {
                    let (size, lfs) = match file.lfs {
                        Some(Lfs { sha256, size }) => (size.or(file.size), sha256),
                        None => (file.size, None),
                    };
                    let checksum = match (lfs, file.blob_id) {
                        (Some(sha256), _) => Some(Checksum::sha256(&sha256).ok_or(sha256)),
                        (None, Some(blob)) => Some(Checksum::git(&blob).ok_or(blob)),
                        (None, None) => None,
                    };
                    (file.rfilename, size, checksum)
                });
                let is_pinned = commit.is_some();
                let revision = commit.unwrap_or_else(|| revision.to_owned());
                Listing { revision, is_pinned, files: collect(files).map_err(broken)? }
            }
            Hub::Modelscope => {
                let scope: Scope = serde_json::from_slice(body).map_err(|error| broken(error.to_string()))?;
                let Some(files) = scope.data.and_then(|data| data.files) else {
                    return Err(broken(format!("code {}, {:?}", scope.code, scope.message)));
                };
                let files = files.into_iter().filter(|file| file.r#type != "tree").map(|file| {
                    let told = file.sha256.filter(|sha256| !sha256.is_empty());
                    (file.path, file.size, told.map(|sha256| Checksum::sha256(&sha256).ok_or(sha256)))
                });
                let (revision, is_pinned) = (revision.to_owned(), is_commit(revision));
                Listing { revision, is_pinned, files: collect(files).map_err(broken)? }
            }
        };
        if listing.files.len() > MAX_FILES {
            return Err(broken(format!(
                "it has {} files, at most {MAX_FILES} are read",
                listing.files.len()
            )));
        }
        Ok(listing)
    }
}

/// Path, size, and the checksum or the text that is none.
type Told = (String, Option<u64>, Option<Result<Checksum, String>>);

/// A checksum that is told and is none is no reason to go without.
fn collect(files: impl Iterator<Item = Told>) -> Result<Vec<RemoteFile>, String> {
    files
        .map(|(path, size, checksum)| match checksum.transpose() {
            Ok(checksum) => Ok(RemoteFile { path, size, checksum }),
            Err(text) => Err(format!("the checksum {text:?} of {path:?} is none")),
        })
        .collect()
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn addresses_are_those_of_the_hubs() {
        let mirror = url("https://mirror.example/hf/");
        let told = Hub::Huggingface.listing_url(&mirror, "BAAI/bge-small", "refs/pr/1");
        assert_eq!(
            told.as_str(),
            "https://mirror.example/hf/api/models/BAAI/bge-small/revision/refs%2Fpr%2F1?blobs=true"
        );
        let file = Hub::HfMirror.file_url(&mirror, "BAAI/bge-small", COMMIT, "1_Pooling/config 1?.json");
        assert_eq!(
            file.as_str(),
            format!("https://mirror.example/hf/BAAI/bge-small/resolve/{COMMIT}/1_Pooling/config%201%3F.json")
        );
        let scope = url("https://www.modelscope.cn");
        let told = Hub::Modelscope.listing_url(&scope, "iic/gte", "master");
        assert_eq!(
            told.as_str(),
            "https://www.modelscope.cn/api/v1/models/iic/gte/repo/files?Revision=master&Recursive=True"
        );
        let file = Hub::Modelscope.file_url(&scope, "iic/gte", "v1&x", "1_Pooling/config.json");
        assert_eq!(
            file.as_str(),
            "https://www.modelscope.cn/api/v1/models/iic/gte/repo?Revision=v1%26x&FilePath=1_Pooling%2Fconfig.json"
        );
    }

    #[test]
    fn both_languages_tell_files_sizes_and_checksums() {
        let sha256 = "ab".repeat(32);
        let body = format!(
            r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "config.json", "size": 3, "blobId": "{COMMIT}"}},
               {{"rfilename": "model.safetensors", "size": 9, "blobId": "{COMMIT}", "lfs": {{"sha256": "{sha256}", "size": 9, "pointerSize": 1}}}}]}}"#
        );
        let told = Listing::read(Hub::Huggingface, "main", body.as_bytes()).unwrap();
        assert_eq!((told.revision.as_str(), told.is_pinned), (COMMIT, true));
        assert_eq!(told.files[0].checksum, Checksum::git(COMMIT));
        assert_eq!(
            (told.files[1].checksum.clone(), told.files[1].size),
            (Checksum::sha256(&sha256), Some(9))
        );
        let body = format!(
            r#"{{"Code": 200, "Data": {{"Files": [{{"Path": "1_Pooling", "Type": "tree", "Size": 0}},
               {{"Path": "config.json", "Type": "blob", "Size": 5, "Sha256": "{sha256}"}}]}}}}"#
        );
        let told = Listing::read(Hub::Modelscope, "master", body.as_bytes()).unwrap();
        assert_eq!((told.revision.as_str(), told.is_pinned, told.files.len()), ("master", false, 1));
        assert_eq!(told.files[0].checksum, Checksum::sha256(&sha256));
    }

    #[test]
    fn answers_that_are_none_are_refused() {
        for (hub, body) in [
            (Hub::Huggingface, "<html>"),
            (Hub::Huggingface, r#"{"siblings": [{"rfilename": "a", "lfs": {"sha256": "xyz"}}]}"#),
            (Hub::Modelscope, r#"{"Code": 10010205001, "Message": "not found", "Data": null}"#),
        ] {
            let failure = Listing::read(hub, "main", body.as_bytes()).unwrap_err();
            assert!(failure.message().contains("is not understood"), "{failure:?}");
        }
    }
}
