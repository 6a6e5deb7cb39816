//! A graph with codes in our index file: spec, then the files of graph and codes, whole, each as a section.

use super::{CodedGraph, codes_of};
use crate::error::OpenError;
use crate::file::{self, Header, KIND_CODED_GRAPH, Reader, Section, mismatch};
use crate::hnsw::Hnsw;
use crate::index::VectorIndex;
use crate::ivf::Coded;
use crate::rows::RowChunks;
use crate::spec::Structure;

impl CodedGraph {
    pub(super) fn write_file(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let header = Header {
            kind: KIND_CODED_GRAPH,
            metric: self.graph.metric,
            dim: self.graph.store.dim(),
            shared_rows: self.graph.store.shared.len(),
            parameters: [0; 4],
        };
        let (mut graph, mut codes) = (Vec::new(), Vec::new());
        self.graph.write_to(&mut graph)?;
        self.codes.write_to(&mut codes)?;
        let sections = [
            Section::owned(b"spec", self.spec.to_string().into_bytes()),
            Section::owned(b"grph", graph),
            Section::owned(b"cods", codes),
        ];
        file::write(out, &header, &sections)
    }

    /// Reads what `write_to` wrote; `reader`'s header agrees with `shared`.
    pub(crate) fn read(reader: &Reader, shared: &RowChunks) -> Result<Self, OpenError> {
        let (spec, at) = reader.spec()?;
        if reader.header.parameters != [0; 4] {
            let found = format!("{:?}", reader.header.parameters);
            return Err(mismatch(44, "parameters", "zeros", found));
        }
        let (inner, graph_at) = reader.nested(b"grph", "graph", file::KIND_HNSW)?;
        let graph = Hnsw::read(&inner, shared).map_err(|error| inside(error, graph_at))?;
        let (inner, codes_at) = reader.nested(b"cods", "codes", file::KIND_CODED)?;
        let codes = Coded::read(&inner, shared).map_err(|error| inside(error, codes_at))?;
        let (linked, coded) = (graph.info(), codes.info());
        let fits = matches!(spec.structure, Structure::Hnsw { m } if m == graph.graph.m)
            && coded.spec == codes_of(&spec)
            && (linked.rows, linked.metric) == (coded.rows, coded.metric);
        if !fits {
            let found = format!("{} over {} and {} rows", coded.spec, linked.rows, coded.rows);
            return Err(mismatch(at, "spec", format!("the graph and the codes of \"{spec}\""), found));
        }
        Ok(CodedGraph { spec, graph, codes })
    }
}

/// An error in a file inside the file, at its place in the whole.
fn inside(error: OpenError, start: usize) -> OpenError {
    OpenError { offset: error.offset + start as u64, ..error }
}
