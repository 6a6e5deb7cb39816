//! A model from a hub into a folder: listed, chosen, fetched file by file, checked, and only then given its name.
//!
//! Files are fetched into `.NAME.pull` beside the model's place; what is whole there keeps its name, what is not ends with
//! `.part`, so a pull that was stopped (Ctrl-C, a power cut, a lost network) goes on where it was. The folder gets its name
//! in one step when everything is there and right. `bilin-pull.json` in it says where the files came from.

mod digest;
mod fetch;
mod hub;

pub(crate) use hub::Hub;

use crate::cli::Failure;
use crate::printer::Printer;
use fetch::{Fetcher, UNTOLD_MAX_BYTES};
use hub::{Listing, RemoteFile};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// In a pulled model's folder: what it is.
const ORIGIN: &str = "bilin-pull.json";
/// Longest origin that is read, bytes.
const ORIGIN_MAX_BYTES: u64 = 4 << 20;
/// In an unfinished folder: held by who works there.
const LOCK: &str = ".lock";
/// Left free on the disk beside what is fetched.
const SPARE_BYTES: u64 = 64 << 20;
/// Longest name of a model, and of an owner.
const NAME_MAX_BYTES: usize = 96;

/// What is asked for.
pub(crate) struct Wish<'a> {
    /// `OWNER/NAME`, checked by [`name`].
    pub(crate) name: &'a str,
    /// The language that is spoken.
    pub(crate) hub: Hub,
    /// Address of the hub or of a mirror.
    pub(crate) endpoint: Url,
    /// Branch, tag or commit; `None` = the newest.
    pub(crate) revision: Option<&'a str>,
    /// Folder of models.
    pub(crate) to: &'a Path,
    /// Sent to the endpoint alone.
    pub(crate) token: Option<String>,
}

/// Where a pulled model came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// Name on the hub.
    pub(crate) name: String,
    /// Which hub.
    pub(crate) from: String,
    /// Its address.
    pub(crate) endpoint: String,
    /// Commit, or what the hub calls the newest.
    pub(crate) revision: String,
    /// Whether that revision never changes.
    is_pinned: bool,
    /// Checksum by path; empty where the hub tells none.
    files: BTreeMap<String, String>,
}

/// What a pull did.
pub(crate) struct Pulled {
    /// The model's folder.
    pub(crate) path: PathBuf,
    /// Where it came from.
    pub(crate) origin: Origin,
    /// Of its files.
    pub(crate) bytes: u64,
    /// Whether it was there already, the same.
    pub(crate) was_there: bool,
}

/// A name on a hub: one or two parts of letters, digits, `-`, `_` and `.`, not beginning with a dot.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.len() <= NAME_MAX_BYTES
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let parts: Vec<&str> = text.split('/').collect();
    match parts.len() <= 2 && parts.iter().all(|part| is_part(part)) {
        true => Ok(text.to_owned()),
        false => Err("expected OWNER/NAME as the hub has it, such as BAAI/bge-small-zh-v1.5".to_owned()),
    }
}

/// Where a pulled model came from, if it was pulled.
pub(crate) fn origin_of(folder: &Path) -> Option<Origin> {
    let path = folder.join(ORIGIN);
    if path.metadata().ok()?.len() > ORIGIN_MAX_BYTES {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Fetches a model. Stops at Ctrl-C; what came by then is kept for the next time.
///
/// # Errors
/// The hub does not have it or cannot be reached, what it tells is not believed, the disk is full, or something else has its place.
pub(crate) fn pull(wish: &Wish<'_>, printer: &Printer) -> Result<Pulled, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::mendable(format!("cannot start to fetch: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            pulled = work(wish, printer) => pulled,
            _ = tokio::signal::ctrl_c() => Err(Failure::mendable(format!("stopped pulling {:?}", wish.name))
                .with_hint("run the same command again to go on from here")),
        }
    })
}

async fn work(wish: &Wish<'_>, printer: &Printer) -> Result<Pulled, Failure> {
    let fetcher = Fetcher::new(wish.endpoint.clone(), wish.token.as_deref())?;
    let asked = wish.revision.unwrap_or(wish.hub.newest());
    let url = wish.hub.listing_url(&wish.endpoint, wish.name, asked);
    let listing = Listing::read(wish.hub, asked, &fetcher.listing(&url).await?)?;
    let files = chosen(&listing, wish.name)?;
    let origin = origin(wish, &listing, &files);
    let place = wish.to.join(wish.name);
    let bytes: u64 = files.iter().filter_map(|file| file.size).sum();
    if place.symlink_metadata().is_ok() {
        let was_there = origin_of(&place).is_some_and(|found| found.is_same(&origin));
        return match was_there {
            true => Ok(Pulled { path: full(&place), origin, bytes, was_there }),
            false => Err(Failure::mendable(format!(
                "{:?} is there already, and is not revision {}",
                shown(&place),
                origin.revision
            ))
            .with_hint(
                "collections may need it as it is: choose another folder with --to, or move it away first",
            )),
        };
    }
    let unfinished = Unfinished::open(&place, &origin)?;
    unfinished.make_room(&files)?;
    {
        let bar = printer.bar("pulling", Some(bytes));
        bar.beside("bytes");
        let mut before = 0;
        for file in &files {
            let path = unfinished.folder.join(&file.path);
            if !unfinished.has(file)? {
                let url = wish.hub.file_url(&wish.endpoint, wish.name, &listing.revision, &file.path);
                fetcher.file(&url, file, &path, &|done| bar.at(before + done)).await?;
            }
            before += path.metadata().map_or(0, |file| file.len());
            bar.at(before);
        }
    }
    unfinished.finish(&files, &origin, &place)?;
    Ok(Pulled { path: full(&place), origin, bytes, was_there: false })
}

/// The files of the model among those listed, each with a size that can be believed.
fn chosen(listing: &Listing, name: &str) -> Result<Vec<RemoteFile>, Failure> {
    let paths: Vec<&str> = listing.files.iter().map(|file| file.path.as_str()).collect();
    let chosen = bilin_engine::choose_model_files(&paths).map_err(|error| {
        Failure::mendable(format!("{name:?} cannot be pulled: {error}"))
            .with_hint("name a repository with safetensors or PyTorch weights, not one of ONNX, GGUF or TensorFlow files alone")
    })?;
    let files: Vec<RemoteFile> =
        listing.files.iter().filter(|file| chosen.contains(&file.path.as_str())).cloned().collect();
    let is_unknown = |file: &&RemoteFile| {
        let is_large = [".safetensors", ".bin"].iter().any(|ending| file.path.ends_with(ending));
        is_large && file.size.is_none()
    };
    if let Some(file) = files.iter().find(is_unknown) {
        return Err(Failure::mendable(format!("the hub does not tell the size of {:?}", file.path))
            .with_hint("try another --endpoint or --from"));
    }
    Ok(files)
}

fn origin(wish: &Wish<'_>, listing: &Listing, files: &[RemoteFile]) -> Origin {
    let told = |file: &RemoteFile| {
        let checksum = file.checksum.as_ref().map_or_else(String::new, |checksum| checksum.text().to_owned());
        (file.path.clone(), checksum)
    };
    Origin {
        name: wish.name.to_owned(),
        from: wish.hub.name().to_owned(),
        endpoint: wish.endpoint.as_str().trim_end_matches('/').to_owned(),
        revision: listing.revision.clone(),
        is_pinned: listing.is_pinned,
        files: files.iter().map(told).collect(),
    }
}

impl Origin {
    /// Whether two pulls bring equal files, from wherever: by revision, or by every checksum.
    fn is_same(&self, other: &Origin) -> bool {
        let pinned = self.is_pinned && other.is_pinned && self.revision == other.revision;
        let told = self.files.values().all(|checksum| !checksum.is_empty());
        self.name == other.name && self.files == other.files && (pinned || told)
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn full(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn cannot<'a>(action: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Failure + 'a {
    move |error| Failure::mendable(format!("cannot {action} {:?}: {error}", shown(path)))
}

/// The folder in which a model comes together, held by this process.
struct Unfinished {
    folder: PathBuf,
    /// Let go when dropped.
    _lock: File,
}

impl Unfinished {
    fn open(place: &Path, origin: &Origin) -> Result<Unfinished, Failure> {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let folder = place.with_file_name(format!(".{name}.pull"));
        fs::create_dir_all(&folder).map_err(cannot("create", &folder))?;
        let path = folder.join(LOCK);
        let lock = File::create(&path).map_err(cannot("create", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::mendable(format!("another process is pulling into {:?}", shown(place))));
            }
            Err(TryLockError::Error(error)) => return Err(cannot("lock", &path)(error)),
        }
        let unfinished = Unfinished { folder, _lock: lock };
        unfinished.forget_others(origin)?;
        Ok(unfinished)
    }

    /// Files without a checksum are known by their revision alone: those of another one go.
    fn forget_others(&self, origin: &Origin) -> Result<(), Failure> {
        let before = origin_of(&self.folder);
        let is_same = before.is_some_and(|before| {
            before.is_pinned && before.revision == origin.revision && before.name == origin.name
        });
        if !is_same {
            for (path, checksum) in &origin.files {
                let path = self.folder.join(path);
                if checksum.is_empty() && path.is_file() {
                    fs::remove_file(&path).map_err(cannot("remove", &path))?;
                }
            }
        }
        self.write_origin(origin)
    }

    fn write_origin(&self, origin: &Origin) -> Result<(), Failure> {
        let path = self.folder.join(ORIGIN);
        let json = serde_json::to_vec_pretty(origin).map_err(|error| Failure::internal(error.to_string()))?;
        fs::write(&path, json).map_err(cannot("write", &path))
    }

    /// Refuses what does not fit the disk.
    fn make_room(&self, files: &[RemoteFile]) -> Result<(), Failure> {
        let free =
            fs4::available_space(&self.folder).map_err(cannot("ask for the free space of", &self.folder))?;
        let mut needed = SPARE_BYTES;
        for file in files.iter().filter(|file| !self.folder.join(&file.path).is_file()) {
            needed = needed.saturating_add(file.size.unwrap_or(UNTOLD_MAX_BYTES));
        }
        // What came in parts counts twice here, which matters only on a disk that is nearly full.
        if free < needed {
            return Err(Failure::mendable(format!(
                "the model needs {needed} bytes, and {free} are free at {:?}",
                shown(&self.folder)
            ))
            .with_hint("make room, or choose another folder with --to"));
        }
        Ok(())
    }

    /// Whether a file is there whole from an earlier time; one that is not right is removed.
    fn has(&self, file: &RemoteFile) -> Result<bool, Failure> {
        let path = self.folder.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(cannot("create", parent))?;
        }
        let Ok(found) = path.metadata() else { return Ok(false) };
        let has_size = file.size.is_none_or(|size| size == found.len());
        let is_right = has_size
            && match &file.checksum {
                Some(checksum) => checksum.is_of(&path).map_err(cannot("read", &path))?,
                None => true,
            };
        if !is_right {
            fs::remove_file(&path).map_err(cannot("remove", &path))?;
        }
        Ok(is_right)
    }

    /// Takes away what does not belong to the model and gives the folder its name.
    fn finish(self, files: &[RemoteFile], origin: &Origin, place: &Path) -> Result<(), Failure> {
        let keeps =
            |path: &Path| path == Path::new(ORIGIN) || files.iter().any(|file| Path::new(&file.path) == path);
        sweep(&self.folder, Path::new(""), &keeps)?;
        self.write_origin(origin)?;
        fs::rename(&self.folder, place).map_err(cannot("move into place", place))?;
        if let Some(parent) = place.parent() {
            // Where a folder cannot be synced the name is as durable as that file system makes it.
            let _ = File::open(parent).and_then(|parent| parent.sync_all());
        }
        Ok(())
    }
}

fn sweep(root: &Path, below: &Path, keeps: &dyn Fn(&Path) -> bool) -> Result<(), Failure> {
    let folder = root.join(below);
    for entry in fs::read_dir(&folder).map_err(cannot("list", &folder))? {
        let entry = entry.map_err(cannot("list", &folder))?;
        let (path, relative) = (entry.path(), below.join(entry.file_name()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep(root, &relative, keeps)?;
            // One that is not empty stays, and is the model's.
            let _ = fs::remove_dir(&path);
        } else if !keeps(&relative) {
            fs::remove_file(&path).map_err(cannot("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_hubs_and_no_paths() {
        for good in ["BAAI/bge-small-zh-v1.5", "gpt2", "iic/nlp_gte_sentence-embedding_chinese-base"] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "/", "a/", "/a", "a/b/c", "../b", "a/..", ".a/b", "a b", "a/b?x", "a\\b", &"x".repeat(97)]
        {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_belongs_to_the_model_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a/config.json", "a/x.part", "b/old", "config.json", LOCK] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let keeps = |path: &Path| path == Path::new("config.json") || path == Path::new("a/config.json");
        sweep(folder.path(), Path::new(""), &keeps).unwrap();
        let left: Vec<bool> = ["a/config.json", "config.json", "a/x.part", "b", LOCK]
            .map(|path| folder.path().join(path).exists())
            .to_vec();
        assert_eq!(left, [true, true, false, false, false]);
    }
}
