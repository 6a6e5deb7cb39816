//! ZIP archives of documents or of pictures: every file within is read as if it lay in a folder of the archive's name.
//!
//! Of pictures, the folder within is the category, and a table within tells their fields ([`crate::tables`]).
//! The `source` of a file within is `archive.zip/inner/name.pptx`. Names that are not marked as UTF-8 are tried as UTF-8, then as
//! GB18030, which archives made on Chinese Windows use, then as code page 437, which the format asks for. What cannot be read is
//! a problem of that file alone; an archive in an archive is one, for nobody can say how deep it goes.

use crate::error::{IngestError, Problem};
use crate::formats::Format;
use crate::package::{Entry, Package, Unpacked};
use crate::read::{ReadFile, ReadOptions, read_plain};
use crate::tables::{Table, TableFormat};
use crate::walk::{Found, Wanted};
use crate::{Metadata, encoding};
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
    let wanted = found.format.wanted();
    let mut tables = Vec::new();
    for entry in package.entries() {
        let name = shown_name(&entry);
        let Some(format) = format_of(&entry, &name, wanted) else {
            if wanted == Wanted::Pictures && is_table(&entry, &name) {
                tables.push((entry, name));
            }
            continue;
        };
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
    // Deeper folders last, so that what they say counts.
    tables.sort_by_key(|(_, name)| name.matches('/').count());
    for (entry, name) in tables {
        tell(&mut package, &entry, &name, found, &mut read)?;
    }
    if unreported > 0 {
        read.problems.push(Problem {
            path: found.path.clone(),
            reason: format!("{unreported} more files in the archive could not be read"),
            hint: Some(format!("the first {MAX_PROBLEMS} are listed")),
            is_partial: false,
        });
    }
    Ok(read)
}

/// How many documents and how many pictures the archive at `path` names; nothing is unpacked.
pub fn counts(path: &Path) -> (usize, usize) {
    let archive = std::fs::File::open(path).ok().and_then(|file| zip::ZipArchive::new(file).ok());
    let Some(archive) = archive else { return (0, 0) };
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let count = |wanted| {
        let format = |name: &String| Format::of_path_for(Path::new(name), wanted);
        let is_read = |format: &Format| !matches!(format, Format::Archive | Format::PictureArchive);
        names.iter().filter(|name| !is_hidden(name)).filter_map(format).filter(is_read).count()
    };
    (count(Wanted::Text), count(Wanted::Pictures))
}

/// Gives the pictures that were read the fields that a table within tells.
fn tell(
    package: &mut Package<'_>,
    entry: &Entry,
    name: &str,
    found: &Found,
    read: &mut ReadFile,
) -> Result<(), IngestError> {
    let problem = |reason: String| Problem {
        path: found.path.clone(),
        reason: format!("{name}: {reason}"),
        hint: Some("a row names its picture by file_name, relative to the table".to_owned()),
        is_partial: false,
    };
    let Some(format) = TableFormat::of_path(Path::new(name)) else { return Ok(()) };
    let table = match Table::read(format, package.unpack(entry.index)?) {
        Ok(Some(table)) => table,
        Ok(None) => return Ok(()),
        Err(reason) => {
            read.problems.push(problem(reason));
            return Ok(());
        }
    };
    let folder = name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let prefix = format!("{}/{folder}", found.source);
    let below: Vec<(usize, String)> = read
        .documents
        .iter()
        .enumerate()
        .filter_map(|(at, document)| Some((at, document.id.strip_prefix(&prefix)?.to_owned())))
        .collect();
    let names: Vec<&str> = below.iter().map(|(_, name)| name.as_str()).collect();
    let told = table.assign(&names, |at, fields| {
        let document = below.get(at).and_then(|(at, _)| read.documents.get_mut(*at));
        for item in document.into_iter().flat_map(|document| &mut document.items) {
            item.metadata.extend(fields.clone());
        }
    });
    read.problems.extend(told.into_iter().flatten().map(problem));
    Ok(())
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
    if matches!(format, Format::Archive | Format::PictureArchive) {
        return Err(IngestError::NestedArchive);
    }
    unpacked.begin_document();
    let content = package.unpack(entry.index)?;
    let inner = Found {
        path: found.path.join(name),
        source: format!("{}/{name}", found.source),
        format,
        category: match format {
            Format::Picture => name.rsplit('/').nth(1).map(str::to_owned),
            _ => None,
        },
        bytes: content.len() as u64,
        fields: Metadata::new(),
    };
    let mut read = read_plain(&inner, content, options, unpacked)?;
    // What is known of the whole archive stands back behind what is known of a picture.
    for item in read.documents.iter_mut().flat_map(|document| &mut document.items) {
        for (field, value) in &found.fields {
            item.metadata.entry(field).or_insert_with(|| value.clone());
        }
    }
    for problem in &mut read.problems {
        problem.path.clone_from(&found.path);
        problem.reason = format!("{name}: {}", problem.reason);
    }
    Ok(read)
}

/// The format of a file that is read; none for folders, unknown files, those of the other kind and those that a system left behind.
fn format_of(entry: &Entry, name: &str, wanted: Wanted) -> Option<Format> {
    if entry.is_folder || is_hidden(name) {
        return None;
    }
    Format::of_path_for(Path::new(name), wanted)
}

fn is_table(entry: &Entry, name: &str) -> bool {
    !entry.is_folder
        && !entry.encrypted
        && !is_hidden(name)
        && TableFormat::of_path(Path::new(name)).is_some()
}

fn is_hidden(name: &str) -> bool {
    let leads_up = |step: &str| matches!(step, "." | "..");
    name.split('/')
        .any(|step| step.starts_with('.') && !leads_up(step) || step == "__MACOSX" || step.starts_with("~$"))
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
