//! Where the shapes of a slide stand, and with that the order in which they are read.
//!
//! The order of a slide's tree is the order in which shapes were made: bullets that were there before the table above them come first in it.
//! A slide is cut like a page (the recursive X-Y cut of Nagy and Seth 1984): at white space from side to side into bands, which are
//! read from top to bottom; a band at white space from top to bottom into columns, from left to right; and so on within each. What
//! cannot be cut is read in rows. Boxes in a grid can be cut both ways: they are read down each column if the tree has
//! them so, as PowerPoint's own layout of a comparison does, else across.
//!
//! A placeholder without a place of its own stands where its layout puts it, else where the master puts its kind. A shape whose
//! place is nowhere stated follows the one before it in the tree. Titles come first, and what says nothing (pictures, lines,
//! coloured areas) stands in nobody's way. Lengths are EMU (914 400 to the inch).

use crate::xml;
use roxmltree::Node;
use std::collections::HashMap;

/// Tops that differ by less are of one row: 6 mm, so that boxes beside each other need not be aligned exactly.
const ROW_EMU: i64 = 216_000;
/// What boxes may overlap by and still stand apart: text seldom fills its box.
const OVERLAP_EMU: i64 = 216_000;
/// Longer lists of shapes keep the order of their tree.
const MAX_SHAPES: usize = 10_000;
/// Bands within columns within bands, at most; what lies deeper is read in rows.
const MAX_CUTS: usize = 8;
/// Bands that are tried as one grid.
const MAX_GRID_BANDS: usize = 16;

/// Where a shape stands; of no size where none is stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    left: i64,
    top: i64,
    width: i64,
    height: i64,
}

/// A shape that says something, with its position in the tree.
#[derive(Clone, Copy)]
struct Placed<'a, 'i> {
    place: Place,
    position: usize,
    shape: Node<'a, 'i>,
}

/// The two ways to cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Bands,
    Columns,
}

/// Places of the placeholders of a layout.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    by_index: HashMap<String, Place>,
    by_kind: HashMap<String, Place>,
}

impl Places {
    /// Those of a layout, or of a master; what it leaves open is as `above` has it.
    pub(super) fn of(shapes: Option<Node<'_, '_>>, above: &Places) -> Places {
        let mut places = Places { by_kind: above.by_kind.clone(), ..Places::default() };
        for shape in shapes.into_iter().flat_map(xml::children) {
            let Some(placeholder) = placeholder(shape) else { continue };
            let kind = kind(placeholder);
            let Some(place) = own_place(shape).or_else(|| above.by_kind.get(kind).copied()) else {
                continue;
            };
            if let Some(index) = xml::attribute(placeholder, "idx") {
                places.by_index.insert(index.to_owned(), place);
            }
            // The first of its kind; a slide's placeholders name theirs by index where there are several.
            if own_place(shape).is_some() {
                places.by_kind.insert(kind.to_owned(), place);
            }
        }
        places
    }

    fn place(&self, shape: Node<'_, '_>) -> Option<Place> {
        if xml::name(shape) == "AlternateContent" {
            return xml::children(xml::alternative(shape)?).find_map(|inner| self.place(inner));
        }
        own_place(shape).or_else(|| {
            let placeholder = placeholder(shape)?;
            let by_index = xml::attribute(placeholder, "idx").and_then(|index| self.by_index.get(index));
            by_index.or_else(|| self.by_kind.get(kind(placeholder))).copied()
        })
    }

    /// The shapes of a slide, or of a group on it, in reading order.
    pub(super) fn in_order<'a, 'i>(&self, shapes: Node<'a, 'i>) -> Vec<Node<'a, 'i>> {
        let (mut ordered, mut placed) = (Vec::new(), Vec::new());
        let mut last = Place::default();
        for (position, shape) in xml::children(shapes).enumerate() {
            last = self.place(shape).unwrap_or(last);
            if placeholder(shape).is_some_and(|placeholder| kind(placeholder) == "title") {
                ordered.push(shape);
            } else if says_something(shape) {
                placed.push(Placed { place: last, position, shape });
            }
        }
        if placed.len() <= MAX_SHAPES {
            placed = read(placed, MAX_CUTS);
        }
        ordered.extend(placed.into_iter().map(|placed| placed.shape));
        ordered
    }
}

/// Shapes in reading order.
fn read<'a, 'i>(shapes: Vec<Placed<'a, 'i>>, cuts_left: usize) -> Vec<Placed<'a, 'i>> {
    if shapes.len() < 2 || cuts_left == 0 {
        return in_rows(shapes);
    }
    let bands = cut(shapes, Cut::Bands);
    let mut rest = bands.as_slice();
    let mut ordered = Vec::new();
    while !rest.is_empty() {
        let (grid, below) = rest.split_at(bands_of_grid(rest));
        let columns = cut(grid.concat(), Cut::Columns);
        let is_whole = columns.len() == 1;
        for column in columns {
            ordered.extend(if is_whole { in_rows(column) } else { read(column, cuts_left - 1) });
        }
        rest = below;
    }
    ordered
}

/// How many bands, the first one at least, are read column by column: as many as the tree goes through in that order.
fn bands_of_grid(bands: &[Vec<Placed<'_, '_>>]) -> usize {
    let goes_down = |count: &usize| {
        let columns = cut(bands.get(..*count).unwrap_or_default().concat(), Cut::Columns);
        let spans = columns.iter().filter_map(|column| {
            let positions = column.iter().map(|placed| placed.position);
            positions.clone().min().zip(positions.max())
        });
        let spans: Vec<(usize, usize)> = spans.collect();
        spans.len() > 1 && spans.windows(2).all(|pair| matches!(pair, [(_, last), (next, _)] if last < next))
    };
    (2..=bands.len().min(MAX_GRID_BANDS)).rev().find(goes_down).unwrap_or(1)
}

/// Shapes between white space that goes through all of them, in its order.
fn cut<'a, 'i>(mut shapes: Vec<Placed<'a, 'i>>, cut: Cut) -> Vec<Vec<Placed<'a, 'i>>> {
    let start = |placed: &Placed<'_, '_>| match cut {
        Cut::Bands => placed.place.top,
        Cut::Columns => placed.place.left,
    };
    // Where a box begins and ends, without what may lie under its neighbours.
    let span = |placed: &Placed<'_, '_>| {
        let length = match cut {
            Cut::Bands => placed.place.height,
            Cut::Columns => placed.place.width,
        };
        let margin = (OVERLAP_EMU / 2).min(length / 4);
        let end = start(placed).saturating_add(length);
        (start(placed).saturating_add(margin), end.saturating_sub(margin))
    };
    shapes.sort_by_key(|placed| span(placed).0);
    let mut parts: Vec<Vec<Placed<'a, 'i>>> = Vec::new();
    let (mut first, mut last) = (0, 0);
    for placed in shapes {
        let (begin, end) = span(&placed);
        let is_row = cut == Cut::Bands && start(&placed).saturating_sub(first) < ROW_EMU;
        match parts.last_mut() {
            Some(part) if begin <= last || is_row => {
                part.push(placed);
                last = end.max(last);
                first = start(&placed).min(first);
            }
            _ => {
                parts.push(vec![placed]);
                (first, last) = (start(&placed), end);
            }
        }
    }
    parts
}

/// Rows from top to bottom, each from left to right: for shapes that lie over each other.
fn in_rows<'a, 'i>(mut shapes: Vec<Placed<'a, 'i>>) -> Vec<Placed<'a, 'i>> {
    shapes.sort_by_key(|placed| (placed.place.top, placed.place.left, placed.position));
    let mut row_top = i64::MIN;
    for placed in &mut shapes {
        if placed.place.top.saturating_sub(row_top) >= ROW_EMU {
            row_top = placed.place.top;
        }
        placed.place.top = row_top;
    }
    shapes.sort_by_key(|placed| (placed.place.top, placed.place.left));
    shapes
}

/// Whether there are words in a shape, or a table or diagram.
fn says_something(shape: Node<'_, '_>) -> bool {
    match xml::name(shape) {
        "sp" | "grpSp" => {
            let is_text = |text: Node<'_, '_>| text.text().is_some_and(|text| !text.trim().is_empty());
            let repeats = placeholder(shape).is_some_and(|it| matches!(kind(it), "dt" | "ftr" | "sldNum"));
            let has_words = xml::below(shape, "t").any(is_text);
            !repeats && (has_words || xml::below(shape, "graphicFrame").next().is_some())
        }
        "graphicFrame" | "AlternateContent" => true,
        _ => false,
    }
}

fn placeholder<'a, 'i>(shape: Node<'a, 'i>) -> Option<Node<'a, 'i>> {
    let properties = ["nvSpPr", "nvGraphicFramePr", "nvPicPr"];
    properties.iter().find_map(|properties| xml::at(shape, &[properties, "nvPr", "ph"]))
}

/// What a placeholder is to a master, which has one for titles and one for all other content.
fn kind<'a>(placeholder: Node<'a, '_>) -> &'a str {
    match xml::attribute(placeholder, "type") {
        Some("title" | "ctrTitle") => "title",
        Some(repeated @ ("dt" | "ftr" | "sldNum")) => repeated,
        _ => "body",
    }
}

fn own_place(shape: Node<'_, '_>) -> Option<Place> {
    let paths: [&[&str]; 3] = [&["spPr", "xfrm"], &["xfrm"], &["grpSpPr", "xfrm"]];
    let frame = paths.iter().find_map(|path| xml::at(shape, path))?;
    let length = |of: &str, name| xml::attribute(xml::child(frame, of)?, name)?.trim().parse().ok();
    let size = |name| length("ext", name).unwrap_or(0).max(0);
    Some(Place { left: length("off", "x")?, top: length("off", "y")?, width: size("cx"), height: size("cy") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "<txBody><p><r><t>words</t></r></p></txBody>";

    fn order(slide: &str, layout: &str, master: &str) -> String {
        let parse = |text: &str| format!("<t>{text}</t>");
        let (slide, layout, master) = (parse(slide), parse(layout), parse(master));
        let tree = |text| roxmltree::Document::parse(text).unwrap();
        let (slide, layout, master) = (tree(&slide), tree(&layout), tree(&master));
        let master = Places::of(Some(master.root_element()), &Places::default());
        let places = Places::of(Some(layout.root_element()), &master);
        let shapes = places.in_order(slide.root_element()).into_iter();
        shapes.filter_map(|shape| xml::attribute(shape, "n")).collect()
    }

    /// A shape with words at a corner, of no size.
    fn at(name: &str, x: i64, y: i64) -> String {
        boxed(name, x, y, 0, 0)
    }

    fn boxed(name: &str, x: i64, y: i64, width: i64, height: i64) -> String {
        format!(
            "<sp n='{name}'><spPr><xfrm><off x='{x}' y='{y}'/><ext cx='{width}' cy='{height}'/></xfrm></spPr>{WORDS}</sp>"
        )
    }

    /// The same in millimetres.
    fn mm(name: &str, place: [i64; 4]) -> String {
        let [x, y, width, height] = place.map(|mm| mm * 36_000);
        boxed(name, x, y, width, height)
    }

    #[test]
    fn rows_are_read_from_top_to_bottom_and_each_from_left_to_right() {
        let frame = "<graphicFrame n='t'><xfrm><off x='0' y='900000'/></xfrm></graphicFrame>";
        let slide =
            [&at("d", 0, 5_000_000), frame, &at("b", 4_000_000, 100_000), &at("a", 0, 190_000)].concat();
        assert_eq!(order(&slide, "", ""), "abtd");
        // One of unknown place follows the one before it in the tree.
        let slide = [at("b", 0, 2_000_000), format!("<sp n='c'>{WORDS}</sp>"), at("a", 0, 0)].concat();
        assert_eq!(order(&slide, "", ""), "abc");
        let far = at("a", i64::MIN, i64::MIN) + &at("b", i64::MAX, i64::MAX);
        assert_eq!(order(&far, "", ""), "ab");
    }

    #[test]
    fn placeholders_stand_where_layout_or_master_puts_them() {
        let holder = |name: &str, more: &str, place: &str| {
            format!(
                "<sp n='{name}'><nvSpPr><nvPr><ph {more}/></nvPr></nvSpPr><spPr>{place}</spPr>{WORDS}</sp>"
            )
        };
        let place = |y: i64| format!("<xfrm><off x='0' y='{y}'/></xfrm>");
        let slide = holder("b", "idx='1'", "") + &at("a", 0, 1_000_000) + &holder("c", "idx='2'", "");
        let layout = holder("", "idx='1'", "") + &holder("", "idx='2'", &place(4_000_000));
        let master = holder("", "type='body' idx='9'", &place(2_000_000));
        assert_eq!(order(&slide, &layout, &master), "abc");
        let layout = holder("", "idx='1'", &place(0)) + &holder("", "idx='2'", &place(4_000_000));
        assert_eq!(order(&slide, &layout, &master), "bac");
    }

    #[test]
    fn columns_beside_each_other_are_read_one_after_the_other() {
        // The right one begins higher.
        let slide = mm("b", [130, 40, 100, 100]) + &mm("a", [20, 52, 100, 88]);
        assert_eq!(order(&slide, "", ""), "ab");
        // Three boxes beside a tall one, under a line over all and above one: whatever the tree says.
        let slide = mm("f", [20, 160, 210, 10])
            + &mm("d", [20, 120, 100, 30])
            + &mm("e", [130, 40, 100, 110])
            + &mm("b", [20, 40, 100, 30])
            + &mm("c", [20, 80, 100, 30])
            + &mm("a", [20, 20, 210, 10]);
        assert_eq!(order(&slide, "", ""), "abcdef");
        // Boxes that lie a little over each other, as those of texts do.
        let slide = mm("c", [118, 40, 100, 90]) + &mm("a", [20, 40, 100, 45]) + &mm("b", [20, 82, 100, 45]);
        assert_eq!(order(&slide, "", ""), "abc");
    }

    #[test]
    fn a_grid_is_read_as_the_tree_goes_through_it() {
        let (left, right) = ([20, 120], [130, 120]);
        let head = |name: &str, [x, _]: [i64; 2]| mm(name, [x, 40, 100, 15]);
        let body = |name: &str, [x, height]: [i64; 2]| mm(name, [x, 56, 100, height]);
        // A comparison, as PowerPoint lays it out: a head and its points, twice.
        let by_columns = [head("a", left), body("b", left), head("c", right), body("d", right)].concat();
        assert_eq!(order(&by_columns, "", ""), "abcd");
        let by_rows = [head("a", left), head("b", right), body("c", left), body("d", right)].concat();
        assert_eq!(order(&by_rows, "", ""), "abcd");
        // No order at all: across.
        let by_chance = [body("c", left), head("b", right), body("d", right), head("a", left)].concat();
        assert_eq!(order(&by_chance, "", ""), "abcd");
        // What stands under both columns was made last.
        let below = mm("e", [20, 180, 100, 10]);
        assert_eq!(order(&(by_columns.clone() + &below), "", ""), "abcde");
        // A picture, an area and the number of the page stand in nobody's way.
        let area =
            "<sp><spPr><xfrm><off x='0' y='0'/><ext cx='9144000' cy='6858000'/></xfrm></spPr></sp><pic/>";
        let number = "<sp n='n'><nvSpPr><nvPr><ph type='sldNum'/></nvPr></nvSpPr><txBody><p><r><t>7</t></r></p></txBody></sp>";
        assert_eq!(order(&[area, number, &by_columns, &below].concat(), "", ""), "abcde");
    }

    #[test]
    fn the_title_is_first_wherever_it_stands() {
        let title = "<sp n='t'><nvSpPr><nvPr><ph type='title'/></nvPr></nvSpPr></sp>";
        assert_eq!(order(&(at("a", 0, 0) + title), "", ""), "ta");
    }

    #[test]
    fn many_shapes_are_ordered_in_bounded_time() {
        // A staircase within a staircase, each step cut off by one more cut.
        let steps: String = (0..3_000)
            .map(|n| match n % 2 {
                0 => boxed("x", n * 1_000_000, n * 1_000_000, 1_000_000, 9_000_000_000 - n * 1_000_000),
                _ => boxed("x", n * 1_000_000, n * 1_000_000, 9_000_000_000 - n * 1_000_000, 1_000_000),
            })
            .collect();
        let begun = std::time::Instant::now();
        assert_eq!(order(&steps, "", "").len(), 3_000);
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }
}
