//! A disk that remembers what it was asked, so that a test can ask what a power loss at any point would have left.
//!
//! Every operation goes through to a real folder (readers map its files) and into a list. [`World`] replays that list with
//! the promises of [`Disk`] and no more: bytes are safe after a sync of their file, names after a sync of their folder, a
//! rename is atomic, whatever was not synced may be there, in part, or not at all. SQLite's own files do not pass this seam;
//! they are copied as they are at each operation, which is what its own syncs promise for the commits it acknowledged.
//! A sync that is told to fail loses the bytes for good, as the kernel may: a later sync of the file does not bring them back
//! (Rebello et al., USENIX ATC 2020).
mod image;
mod loss;
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, OsDisk};
use crate::catalog;
use crate::map::Map;

/// A file or folder, whatever it is called.
type Node = usize;
/// Bytes of SQLite's files, by folder and name.
type Captured = BTreeMap<(Node, String), Arc<Vec<u8>>>;

/// One operation, with everything that replaying it needs.
#[derive(Clone, Debug)]
enum Op {
    /// Names that begin or cease to stand for a node, all at once; with them the files in a folder, one by one, when `tree`.
    Names {
        changes: Vec<(Node, String, Option<Node>)>,
        tree: Option<Node>,
    },
    /// A new node; its name comes with [`Op::Names`].
    Node {
        is_dir: bool,
    },
    SyncDir(Node),
    Write {
        node: Node,
        offset: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        node: Node,
        bytes: u64,
    },
    Sync(Node),
    /// A sync that failed: what was not synced is lost.
    Lost(Node),
    /// Nothing of ours; SQLite may have committed meanwhile.
    Beat,
}

/// An operation and what was true when it was asked for.
struct Record {
    op: Op,
    captured: Captured,
    /// Which promise the test had been given, see [`PowerDisk::promise`].
    promise: usize,
}

#[derive(Default)]
struct Recorder {
    records: Vec<Record>,
    /// The names as they are now.
    folders: BTreeMap<Node, BTreeMap<String, Node>>,
    nodes: usize,
    captured: Captured,
    promise: usize,
    /// Syncs of files and folders so far, and the one that is to fail.
    syncs: usize,
    failing_sync: Option<usize>,
    root: PathBuf,
}

/// The root's node.
const ROOT: Node = 0;

#[derive(Clone)]
pub(crate) struct PowerDisk(Arc<Mutex<Recorder>>);

impl PowerDisk {
    /// Everything below `root`, an empty folder that is durable itself.
    pub(crate) fn new(root: &Path) -> PowerDisk {
        let root = root.canonicalize().expect("a folder");
        let folders = BTreeMap::from([(ROOT, BTreeMap::new())]);
        PowerDisk(Arc::new(Mutex::new(Recorder { folders, nodes: 1, root, ..Recorder::default() })))
    }

    /// Goes on in `root`, where everything is as it was after the first `operations` of this disk: the process was killed
    /// there, the machine was not.
    pub(crate) fn after_kill(&self, operations: usize, root: &Path) -> PowerDisk {
        let killed = self.lock();
        let disk = PowerDisk::new(root);
        let mut recorder = disk.lock();
        for record in killed.records.iter().take(operations) {
            match &record.op {
                Op::Node { is_dir } => {
                    if *is_dir {
                        let node = recorder.nodes;
                        recorder.folders.insert(node, BTreeMap::new());
                    }
                    recorder.nodes += 1;
                }
                Op::Names { changes, .. } => recorder.change_names(changes.clone()),
                _ => {}
            }
            let (op, captured, promise) = (record.op.clone(), record.captured.clone(), record.promise);
            recorder.records.push(Record { op, captured, promise });
        }
        drop(recorder);
        disk
    }

    /// From here on a power loss must leave what promise `number` says. A point in time of its own.
    pub(crate) fn promise(&self, number: usize) {
        let mut recorder = self.lock();
        recorder.record(Op::Beat);
        recorder.promise = number;
        recorder.record(Op::Beat);
    }

    /// Lets the `number`th sync from now on fail, of a file or a folder.
    pub(crate) fn fail_sync(&self, number: usize) {
        let mut recorder = self.lock();
        recorder.failing_sync = Some(recorder.syncs + number);
    }

    /// Whether the sync that was to fail has failed.
    pub(crate) fn has_failed(&self) -> bool {
        let recorder = self.lock();
        recorder.failing_sync.is_some_and(|failing| recorder.syncs > failing)
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> usize {
        self.lock().records.len()
    }

    fn lock(&self) -> MutexGuard<'_, Recorder> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, node: Node, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(PowerFile { disk: self.clone(), node, inner })
    }
}

impl Recorder {
    fn record(&mut self, op: Op) {
        self.capture();
        self.records.push(Record { op, captured: self.captured.clone(), promise: self.promise });
    }

    /// Reads SQLite's files, where they are now.
    fn capture(&mut self) {
        let mut found = Captured::new();
        let mut places = vec![(ROOT, self.root.clone())];
        while let Some((node, path)) = places.pop() {
            for entry in fs::read_dir(&path).into_iter().flatten().map(|entry| entry.expect("an entry")) {
                let name = entry.file_name().into_string().expect("text");
                if entry.path().is_dir() {
                    // A folder that the seam has not seen made is none of ours.
                    if let Some(inside) = self.folders.get(&node).and_then(|names| names.get(&name)) {
                        places.push((*inside, entry.path()));
                    }
                } else if name.starts_with(catalog::FILE_NAME) && !name.ends_with("-shm") {
                    let bytes = fs::read(entry.path()).expect("a catalog");
                    let key = (node, name);
                    let before = self.captured.get(&key).filter(|before| ***before == bytes);
                    found.insert(key, before.cloned().unwrap_or_else(|| Arc::new(bytes)));
                }
            }
        }
        self.captured = found;
    }

    fn add(&mut self, is_dir: bool) -> Node {
        self.record(Op::Node { is_dir });
        let node = self.nodes;
        self.nodes += 1;
        if is_dir {
            self.folders.insert(node, BTreeMap::new());
        }
        node
    }

    fn names(&mut self, changes: Vec<(Node, String, Option<Node>)>, tree: Option<Node>) {
        let op = Op::Names { changes: changes.clone(), tree };
        // A tree is looked at for SQLite's files before it goes; they may survive the loss.
        if tree.is_some() {
            self.record(op.clone());
        }
        self.change_names(changes);
        if tree.is_none() {
            self.record(op);
        }
    }

    fn change_names(&mut self, changes: Vec<(Node, String, Option<Node>)>) {
        for (folder, name, node) in changes {
            let names = self.folders.get_mut(&folder).expect("a folder");
            match node {
                Some(node) => names.insert(name, node),
                None => names.remove(&name),
            };
        }
    }

    /// Folder and name of a path.
    fn place(&self, path: &Path) -> (Node, String) {
        let name = path.file_name().expect("a name").to_str().expect("text").to_owned();
        (self.folder(path.parent().expect("below the root")), name)
    }

    fn folder(&self, path: &Path) -> Node {
        let inside = path.strip_prefix(&self.root).expect("below the root");
        inside.iter().fold(ROOT, |folder, name| {
            let name = name.to_str().expect("text");
            *self.folders[&folder]
                .get(name)
                .unwrap_or_else(|| panic!("{path:?} was not made through the seam"))
        })
    }

    fn node(&self, path: &Path) -> Option<Node> {
        let (folder, name) = self.place(path);
        self.folders.get(&folder)?.get(&name).copied()
    }

    fn fails(&mut self) -> bool {
        self.syncs += 1;
        self.failing_sync == Some(self.syncs - 1)
    }
}

/// Whether SQLite makes this file for us (by `VACUUM INTO`) and not for itself.
fn is_copy(path: &Path) -> bool {
    let is_in_backup =
        path.ancestors().any(|folder| folder.file_name().is_some_and(|name| name == "backups"));
    is_in_backup || path.file_name().is_some_and(|name| name != catalog::FILE_NAME)
}

fn device_is_gone() -> io::Error {
    io::Error::other("the device is gone")
}

impl Disk for PowerDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsDisk.create_dir(path)?;
        let mut recorder = self.lock();
        let node = recorder.add(true);
        let (folder, name) = recorder.place(path);
        recorder.names(vec![(folder, name, Some(node))], None);
        Ok(())
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inner = OsDisk.create(path)?;
        let mut recorder = self.lock();
        let node = recorder.add(false);
        let (folder, name) = recorder.place(path);
        recorder.names(vec![(folder, name, Some(node))], None);
        drop(recorder);
        Ok(self.file(node, inner))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inner = OsDisk.open(path)?;
        let mut recorder = self.lock();
        let node = match recorder.node(path) {
            Some(node) => node,
            // Made by SQLite, which takes care of it.
            None if !is_copy(path) => return Ok(inner),
            None => {
                // Made by SQLite and not synced by anyone yet.
                let node = recorder.add(false);
                let bytes = fs::read(path)?;
                recorder.record(Op::Write { node, offset: 0, bytes });
                let (folder, name) = recorder.place(path);
                recorder.names(vec![(folder, name, Some(node))], None);
                node
            }
        };
        drop(recorder);
        Ok(self.file(node, inner))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)?;
        let mut recorder = self.lock();
        let node = recorder.node(from).expect("made through the seam");
        let ((folder, name), (new_folder, new_name)) = (recorder.place(from), recorder.place(to));
        recorder.names(vec![(folder, name, None), (new_folder, new_name, Some(node))], None);
        Ok(())
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.link(from, to)?;
        let mut recorder = self.lock();
        let node = recorder.node(from).expect("made through the seam");
        let (folder, name) = recorder.place(to);
        recorder.names(vec![(folder, name, Some(node))], None);
        Ok(())
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_file(path)?;
        let mut recorder = self.lock();
        let (folder, name) = recorder.place(path);
        recorder.names(vec![(folder, name, None)], None);
        Ok(())
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut recorder = self.lock();
        let (folder, name) = recorder.place(path);
        let tree = recorder.node(path);
        recorder.names(vec![(folder, name, None)], tree);
        OsDisk.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut recorder = self.lock();
        // Above the root everything is durable.
        if !path.starts_with(&recorder.root) {
            return Ok(());
        }
        let folder = recorder.folder(path);
        if recorder.fails() {
            return Err(device_is_gone());
        }
        recorder.record(Op::SyncDir(folder));
        Ok(())
    }
    fn list(&self, path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
        OsDisk.list(path)
    }
}

struct PowerFile {
    disk: PowerDisk,
    node: Node,
    inner: Box<dyn DiskFile>,
}

impl DiskFile for PowerFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(bytes, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_all_at(bytes, offset)?;
        self.disk.lock().record(Op::Write { node: self.node, offset, bytes: bytes.to_vec() });
        Ok(())
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.inner.set_len(bytes)?;
        self.disk.lock().record(Op::SetLen { node: self.node, bytes });
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        let mut recorder = self.disk.lock();
        if recorder.fails() {
            recorder.record(Op::Lost(self.node));
            return Err(device_is_gone());
        }
        recorder.record(Op::Sync(self.node));
        Ok(())
    }
    fn map(&self, bytes: usize) -> io::Result<Map> {
        self.inner.map(bytes)
    }
}
