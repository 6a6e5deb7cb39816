//! [`Decoder`]: the vectors and user ids that a FAISS index holds, whatever it stores them as.
//!
//! Rows are numbered `0..len()`: positions, or for inverted files the ranks of the user ids, which is the order in which
//! vectors were added where FAISS gave the ids. A row is decoded on its own, so that memory does not grow with the file.
//! What was quantized comes back as FAISS's own `reconstruct` gives it: an approximation of what was added.

mod codes;
mod transforms;

use super::tree::{Blocks, Index, Ivf, Kind, Payload, ProductQuantizer, ScalarQuantizer};
use super::{FaissError, Packed};
pub(super) use codes::plain_codes;
use transforms::Backward;

/// Which vectors are wanted of an index behind transforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vectors {
    /// Those that were given to the index; an error where a transform cannot be undone.
    Original,
    /// Those that came out of the transforms.
    Transformed,
}

/// Gives vectors back one by one.
///
/// ```no_run
/// use bilin_index::faiss::{self, Decoder, Vectors};
/// let bytes = std::fs::read("faiss_index.index")?;
/// let index = faiss::read(&bytes)?;
/// let decoder = Decoder::new(&index, Vectors::Original)?;
/// let mut vector = vec![0.0; decoder.dim()];
/// for row in 0..decoder.len() {
///     decoder.decode(row, &mut vector)?;
///     println!("{} {vector:?}", decoder.id(row));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Decoder<'t> {
    dim: usize,
    rows: usize,
    source: Source<'t>,
}

enum Source<'t> {
    Flat(&'t Packed<'t, f32>),
    Product(&'t ProductQuantizer<'t>, &'t [u8]),
    Scalar(&'t ScalarQuantizer<'t>, &'t [u8]),
    FastScan(&'t ProductQuantizer<'t>, Blocks, &'t [u8]),
    Lists { ivf: &'t Ivf<'t>, places: Vec<Place>, centroids: Option<Box<Decoder<'t>>> },
    Renamed(&'t Packed<'t, i64>, Box<Decoder<'t>>),
    Transformed(Vec<Backward>, Box<Decoder<'t>>),
}

/// Where the vector with a user id lies: position of the list among those filled, offset in it.
struct Place {
    id: i64,
    list: u32,
    offset: u32,
}

impl<'t> Decoder<'t> {
    /// Prepares to decode `index`; errors say what cannot be had back and why.
    pub fn new(index: &'t Index<'t>, vectors: Vectors) -> Result<Self, FaissError> {
        let (dim, rows) = (index.header.dim, index.header.rows);
        let source = match &index.kind {
            Kind::Flat(values) => Source::Flat(values),
            Kind::Pq(pq) => Source::Product(&pq.quantizer, pq.codes.as_bytes()),
            Kind::Sq { quantizer, codes } => Source::Scalar(quantizer, codes.as_bytes()),
            Kind::PqFastScan { quantizer, blocks, codes } => {
                Source::FastScan(quantizer, *blocks, codes.as_bytes())
            }
            Kind::Ivf(ivf) => Self::lists(ivf, rows)?,
            Kind::Hnsw(hnsw) => match &hnsw.storage {
                Some(storage) => return Decoder::new(storage, vectors),
                None if rows == 0 => Source::Flat(const { &Packed::Bytes(&[]) }),
                None => {
                    let why = "the file leaves its vectors out (its storage is \"null\")".to_owned();
                    return Err(FaissError::Decode { what: "the graph", why });
                }
            },
            // What refines is the more precise of the two.
            Kind::Refine { refine, .. } => return Decoder::new(refine, vectors),
            Kind::IdMap { ids, inner, .. } => Self::renamed(ids, Decoder::new(inner, vectors)?)?,
            Kind::PreTransform { chain, inner } => {
                let inner = Box::new(Decoder::new(inner, vectors)?);
                if vectors == Vectors::Transformed {
                    return Ok(*inner);
                }
                let chain = if rows == 0 {
                    Vec::new()
                } else {
                    chain.iter().rev().map(Backward::new).collect::<Result<_, _>>()?
                };
                Source::Transformed(chain, inner)
            }
        };
        Ok(Decoder { dim, rows, source })
    }

    fn lists(ivf: &'t Ivf<'t>, rows: usize) -> Result<Source<'t>, FaissError> {
        let mut places = Vec::new();
        match &ivf.lists {
            Some(lists) => {
                places.reserve_exact(rows);
                for (list, filled) in lists.filled.iter().enumerate() {
                    let place = |(offset, id)| Place { id, list: list as u32, offset: offset as u32 };
                    places.extend(filled.ids.iter().enumerate().map(place));
                }
                places.sort_unstable_by_key(|place| (place.id, place.list, place.offset));
            }
            None if rows > 0 => {
                let why = "the file leaves them out; write it from FAISS with its lists".to_owned();
                return Err(FaissError::Decode { what: "the inverted lists", why });
            }
            None => {}
        }
        if let Payload::PqRefined { refine, .. } = &ivf.payload {
            // FAISS looks the second codes up by id, so ids must be positions.
            let is_position = |place: &Place| usize::try_from(place.id).is_ok_and(|id| id < rows);
            if (refine.is_none() && rows > 0) || !places.iter().all(is_position) {
                let why = format!("its ids are not all in 0..{rows}");
                return Err(FaissError::Decode { what: "the refined product codes", why });
            }
        }
        let centroids = match ivf.by_residual && rows > 0 {
            true => Some(Box::new(Decoder::new(&ivf.coarse, Vectors::Original)?)),
            false => None,
        };
        Ok(Source::Lists { ivf, places, centroids })
    }

    fn renamed(ids: &'t Packed<'t, i64>, inner: Decoder<'t>) -> Result<Source<'t>, FaissError> {
        let position = (0..inner.rows).map(|row| inner.id(row)).find(|&id| ids.get(id as usize).is_none());
        match position {
            Some(id) => {
                let why = format!("it names {} positions and the index within holds id {id}", ids.len());
                Err(FaissError::Decode { what: "the id map", why })
            }
            None => Ok(Source::Renamed(ids, Box::new(inner))),
        }
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True when there is no vector.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Values per vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// False when vectors were quantized or projected, so that what comes back is only near what was added.
    pub fn is_exact(&self) -> bool {
        match &self.source {
            Source::Flat(_) => true,
            Source::Product(..) | Source::Scalar(..) | Source::FastScan(..) => false,
            Source::Lists { ivf, .. } => matches!(ivf.payload, Payload::Flat),
            Source::Renamed(_, inner) => inner.is_exact(),
            Source::Transformed(chain, inner) => chain.iter().all(Backward::is_exact) && inner.is_exact(),
        }
    }

    /// User id of row `row`; -1 past the end.
    pub fn id(&self, row: usize) -> i64 {
        match &self.source {
            _ if row >= self.rows => -1,
            Source::Lists { places, .. } => places.get(row).map_or(-1, |place| place.id),
            Source::Renamed(ids, inner) => ids.get(inner.id(row) as usize).unwrap_or(-1),
            Source::Transformed(_, inner) => inner.id(row),
            _ => row as i64,
        }
    }

    /// User ids of all rows.
    pub fn ids(&self) -> Vec<i64> {
        (0..self.rows).map(|row| self.id(row)).collect()
    }

    /// For an inverted file, where each row lies: position of its list among those filled, and offset in it.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let places = match &self.source {
            Source::Lists { places, .. } => &places[..],
            _ => &[],
        };
        places.iter().map(|place| (place.list as usize, place.offset as usize))
    }

    /// For an inverted file, maybe renamed, the number of the list that each row is in.
    pub(super) fn list_numbers(&self) -> Vec<u32> {
        match &self.source {
            Source::Lists { ivf, places, .. } => {
                let filled = ivf.lists.as_ref().map_or(&[][..], |lists| &lists.filled);
                places.iter().map(|place| filled[place.list as usize].number as u32).collect()
            }
            Source::Renamed(_, inner) | Source::Transformed(_, inner) => inner.list_numbers(),
            _ => Vec::new(),
        }
    }

    /// Writes the vector of row `row` to `out`, `[dim]`; every value is finite.
    ///
    /// # Panics
    /// When `row >= len()` or `out` is not `dim()` long.
    pub fn decode(&self, row: usize, out: &mut [f32]) -> Result<(), FaissError> {
        assert!(row < self.rows && out.len() == self.dim, "row {row} of {}", self.rows);
        self.raw(row, out);
        match out.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            Some((column, &value)) => Err(FaissError::NotFinite { id: self.id(row), column, value }),
            None => Ok(()),
        }
    }

    fn raw(&self, row: usize, out: &mut [f32]) {
        match &self.source {
            Source::Flat(values) => copy(values, row * self.dim, out),
            Source::Product(quantizer, codes) => {
                codes::product(quantizer, code(codes, row, quantizer.code_bytes()), out);
            }
            Source::Scalar(quantizer, codes) => {
                codes::scalar(quantizer, code(codes, row, quantizer.code_bytes()), out);
            }
            Source::FastScan(quantizer, blocks, codes) => {
                codes::fast_scan(quantizer, *blocks, codes, row, out)
            }
            Source::Lists { ivf, places, centroids } => {
                if let Some(place) = places.get(row) {
                    listed(ivf, place, centroids.as_deref(), out);
                }
            }
            Source::Renamed(_, inner) => inner.raw(row, out),
            Source::Transformed(chain, inner) => {
                let mut vector = vec![0.0; inner.dim];
                inner.raw(row, &mut vector);
                vector = chain.iter().fold(vector, |vector, backward| backward.apply(vector));
                out.copy_from_slice(&vector);
            }
        }
    }
}

fn copy(values: &Packed<'_, f32>, start: usize, out: &mut [f32]) {
    if let Some(values) = values.range(start, out.len()) {
        out.iter_mut().zip(values).for_each(|(to, from)| *to = from);
    }
}

/// Code `row`; lengths were compared when the file was read.
fn code(codes: &[u8], row: usize, bytes: usize) -> &[u8] {
    &codes[row * bytes..(row + 1) * bytes]
}

/// Decodes an entry of an inverted list.
fn listed(ivf: &Ivf<'_>, place: &Place, centroids: Option<&Decoder<'_>>, out: &mut [f32]) {
    let Some(lists) = &ivf.lists else { return };
    let list = &lists.filled[place.list as usize];
    let offset = place.offset as usize;
    let bytes = list.codes.as_bytes();
    match &ivf.payload {
        Payload::Flat => {
            let vector = code(bytes, offset, 4 * out.len());
            copy(&Packed::Bytes(vector), 0, out);
        }
        Payload::Sq(quantizer) => codes::scalar(quantizer, code(bytes, offset, lists.code_bytes), out),
        Payload::Pq(quantizer) => codes::product(quantizer, code(bytes, offset, lists.code_bytes), out),
        Payload::PqFastScan { quantizer, blocks } => codes::fast_scan(quantizer, *blocks, bytes, offset, out),
        Payload::PqRefined { quantizer, refine, .. } => {
            codes::product(quantizer, code(bytes, offset, lists.code_bytes), out);
            if let Some((second, codes)) = refine {
                let mut rest = vec![0.0; out.len()];
                codes::product(
                    second,
                    code(codes.as_bytes(), place.id as usize, second.code_bytes()),
                    &mut rest,
                );
                out.iter_mut().zip(rest).for_each(|(out, rest)| *out += rest);
            }
        }
    }
    if let Some(centroids) = centroids {
        let mut centroid = vec![0.0; out.len()];
        if list.number < centroids.rows {
            centroids.raw(list.number, &mut centroid);
        }
        out.iter_mut().zip(centroid).for_each(|(out, centroid)| *out += centroid);
    }
}
