//! Files of `torch.save`: a zip of a pickle and storages (since PyTorch 1.6), or pickles and storages one after the other.
//!
//! Only tensors are read, from the outermost dictionary or from the one it has under `state_dict` or `model`. A storage in a
//! zip is stored, not compressed, so tensors stay where they are in the mapped file; those whose elements do not lie in
//! order are copied into it. Sizes are compared with the file before memory is taken.
//! Source: `torch/serialization.py`; nothing of the file is executed ([`pickle`]).

mod pickle;

use std::collections::BTreeMap;
use std::io::Cursor;

use bytes::Bytes;
use zip::{CompressionMethod, ZipArchive};

use super::tensor::{Element, Tensor};
use pickle::{Arenas, Storage, Value, View};

/// Most bytes of the pickle that names the tensors.
const MAX_PICKLE_BYTES: u64 = 16 << 20;
/// Views whose numbers do not lie in order are copied; all of them together at most so many times as the file has bytes.
const MAX_COPIES: usize = 4;
/// `0x1950a86a20f9469cfc6c` as Python pickles it: the beginning of the older form.
const OLDER: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const ZIP: &[u8] = b"PK\x03\x04";
/// Under which a checkpoint keeps its tensors when it holds more.
const NESTED: [&str; 2] = ["state_dict", "model"];

/// Whether the bytes begin like a file of `torch.save`.
pub(crate) fn is_torch(bytes: &[u8]) -> bool {
    bytes.starts_with(ZIP) || bytes.starts_with(OLDER)
}

/// The tensors of the file by name.
pub(crate) fn tensors(bytes: &Bytes) -> Result<BTreeMap<String, Tensor>, String> {
    if bytes.starts_with(ZIP) { from_zip(bytes) } else { from_older(bytes) }
}

fn from_zip(bytes: &Bytes) -> Result<BTreeMap<String, Tensor>, String> {
    let broken = |error: zip::result::ZipError| format!("it is no whole zip file: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes.as_ref())).map_err(broken)?;
    let mut entries = BTreeMap::new();
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(broken)?;
        let (name, length) = (entry.name().map_err(broken)?.into_owned(), entry.size());
        if entry.compression() != CompressionMethod::Stored {
            return Err(format!("its entry {name:?} is compressed, which torch.save never does"));
        }
        let range = entry.data_start().and_then(|start| {
            let start = usize::try_from(start).ok()?;
            Some(start..start.checked_add(usize::try_from(length).ok()?)?)
        });
        let range = range.filter(|range| range.end <= bytes.len());
        entries.insert(name.clone(), range.ok_or_else(|| format!("its entry {name:?} ends outside of it"))?);
    }
    let pickle = entries.keys().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let pickle = pickle.ok_or("it has no data.pkl: it is no file of torch.save")?.clone();
    let folder = pickle.trim_end_matches("data.pkl");
    if let Some(order) = entries.get(&format!("{folder}byteorder"))
        && &bytes[order.clone()] != b"little"
    {
        return Err("its numbers are big-endian".to_owned());
    }
    let range = entries[&pickle].clone();
    if range.len() as u64 > MAX_PICKLE_BYTES {
        return Err(format!("its data.pkl has {} bytes, the limit is {MAX_PICKLE_BYTES}", range.len()));
    }
    let (value, arenas, _) = pickle::read(&bytes[range])?;
    named(&value, &arenas, bytes.len().saturating_mul(MAX_COPIES), |storage| {
        let entry = entries.get(&format!("{folder}data/{}", storage.key));
        Ok(bytes.slice(entry.ok_or_else(|| format!("storage {:?} is not there", storage.key))?.clone()))
    })
}

/// Pickles of a magic number, a version, the machine and the tensors, one of the keys of storages in their order, and for each
/// the number of its elements and they themselves.
fn from_older(bytes: &Bytes) -> Result<BTreeMap<String, Tensor>, String> {
    let mut at = OLDER.len();
    let mut next = || {
        let rest = bytes.get(at..).unwrap_or_default();
        let (value, arenas, length) = pickle::read(&rest[..rest.len().min(MAX_PICKLE_BYTES as usize)])?;
        at += length;
        Ok::<_, String>((value, arenas))
    };
    next()?;
    next()?;
    let (value, arenas) = next()?;
    let (keys, keys_arenas) = next()?;
    let Value::Sequence(keys) = keys else { return Err("it does not list its storages".to_owned()) };
    let mut storages = BTreeMap::new();
    let used: BTreeMap<&str, &Storage> =
        arenas.storages.iter().rev().map(|storage| (&*storage.key, storage)).collect();
    for key in &keys_arenas.sequences[keys] {
        let Value::Text(key) = key else { return Err("a storage's key is no text".to_owned()) };
        let used = used
            .get(&**key)
            .ok_or_else(|| format!("no tensor lies in storage {key:?}, so its length is unknown"))?;
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>().copied());
        let count = usize::try_from(count.map_or(u64::MAX, u64::from_le_bytes)).ok();
        let length = count.and_then(|count| count.checked_mul(element(&used.kind)?.bytes()));
        let range = length.and_then(|length| Some(at + 8..(at + 8).checked_add(length)?));
        let range = range.filter(|range| range.end <= bytes.len());
        let range = range.ok_or_else(|| format!("it ends before the end of storage {key:?}"))?;
        at = range.end;
        storages.insert(key.to_string(), bytes.slice(range));
    }
    named(&value, &arenas, bytes.len().saturating_mul(MAX_COPIES), |storage| {
        storages.get(&*storage.key).cloned().ok_or_else(|| format!("storage {:?} is not there", storage.key))
    })
}

/// What a kind of storage holds.
fn element(kind: &str) -> Option<Element> {
    Some(match kind.rsplit('.').next().unwrap_or_default() {
        "FloatStorage" => Element::F32,
        "HalfStorage" => Element::F16,
        "BFloat16Storage" => Element::Bf16,
        "ByteStorage" => Element::U8,
        "BoolStorage" | "CharStorage" => Element::Other(1),
        "ShortStorage" => Element::Other(2),
        "IntStorage" => Element::Other(4),
        "DoubleStorage" | "LongStorage" => Element::Other(8),
        _ => return None,
    })
}

fn named(
    value: &Value,
    arenas: &Arenas,
    mut room: usize,
    storage: impl Fn(&Storage) -> Result<Bytes, String>,
) -> Result<BTreeMap<String, Tensor>, String> {
    let entries = |value: &Value| match value {
        Value::Dictionary(at) => arenas.dictionaries[*at].as_slice(),
        _ => &[],
    };
    let is_tensor = |(_, value): &(Value, Value)| matches!(value, Value::Tensor(_));
    let mut found = entries(value);
    if !found.iter().any(is_tensor) {
        let nested =
            found.iter().find(|(key, _)| matches!(key, Value::Text(key) if NESTED.contains(&&**key)));
        found = nested.map_or(&[], |(_, value)| entries(value));
    }
    let mut tensors = BTreeMap::new();
    for (key, value) in found {
        let (Value::Text(name), Value::Tensor(at)) = (key, value) else { continue };
        let view = &arenas.tensors[*at];
        let of = &arenas.storages[view.storage];
        let tensor = tensor(view, of, &storage(of)?, &mut room)
            .map_err(|reason| format!("tensor {name:?}: {reason}"))?;
        tensors.insert(name.to_string(), tensor);
    }
    match tensors.is_empty() {
        true => Err("it holds no dictionary of tensors: save the model's state_dict()".to_owned()),
        false => Ok(tensors),
    }
}

/// The tensor that a view is; `room` is how many bytes may still be copied.
fn tensor(view: &View, of: &Storage, storage: &Bytes, room: &mut usize) -> Result<Tensor, String> {
    let element =
        element(&of.kind).ok_or_else(|| format!("its storage is a {}, which is not read", of.kind))?;
    let (size, held) = (element.bytes(), storage.len() / element.bytes());
    if held < of.count {
        return Err(format!("its storage should have {} elements and has {held}", of.count));
    }
    let count = Tensor::count(&view.shape).filter(|count| *count <= held);
    let count =
        count.ok_or_else(|| format!("its shape {:?} is larger than its storage of {held}", view.shape))?;
    // One past the last element that the strides reach.
    let last = view.shape.iter().zip(&view.stride).try_fold(view.offset, |last, (side, stride)| {
        last.checked_add(side.saturating_sub(1).checked_mul(*stride)?)
    });
    let end = if count == 0 { Some(view.offset) } else { last.and_then(|last| last.checked_add(1)) };
    if end.is_none_or(|end| end > held) {
        return Err(format!("its shape {:?} reaches out of its storage of {held}", view.shape));
    }
    let shape = view.shape.clone();
    let mut dense = 1;
    let in_order = view.shape.iter().zip(&view.stride).rev().all(|(side, stride)| {
        let fits = *side <= 1 || *stride == dense;
        dense *= side;
        fits
    });
    if in_order {
        let first = view.offset * size;
        return Ok(Tensor { element, shape, bytes: storage.slice(first..first + count * size) });
    }
    *room = room.checked_sub(count * size).ok_or("with the views before it, it is larger than the file")?;
    let mut bytes = Vec::with_capacity(count * size);
    for index in 0..count {
        let (mut rest, mut at) = (index, view.offset);
        for (side, stride) in view.shape.iter().zip(&view.stride).rev() {
            at += rest % side * stride;
            rest /= side;
        }
        bytes.extend_from_slice(&storage[at * size..][..size]);
    }
    Ok(Tensor { element, shape, bytes: bytes.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(offset: usize, shape: &[usize], stride: &[usize]) -> View {
        View { storage: 0, offset, shape: shape.to_vec(), stride: stride.to_vec() }
    }

    #[test]
    fn views_are_followed_and_bounded() {
        let of = Storage { kind: "torch.ByteStorage".into(), key: "0".into(), count: 6 };
        let bytes = Bytes::from_static(&[0, 1, 2, 3, 4, 5]);
        let read = |view: &View| tensor(view, &of, &bytes, &mut 12).map(|tensor| tensor.bytes.to_vec());
        assert_eq!(read(&view(1, &[2, 2], &[2, 1])), Ok(vec![1, 2, 3, 4]));
        assert_eq!(read(&view(0, &[3, 2], &[1, 3])), Ok(vec![0, 3, 1, 4, 2, 5]), "transposed");
        assert_eq!(read(&view(6, &[0], &[1])), Ok(vec![]));
        for bad in [
            view(3, &[2, 2], &[2, 1]),
            view(0, &[7], &[1]),
            view(0, &[2, 2], &[usize::MAX, 1]),
            view(0, &[usize::MAX, 2], &[0, 0]),
            view(7, &[0], &[1]),
        ] {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
        let short = Storage { count: 7, ..of.clone() };
        assert!(tensor(&view(0, &[1], &[1]), &short, &bytes, &mut 0).is_err());
    }

    #[test]
    fn views_of_one_storage_do_not_multiply_it() {
        let of = Storage { kind: "torch.ByteStorage".into(), key: "0".into(), count: 6 };
        let bytes = Bytes::from_static(&[0, 1, 2, 3, 4, 5]);
        let turned = view(0, &[3, 2], &[1, 3]);
        let mut room = 13;
        let read: Vec<bool> = (0..3).map(|_| tensor(&turned, &of, &bytes, &mut room).is_ok()).collect();
        assert_eq!((read, room), (vec![true, true, false], 1));
        assert!(
            tensor(&view(0, &[6], &[1]), &of, &bytes, &mut 0).is_ok(),
            "what lies in order is not copied"
        );
    }

    #[test]
    fn what_is_no_file_of_tensors_is_told() {
        assert!(!is_torch(b"{}") && is_torch(b"PK\x03\x04"));
        assert!(
            tensors(&Bytes::from_static(b"PK\x03\x04")).is_err_and(|reason| reason.contains("no whole zip"))
        );
        let older = Bytes::from([OLDER, b"\x80\x02M\xe9\x03.\x80\x02}.\x80\x02}.\x80\x02]."].concat());
        assert!(tensors(&older).is_err_and(|reason| reason.contains("state_dict")));
    }
}
