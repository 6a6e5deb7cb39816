//! The sample course and the sample pictures, compiled into the binary, and the questions that `bilin demo` asks of them.
//!
//! Everything comes from `samples/` at the root of the repository; `samples/LICENSES.md` says where each picture is from.

use image::imageops;
use image::{DynamicImage, ImageFormat};
use include_dir::{Dir, DirEntry, include_dir};
use std::io::{self, Cursor};
use std::path::Path;

static SAMPLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../samples");

/// Folder of the sample course, below the samples.
pub const COURSE: &str = "course";
/// Folder of the sample pictures, below the samples; its folders are the categories.
pub const PICTURES: &str = "pictures";
/// Questions about the course with the pages that answer them; not in its folder, or it would be searched with it.
pub const KNOWN_ANSWERS: &str = "course-questions.jsonl";

/// What is asked of the course.
pub const QUESTIONS: [&str; 3] = [
    "FAISS的架构包含哪些模块?",
    "向量检索之前为什么要归一化?",
    "how does a graph index find its neighbours so fast?",
];

/// The picture that is searched for as it is.
pub const SAME_PICTURE: &str = "pictures/fish/clownfish.jpg";
/// The picture that is searched for mirrored and cropped.
pub const ALTERED_PICTURE: &str = "pictures/landmarks/eiffel_tower.jpg";

/// One part in so many of width and height is cut off, half of it on each side.
const CROPPED: u32 = 5;

/// Writes the samples below `folder`. Files that are there with the same content are left as they are, so that a second
/// add sees them unchanged.
///
/// # Errors
/// A folder or file that cannot be written.
pub fn write_samples(folder: &Path) -> io::Result<()> {
    write(&SAMPLES, folder)
}

fn write(from: &Dir<'_>, folder: &Path) -> io::Result<()> {
    for entry in from.entries() {
        let path = folder.join(entry.path());
        match entry {
            DirEntry::Dir(inner) => write(inner, folder)?,
            DirEntry::File(file) => {
                if std::fs::read(&path).is_ok_and(|there| there == file.contents()) {
                    continue;
                }
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                std::fs::write(&path, file.contents())?;
            }
        }
    }
    Ok(())
}

/// A sample file's bytes.
pub fn sample(path: &str) -> Option<&'static [u8]> {
    SAMPLES.get_file(path).map(include_dir::File::contents)
}

/// The picture mirrored and with its edges cut off, as a JPEG: what somebody else's copy of it may look like.
///
/// # Errors
/// `bytes` are no picture.
pub fn altered(bytes: &[u8]) -> Result<Vec<u8>, image::ImageError> {
    let mirrored = image::load_from_memory(bytes)?.fliph().to_rgb8();
    let (width, height) = mirrored.dimensions();
    let (left, top) = (width / CROPPED / 2, height / CROPPED / 2);
    let inner = imageops::crop_imm(&mirrored, left, top, width - 2 * left, height - 2 * top).to_image();
    let mut jpeg = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(inner).write_to(&mut jpeg, ImageFormat::Jpeg)?;
    Ok(jpeg.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_demo_asks_for_is_there() {
        for path in [SAME_PICTURE, ALTERED_PICTURE] {
            let bytes = sample(path).unwrap_or_else(|| panic!("{path} is not among the samples"));
            let picture = image::load_from_memory(bytes).unwrap();
            let copy = image::load_from_memory(&altered(bytes).unwrap()).unwrap();
            assert!(copy.width() < picture.width() && copy.height() < picture.height());
        }
        assert!(SAMPLES.get_dir(COURSE).is_some());
        assert!(sample(KNOWN_ANSWERS).is_some());
        assert!(SAMPLES.get_dir(PICTURES).is_some());
    }

    #[test]
    fn samples_are_written_once() {
        let folder = tempfile::tempdir().unwrap();
        write_samples(folder.path()).unwrap();
        let path = folder.path().join(SAME_PICTURE);
        let before = path.metadata().unwrap().modified().unwrap();
        write_samples(folder.path()).unwrap();
        assert_eq!(path.metadata().unwrap().modified().unwrap(), before);
        std::fs::write(&path, b"changed").unwrap();
        write_samples(folder.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), sample(SAME_PICTURE).unwrap());
    }
}
