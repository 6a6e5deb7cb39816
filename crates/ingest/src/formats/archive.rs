//! ZIP archives of documents: every file within is read as if it lay in a folder of the archive's name.
//!
//! The `source` of a file within is `archive.zip/inner/name.pptx`. Names that are not marked as UTF-8 are tried as UTF-8, then as
//! GB18030, which archives made on Chinese Windows use, then as code page 437, which the format asks for. What cannot be read is
//! a problem of that file alone; an archive in an archive is one, for nobody can say how deep it goes.

use crate::encoding;
use crate::error::{IngestError, Problem};
use crate::formats::Format;
use crate::package::{Entry, Package, Unpacked};
use crate::read::{ReadFile, ReadOptions, read_plain};
use crate::walk::{Found, Wanted};
use std::path::Path;

/// Problems reported per archive; the rest is counted.
const MAX_PROBLEMS: usize = 100;

pub(crate) fn read(
    found: &Found,
    bytes: &[u8],
    options: &ReadOptions<'_>,
    unpacked: &Unpacked,
) -> Result<ReadFile, IngestError> {
    let mut package = Package::open(bytes, "ZIP", &options.limits, unpacked)?;
    let mut read = ReadFile::default();
    let mut unreported = 0usize;
    for entry in package.entries() {
        let name = shown_name(&entry);
        let Some(format) = format_of(&entry, &name) else { continue };
        match read_entry(&mut package, &entry, &name, format, found, options, unpacked) {
            Ok(mut inner) => {
                read.documents.append(&mut inner.documents);
                read.problems.append(&mut inner.problems);
            }
            // The archive as a whole is too much: what is left of it would be refused one by one.
            Err(error @ IngestError::Unfolds { unit: "bytes", .. }) => return Err(error),
            Err(error) => {
                let mut problem = Problem::of_file(&found.path, &error);
                problem.reason = format!("{name}: {}", problem.reason);
                read.problems.push(problem);
            }
        }
        if read.problems.len() > MAX_PROBLEMS {
            unreported += read.problems.len() - MAX_PROBLEMS;
            read.problems.truncate(MAX_PROBLEMS);
        }
    }
    if unreported > 0 {
        read.problems.push(Problem {
            path: found.path.clone(),
            reason: format!("{unreported} more files in the archive could not be read"),
            hint: Some(format!("the first {MAX_PROBLEMS} are listed")),
        });
    }
    Ok(read)
}

fn read_entry(
    package: &mut Package<'_>,
    entry: &Entry,
    name: &str,
    format: Format,
    found: &Found,
    options: &ReadOptions<'_>,
    unpacked: &Unpacked,
) -> Result<ReadFile, IngestError> {
    if entry.encrypted {
        return Err(IngestError::Encrypted { format: "archived" });
    }
    if format == Format::Archive {
        return Err(IngestError::NestedArchive);
    }
    let content = package.unpack(entry.index)?;
    let inner = Found {
        path: found.path.join(name),
        source: format!("{}/{name}", found.source),
        format,
        category: None,
        bytes: content.len() as u64,
    };
    let mut read = read_plain(&inner, content, options, unpacked)?;
    for problem in &mut read.problems {
        problem.path.clone_from(&found.path);
        problem.reason = format!("{name}: {}", problem.reason);
    }
    Ok(read)
}

/// The format of a file that is read; none for folders, pictures, unknown files and those that a system left behind.
fn format_of(entry: &Entry, name: &str) -> Option<Format> {
    let hidden =
        name.split('/').any(|step| step.starts_with('.') || step == "__MACOSX" || step.starts_with("~$"));
    if entry.is_folder || hidden {
        return None;
    }
    Format::of_path(Path::new(name)).filter(|format| format.wanted() == Wanted::Text)
}

/// An entry's name as text, without steps that lead out of the archive.
fn shown_name(entry: &Entry) -> String {
    let name = match std::str::from_utf8(&entry.raw_name) {
        Ok(name) => name.to_owned(),
        Err(_) => encoding::chinese_name(&entry.raw_name).unwrap_or_else(|| entry.name.clone()),
    };
    let steps = name.split(['/', '\\']).filter(|step| !matches!(*step, "" | "." | ".."));
    let steps: Vec<String> = steps.map(|step| step.replace(char::is_control, "\u{FFFD}")).collect();
    steps.join("/")
}
