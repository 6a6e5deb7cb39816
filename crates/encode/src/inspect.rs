//! What a model's files tell without its network being built: licence, precision, size on disk, what it was made from.
//!
//! Read are the front matter of its README (the model card of Hugging Face and ModelScope), the headers of its weights and
//! their metadata. Nothing here decides whether a model can be opened.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use safetensors::SafeTensors;

use crate::model_files::{choose, is_inside, is_support};
use crate::quantize::Precision;
use crate::weights::{Element, Map, tensors};

/// Keys of a safetensors file's metadata that `quantize` writes.
pub(crate) const MADE_FROM: &str = "bilin.made_from";
pub(crate) const MADE_FROM_REVISION: &str = "bilin.made_from_revision";
pub(crate) const MADE_BY: &str = "bilin.made_by";

/// Most bytes of a README that are looked at: its front matter is at its beginning.
const README_BYTES: u64 = 64 << 10;
/// Longest licence that is told.
const LICENCE_CHARS: usize = 80;
/// Most files of a folder that are looked at.
const MAX_FILES: usize = 10_000;

/// What a model's files tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// As its README tells it; else the name of its licence's file; empty when there is neither.
    pub licence: String,
    /// Of its matrices; `None` when there are none that can be read.
    pub precision: Option<Precision>,
    /// Bytes of the files that belong to it.
    pub disk_bytes: u64,
    /// Name and revision of the model it was quantized from, and the command that did it.
    pub made_from: Option<MadeFrom>,
}

/// Where a quantized model came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeFrom {
    /// Name of the folder or file.
    pub name: String,
    /// Its revision.
    pub revision: String,
    /// What made it.
    pub command: String,
}

/// Relative paths (with `/`) of the files below `folder` that belong to a model, sorted; none where there are no weights.
pub(crate) fn local_files(folder: &Path) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)?.take(MAX_FILES) {
        let path = entry?.path();
        if path.is_dir() {
            for entry in fs::read_dir(&path)?.take(MAX_FILES) {
                paths.push(entry?.path());
            }
        } else {
            paths.push(path);
        }
    }
    let relative = paths.iter().filter(|path| path.is_file()).filter_map(|path| {
        let parts = path.strip_prefix(folder).ok()?.components();
        let parts: Option<Vec<&str>> = parts.map(|part| part.as_os_str().to_str()).collect();
        Some(parts?.join("/"))
    });
    let mut relative: Vec<String> = relative.filter(|path| is_inside(path)).collect();
    relative.sort();
    let names: Vec<&str> = relative.iter().map(String::as_str).collect();
    Ok(choose(&names).unwrap_or_default().into_iter().map(str::to_owned).collect())
}

/// What the files of the model at `path`, a folder or a file, tell.
///
/// # Errors
/// The path cannot be read.
pub fn inspect(path: &Path) -> io::Result<Inspected> {
    if path.is_file() {
        let mut found = Inspected { disk_bytes: path.metadata()?.len(), ..Inspected::default() };
        found.look_at_weights(path);
        return Ok(found);
    }
    let files = local_files(path)?;
    let mut found = Inspected { licence: licence(path), ..Inspected::default() };
    for file in &files {
        let file_path = path.join(file);
        found.disk_bytes += file_path.metadata()?.len();
        // Parts of one model are alike; the first tells.
        if found.precision.is_none() && !is_support(file) && !file.ends_with(".json") {
            found.look_at_weights(&file_path);
        }
    }
    Ok(found)
}

impl Inspected {
    /// A file that cannot be read tells nothing; opening the model says why.
    fn look_at_weights(&mut self, path: &Path) {
        let Ok(bytes) = Map::open(path).map(|map| map.bytes()) else { return };
        if let Ok(tensors) = tensors(&bytes) {
            let mut by_element: BTreeMap<Precision, usize> = BTreeMap::new();
            for (name, tensor) in &tensors {
                let precision = match tensor.element {
                    Element::F32 => Precision::F32,
                    Element::F16 => Precision::F16,
                    Element::Bf16 => Precision::Bf16,
                    Element::U8 if name.ends_with(".q4") => Precision::Q4_0,
                    Element::I8 if name.ends_with(".q8") => Precision::Int8,
                    _ => continue,
                };
                *by_element.entry(precision).or_default() += tensor.bytes.len();
            }
            // What is in blocks tells, however many other numbers there are beside it.
            let is_packed = |precision: Precision| matches!(precision, Precision::Int8 | Precision::Q4_0);
            let most = by_element.into_iter().max_by_key(|&(precision, bytes)| (is_packed(precision), bytes));
            self.precision = most.map(|(precision, _)| precision);
        }
        if let Ok((_, header)) = SafeTensors::read_metadata(&bytes)
            && let Some(metadata) = header.metadata()
            && let Some(name) = metadata.get(MADE_FROM)
        {
            let told = |key: &str| metadata.get(key).cloned().unwrap_or_default();
            self.made_from = Some(MadeFrom {
                name: name.clone(),
                revision: told(MADE_FROM_REVISION),
                command: told(MADE_BY),
            });
        }
    }
}

/// The licence of the model in `folder`, as far as it is told.
fn licence(folder: &Path) -> String {
    let mut readme = Vec::new();
    let read = fs::File::open(folder.join("README.md"))
        .and_then(|file| file.take(README_BYTES).read_to_end(&mut readme));
    if read.is_ok()
        && let Some(licence) = front_matter(&String::from_utf8_lossy(&readme))
    {
        return licence;
    }
    let names = fs::read_dir(folder).into_iter().flatten().take(MAX_FILES).flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let licences =
        |name: &String| ["LICENSE", "LICENCE"].iter().any(|word| name.to_ascii_uppercase().starts_with(word));
    names.filter(licences).min().map_or_else(String::new, |name| format!("see its {name}"))
}

/// `license` of the YAML between the first two lines of dashes: a word, or a list of them. What is called `other` has a name of
/// its own in `license_name`.
fn front_matter(readme: &str) -> Option<String> {
    let mut lines = readme.trim_start_matches('\u{feff}').lines();
    lines.next().filter(|line| line.trim_end() == "---")?;
    let lines: Vec<&str> = lines.take_while(|line| line.trim_end() != "---").collect();
    let value = |key: &str| {
        let at =
            lines.iter().position(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))?;
        let plain = |text: &str| text.trim().trim_matches(['"', '\'', '[', ']']).trim().to_owned();
        let own = plain(lines[at].split_once(':')?.1);
        let listed = lines[at + 1..].iter().map_while(|line| line.trim_start().strip_prefix("- ")).map(plain);
        let told = if own.is_empty() { listed.collect::<Vec<_>>().join(", ") } else { own };
        let told: String =
            told.chars().filter(|character| !character.is_control()).take(LICENCE_CHARS).collect();
        (!told.is_empty()).then_some(told)
    };
    let licence = value("license")?;
    if licence == "other" { value("license_name").or(Some(licence)) } else { Some(licence) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_read_from_front_matter() {
        let read = |text: &str| front_matter(text);
        assert_eq!(read("---\nlanguage: zh\nlicense: apache-2.0\n---\n# x").as_deref(), Some("apache-2.0"));
        assert_eq!(read("---\r\nlicense: \"MIT\"\r\n---\r\n").as_deref(), Some("MIT"));
        assert_eq!(
            read("---\nlicense:\n- mit\n- apache-2.0\ntags: x\n---\n").as_deref(),
            Some("mit, apache-2.0")
        );
        assert_eq!(read("---\nlicense: other\nlicense_name: gemma\n---\n").as_deref(), Some("gemma"));
        assert_eq!(read("---\nlicenses: mit\n---\nlicense: no\n"), None);
        assert_eq!(read("# A model\nlicense: mit\n"), None);
        assert_eq!(
            read(&format!("---\nlicense: {}\n---\n", "x".repeat(900))).map(|told| told.len()),
            Some(LICENCE_CHARS)
        );
    }

    #[test]
    fn a_folder_tells_its_licence_by_the_name_of_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(licence(folder.path()), "");
        fs::write(folder.path().join("LICENSE.txt"), "words").expect("a file");
        assert_eq!(licence(folder.path()), "see its LICENSE.txt");
        fs::write(folder.path().join("README.md"), "---\nlicense: mit\n---\n").expect("a file");
        assert_eq!(licence(folder.path()), "mit");
    }

    #[test]
    fn a_file_tells_precision_and_size() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../models/efficientnet-lite0/model.f16.safetensors");
        let found = inspect(&path).expect("there");
        assert_eq!(found.precision, Some(Precision::F16));
        assert_eq!(found.disk_bytes, path.metadata().expect("there").len());
        assert_eq!((found.made_from, found.licence), (None, String::new()));
    }
}
