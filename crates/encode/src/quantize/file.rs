//! Writing a safetensors file tensor by tensor, so that no more than one of them is in memory.
//!
//! `u64` length of the header, header (JSON, padded with spaces to 8 bytes), then the tensors without gaps, wider elements first
//! so that each is aligned. Equal tensors and equal metadata give equal bytes, since a model's revision is their hash.
//! Source: the format's description in huggingface/safetensors.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;
use serde_json::{Map, Value, json};

/// One tensor to write, whose bytes are made when it is its turn.
pub(super) struct Entry<'a> {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Exactly as many bytes as shape and type say; or why there are none.
    pub(super) bytes: Box<dyn Fn() -> Result<Vec<u8>, String> + 'a>,
}

impl Entry<'_> {
    /// Bytes in the file.
    pub(super) fn length(&self) -> u64 {
        self.shape.iter().map(|side| *side as u64).product::<u64>() * self.dtype.bitsize() as u64 / 8
    }
}

/// Why a file was not written.
pub(super) enum WriteError {
    Io(io::Error),
    /// A tensor's bytes cannot be made.
    Tensor(String),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        WriteError::Io(error)
    }
}

/// Writes `path`, which must not be there yet, and makes it durable; `done` is told the bytes of each tensor.
pub(super) fn write(
    path: &Path,
    mut entries: Vec<Entry<'_>>,
    metadata: &[(&str, String)],
    done: &dyn Fn(u64),
) -> Result<(), WriteError> {
    entries.sort_by(|a, b| b.dtype.bitsize().cmp(&a.dtype.bitsize()).then_with(|| a.name.cmp(&b.name)));
    let mut header = Map::new();
    let metadata: Map<String, Value> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())).collect();
    header.insert("__metadata__".to_owned(), metadata.into());
    let mut offset = 0;
    for entry in &entries {
        let end = offset + entry.length();
        let dtype = format!("{:?}", entry.dtype);
        let told = json!({"dtype": dtype, "shape": entry.shape, "data_offsets": [offset, end]});
        header.insert(entry.name.clone(), told);
        offset = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::new(File::create_new(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for entry in &entries {
        let bytes = (entry.bytes)().map_err(WriteError::Tensor)?;
        if bytes.len() as u64 != entry.length() {
            let (is, expected) = (bytes.len(), entry.length());
            return Err(WriteError::Tensor(format!(
                "tensor {:?} gave {is} bytes, not {expected}",
                entry.name
            )));
        }
        file.write_all(&bytes)?;
        done(entry.length());
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_same_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let entries = || {
            let entry = |name: &str, dtype, shape: &[usize], bytes: Vec<u8>| Entry {
                name: name.to_owned(),
                dtype,
                shape: shape.to_vec(),
                bytes: Box::new(move || Ok(bytes.clone())),
            };
            vec![entry("a", Dtype::I8, &[3], vec![1, 2, 255]), entry("b", Dtype::F32, &[1, 2], vec![0; 8])]
        };
        let metadata = [("format", "pt".to_owned()), ("x", "\"é\"".to_owned())];
        let paths = [folder.path().join("1"), folder.path().join("2")];
        for path in &paths {
            assert!(write(path, entries(), &metadata, &|_| ()).is_ok());
        }
        let [one, two] = paths.map(|path| std::fs::read(path).expect("a file"));
        assert_eq!(one, two);
        let file = safetensors::SafeTensors::deserialize(&one).expect("safetensors");
        assert_eq!(file.tensor("a").expect("there").data(), [1, 2, 255]);
        assert_eq!(file.tensor("b").expect("there").shape(), [1, 2]);
        let (_, header) = safetensors::SafeTensors::read_metadata(&one).expect("a header");
        assert_eq!(header.metadata().as_ref().expect("metadata")["x"], "\"é\"");
        assert!(matches!(write(&folder.path().join("1"), entries(), &[], &|_| ()), Err(WriteError::Io(_))));
    }
}
