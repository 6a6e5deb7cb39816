//! Relationships of a part (OPC, ECMA-376 part 2): which other parts its identifiers mean.

use super::Package;
use crate::error::IngestError;
use crate::limits::Limits;
use crate::xml;
use std::collections::HashMap;

/// Where an identifier leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    /// Last word of its type: `slide`, `notesSlide`, `styles`.
    pub(crate) kind: String,
    /// Name of the part within the package.
    pub(crate) target: String,
}

/// The relationships of one part, by identifier; those that lead out of the package are left out.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    by_id: HashMap<String, Relation>,
    order: Vec<String>,
}

impl Relations {
    /// Reads those of `part`; of the package itself for an empty name.
    pub(crate) fn of(
        package: &mut Package<'_>,
        part: &str,
        format: &'static str,
        limits: &Limits,
    ) -> Result<Self, IngestError> {
        let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
        let name = if folder.is_empty() {
            format!("_rels/{file}.rels")
        } else {
            format!("{folder}/_rels/{file}.rels")
        };
        let Some(text) = package.text_part(&name)? else { return Ok(Self::default()) };
        let tree = xml::parse(&text, format, limits)?;
        let mut relations = Self::default();
        for node in xml::children(tree.root_element()) {
            let (Some(id), Some(kind), Some(target)) =
                (xml::attribute(node, "Id"), xml::attribute(node, "Type"), xml::attribute(node, "Target"))
            else {
                continue;
            };
            if xml::attribute(node, "TargetMode") == Some("External") {
                continue;
            }
            let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
            relations.order.push(id.to_owned());
            relations.by_id.insert(id.to_owned(), Relation { kind, target: resolved(folder, target) });
        }
        Ok(relations)
    }

    pub(crate) fn target(&self, id: &str) -> Option<&str> {
        self.by_id.get(id).map(|relation| relation.target.as_str())
    }

    /// Where an identifier leads, if to a part of this kind.
    pub(crate) fn target_of_kind(&self, id: &str, kind: &str) -> Option<&str> {
        self.by_id.get(id).filter(|relation| relation.kind == kind).map(|relation| relation.target.as_str())
    }

    /// The first part of this kind.
    pub(crate) fn of_kind(&self, kind: &str) -> Option<&str> {
        let relations = self.order.iter().filter_map(|id| self.by_id.get(id));
        relations.into_iter().find(|relation| relation.kind == kind).map(|relation| relation.target.as_str())
    }
}

/// A target seen from the folder of its part, without `.` and `..`.
pub(crate) fn resolved(folder: &str, target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    let mut path: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => folder.split('/').collect(),
    };
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(path.pop()),
            step => path.push(step),
        }
    }
    path.retain(|step| !step.is_empty());
    path.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_resolved() {
        assert_eq!(
            resolved("ppt/slides", "../notesSlides/notesSlide1.xml"),
            "ppt/notesSlides/notesSlide1.xml"
        );
        assert_eq!(resolved("ppt", "/ppt/slides/slide2.xml"), "ppt/slides/slide2.xml");
        assert_eq!(resolved("", "word/document.xml"), "word/document.xml");
        assert_eq!(resolved("a", "../../../etc/passwd"), "etc/passwd");
    }
}
