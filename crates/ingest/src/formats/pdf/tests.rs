//! Files made here, well-formed and hostile, read end to end. Real ones are read in `tests/peer/test_documents.py`.

use super::*;
use crate::Metadata;
use crate::passages;
use crate::read::{Content, Source};
use crate::split::{Budget as Tokens, Split};
use std::fmt::Write as _;
use std::io::Write as _;

/// A file of numbered objects, the first of which is the catalog, with a table that is right.
fn file(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        places.push(bytes.len());
        bytes.extend(format!("{} 0 obj\n", number + 1).into_bytes());
        bytes.extend(object);
        bytes.extend(b"\nendobj\n");
    }
    let table = bytes.len();
    let mut tail = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for place in places {
        writeln!(tail, "{place:010} 00000 n ").unwrap();
    }
    write!(tail, "trailer <</Size {} /Root 1 0 R>>\nstartxref\n{table}\n%%EOF", objects.len() + 1).unwrap();
    bytes.extend(tail.into_bytes());
    bytes
}

fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let mut object = format!("<<{dictionary} /Length {}>> stream\n", content.len()).into_bytes();
    object.extend(content);
    object.extend(b"\nendstream");
    object
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

const HELVETICA: &str = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>";
/// No program and no `ToUnicode`: its codes are known by the name of its encoding alone.
const SONG: &str = "<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/GBK-EUC-H/DescendantFonts[\
    <</Type/Font/Subtype/CIDFontType0/BaseFont/STSong-Light/DW 1000/CIDSystemInfo\
    <</Registry(Adobe)/Ordering(GB1)/Supplement 2>>/FontDescriptor<</Type/FontDescriptor/FontName/STSong-Light/Flags 4>>>>]>>";

/// A file of pages with these contents; `/F1` is Helvetica and `/F2` a Chinese font without a program.
fn pages(contents: &[String]) -> Vec<u8> {
    pages_with(contents, "")
}

fn pages_with(contents: &[String], catalog: &str) -> Vec<u8> {
    let kids: Vec<String> = (0..contents.len()).map(|page| format!("{} 0 R", 3 + 2 * page)).collect();
    let mut objects = vec![
        format!("<</Type/Catalog/Pages 2 0 R {catalog}>>").into_bytes(),
        format!("<</Type/Pages/Count {}/Kids[{}]/MediaBox[0 0 600 800]/Resources<</Font<</F1 {HELVETICA}/F2 {SONG}>>>>>>", kids.len(), kids.join(" "))
            .into_bytes(),
    ];
    for (page, content) in contents.iter().enumerate() {
        objects.push(format!("<</Type/Page/Parent 2 0 R/Contents {} 0 R>>", 4 + 2 * page).into_bytes());
        objects.push(stream("", content.as_bytes()));
    }
    file(&objects)
}

/// Text at a place, from the bottom left as PDF has it.
fn at(x: u32, y: u32, size: u32, text: &str) -> String {
    let is_chinese = !text.is_ascii();
    let (bytes, font) = if is_chinese {
        (encoding_rs::GBK.encode(text).0.into_owned(), "F2")
    } else {
        (text.as_bytes().to_vec(), "F1")
    };
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    format!("BT /{font} {size} Tf {x} {y} Td <{hex}> Tj ET\n")
}

/// Files that are read, for mutations of them.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let page =
        at(72, 700, 20, "第一章 检索") + &at(72, 660, 10, "A line of text.") + "/X Do BI /W 1 /H 1 ID x EI";
    let packed = vec![
        b"<</Type/Catalog/Pages 2 0 R/Outlines<</First 5 0 R>>>>".to_vec(),
        format!("<</Type/Pages/Count 1/Kids[3 0 R]/MediaBox[0 0 600 800]/Resources<</Font<</F1 {HELVETICA}/F2 {SONG}>>>>>>").into_bytes(),
        b"<</Type/Page/Parent 2 0 R/Contents[4 0 R]/Rotate 90>>".to_vec(),
        stream("/Filter[/FlateDecode]", &deflated(page.as_bytes())),
        b"<</Title(One)/Dest[3 0 R/XYZ 0 700 0]/Next 5 0 R>>".to_vec(),
    ];
    vec![pages(&[page, at(72, 700, 10, "Another page.")]), file(&packed)]
}

fn parsed(bytes: Vec<u8>) -> Result<Read, IngestError> {
    read(Path::new("/data/a.pdf"), bytes, &Limits::default())
}

/// Page, heading path and text of each passage.
fn items(bytes: Vec<u8>) -> Vec<(String, String, String)> {
    let count = |text: &str| text.chars().count();
    let tokens = Tokens { tokens: 1000, count: &count, overlap: 0 };
    let sections = parsed(bytes).unwrap().sections;
    passages::items(sections, &Metadata::new(), &Source { name: "a" }, Split::Auto, tokens)
        .into_iter()
        .map(|item| {
            let Content::Text(text) = item.content else { panic!("no text") };
            let page = item.metadata["page"].as_str().unwrap().to_owned();
            (page, passages::heading_path(&item.metadata).unwrap_or_default(), text)
        })
        .collect()
}

fn item(page: &str, path: &str, text: &str) -> (String, String, String) {
    (page.into(), path.into(), text.into())
}

#[test]
fn chinese_without_a_map_and_divided_english() {
    let page = at(72, 700, 20, "第一章 检索")
        + &at(72, 660, 10, "向量检索把文字变成向量，再找最近的邻居，近的就是意思")
        + &at(72, 646, 10, "相近的。")
        + &at(72, 610, 10, "The second paragraph is long enough to have its last word hyphen-")
        + &at(72, 596, 10, "ated at the end of its line.");
    assert_eq!(
        items(pages(&[page])),
        [item(
            "1",
            "第一章 检索",
            "向量检索把文字变成向量，再找最近的邻居，近的就是意思相近的。\n\n\
             The second paragraph is long enough to have its last word hyphenated at the end of its line."
        )]
    );
}

#[test]
fn two_columns_are_read_one_after_the_other() {
    // On the same baselines, and moved by half a line as by a heading of two lines in one of them.
    for moved in [0, 7] {
        let mut page = at(72, 740, 20, "A Title over both columns of it");
        for line in 0..8 {
            let y = 700 - 14 * line;
            page += &at(72, y, 10, &format!("left column text of line {line} that goes on"));
            page += &at(330, y - moved, 10, &format!("right column text of line {line} that goes on"));
        }
        let found = items(pages(&[page]));
        assert_eq!(found.len(), 1, "{found:?}");
        let text = &found[0].2;
        let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} in {text}"));
        assert!(place("left column text of line 7") < place("right column text of line 0"), "{text}");
    }
}

#[test]
fn terms_beside_their_explanations_are_no_columns() {
    let mut page = String::new();
    for term in 0..5 {
        let y = 700 - 56 * term;
        page += &at(72, y, 10, &format!("a term, the number {term}"));
        for line in 0..3 {
            page +=
                &at(250, y - 7 - 14 * line, 10, &format!("explanation {term}, line {line}, of that term"));
        }
    }
    let text = items(pages(&[page])).into_iter().map(|item| item.2).collect::<Vec<_>>().join("\n");
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} in {text}"));
    assert!(place("explanation 0, line 2") < place("the number 1"), "{text}");
}

#[test]
fn tables_are_read_by_rows() {
    let mut page = String::new();
    for (line, (name, value)) in
        [("name", "size"), ("alpha", "1"), ("beta", "22"), ("gamma", "333")].iter().enumerate()
    {
        let y = 700 - 14 * line as u32;
        page += &at(72, y, 10, name);
        page += &at(300, y, 10, value);
    }
    assert_eq!(items(pages(&[page]))[0].2, "name | size\nalpha | 1\nbeta | 22\ngamma | 333");
}

#[test]
fn running_heads_and_page_numbers_are_left_out_and_sentences_go_on_over_pages() {
    let page = |number: u32, body: &str| {
        at(72, 770, 9, "Course notes") + &at(72, 600, 10, body) + &at(300, 30, 9, &format!("- {number} -"))
    };
    let full = "A line that is as wide as the others on this page are";
    let found = items(pages(&[
        page(1, "First page."),
        page(2, full),
        page(3, "and ends here on the third page of this small document."),
        page(4, "Last page."),
    ]));
    let pages: Vec<&str> = found.iter().map(|(page, ..)| page.as_str()).collect();
    assert_eq!(pages, ["1", "2", "4"]);
    assert_eq!(found[1].2, format!("{full} and ends here on the third page of this small document."));
}

#[test]
fn bookmarks_are_the_headings() {
    let contents = [
        at(72, 700, 10, "1.  Introduction") + &at(72, 680, 10, "Text of the first part."),
        at(72, 700, 10, "Text of the second part."),
    ];
    let mut bytes = pages_with(&contents, "/Outlines <</First 7 0 R>> /Dests <</two [5 0 R /XYZ 0 710 0]>>");
    let extra = "7 0 obj <</Title(Introduction)/Dest[3 0 R/XYZ 0 710 0]/Next 8 0 R>> endobj\n\
        8 0 obj <</Title<FEFF68C07D22>/A<</S/GoTo/D/two>>/Next 7 0 R>> endobj\n";
    // Objects that the table does not list: it is repaired.
    let table = memchr::memmem::find(&bytes, b"xref").unwrap();
    bytes.splice(table..table, extra.bytes());
    let broken = memchr::memmem::rfind(&bytes, b"startxref").unwrap();
    bytes.truncate(broken);
    assert_eq!(
        items(bytes),
        [item("1", "Introduction", "Text of the first part."), item("2", "检索", "Text of the second part.")]
    );
}

#[test]
fn scanned_pages_are_named() {
    let picture = "q 500 0 0 700 50 50 cm BI /W 1 /H 1 /BPC 8 /CS /G ID x EI Q".to_owned();
    let text = || at(72, 700, 10, "A page with text that can be read.");
    let read = parsed(pages(&[text(), picture.clone(), picture.clone(), text()])).unwrap();
    assert_eq!(read.sections.len(), 1);
    let reasons: Vec<&str> = read.problems.iter().map(|problem| problem.reason.as_str()).collect();
    assert_eq!(reasons, ["pages 2-3: no text, only a picture of it (scanned?)"]);
    let all = parsed(pages(&[picture.clone(), picture]));
    assert!(matches!(all, Err(IngestError::NoText { pages: 2, scanned: 2 })));
    assert!(parsed(pages(&[String::new()])).unwrap().sections.is_empty(), "a blank page is no scanned one");
}

#[test]
fn what_is_no_pdf_or_has_a_password_is_refused_by_name() {
    for bytes in [b"".to_vec(), b"hello".to_vec(), b"%PDF-1.4\nnothing more".to_vec(), vec![0; 4096]] {
        assert!(matches!(parsed(bytes), Err(IngestError::Damaged { .. })));
    }
    let mut locked = pages(&[at(72, 700, 10, "secret")]);
    let trailer = memchr::memmem::find(&locked, b"trailer <<").unwrap() + b"trailer <<".len();
    let key = "00".repeat(32);
    let entry =
        format!("/ID[<00><00>]/Encrypt<</Filter/Standard/V 2/R 3/Length 128/P -44/O<{key}>/U<{key}>>> ");
    locked.splice(trailer..trailer, entry.bytes());
    assert!(matches!(parsed(locked), Err(IngestError::Encrypted { format: "PDF" })));
}

#[test]
fn rings_of_pages_and_forms_end() {
    let ring = file(&[
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Count 9/Kids[2 0 R 3 0 R 2 0 R]>>".to_vec(),
        b"<</Type/Pages/Parent 2 0 R/Kids[2 0 R 3 0 R]>>".to_vec(),
    ]);
    assert!(parsed(ring).is_err());
    // Each form shows the next one ten times: 10^12 at the end.
    let mut objects = vec![
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>".to_vec(),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>"
            .to_vec(),
        stream("", b"/X Do"),
    ];
    for number in 5..20 {
        let dictionary = format!(
            "/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X {} 0 R>>>>",
            number + 1
        );
        objects.push(stream(&dictionary, "/X Do ".repeat(10).as_bytes()));
    }
    objects.push(stream(
        "/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 20 0 R>>>>",
        b"/X Do",
    ));
    let started = Instant::now();
    let limits = Limits { seconds: 2, ..Limits::default() };
    let read = read(Path::new("a.pdf"), file(&objects), &limits);
    assert!(matches!(read, Err(IngestError::TooSlow { .. } | IngestError::Unfolds { .. })));
    assert!(started.elapsed().as_secs() < 30);
}

#[test]
fn streams_that_explode_are_refused() {
    let bomb = deflated(&vec![b' '; 200 << 20]);
    let objects = |resources: &str, bomb: Vec<u8>| {
        vec![
            b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
            b"<</Type/Pages/Count 1/Kids[3 0 R]>>".to_vec(),
            format!("<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<<{resources}>>>>")
                .into_bytes(),
            bomb,
            stream("", b""),
        ]
    };
    let content = stream("/Filter/FlateDecode", &bomb);
    assert!(matches!(parsed(file(&objects("", content))), Err(IngestError::Unfolds { unit: "bytes", .. })));
    let twice = stream("/Filter[/FlateDecode/FlateDecode]", &deflated(&bomb));
    assert!(parsed(file(&objects("", twice))).unwrap().sections.is_empty(), "packed twice is passed over");
    // A picture says that it has 10^10 points, and is never unpacked.
    let huge =
        stream("/Subtype/Image/Width 100000/Height 100000/BitsPerComponent 8/Filter/DCTDecode", b"\xFF\xD8");
    let mut with_picture = objects("/XObject<</X 5 0 R>>", stream("", b"q 9 0 0 9 0 0 cm /X Do Q"));
    with_picture[4] = huge;
    assert!(matches!(parsed(file(&with_picture)), Err(IngestError::NoText { pages: 1, scanned: 1 })));
}

#[test]
fn ten_thousand_pages_in_bounded_time() {
    let contents: Vec<String> =
        (0..10_000).map(|page| at(72, 400, 10, &format!("Text of page {page}."))).collect();
    let bytes = pages(&contents);
    let started = Instant::now();
    let read = parsed(bytes.clone()).unwrap();
    assert!(read.problems.is_empty());
    assert_eq!(read.sections[0].units.last().unwrap().pages, Some((10_000, 10_000)));
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    let limits = Limits { pages: 9_999, ..Limits::default() };
    let refused = super::read(Path::new("a.pdf"), bytes, &limits);
    assert!(matches!(refused, Err(IngestError::Unfolds { unit: "pages", limit: 9_999 })));
}

#[test]
fn page_ranges_read_well() {
    assert_eq!(ranges(&[3]), "page 3");
    assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "pages 1-3, 7, 9-10");
    let odd: Vec<usize> = (0..30).map(|page| 2 * page + 1).collect();
    assert!(ranges(&odd).ends_with("39 and 10 more ranges"));
}
