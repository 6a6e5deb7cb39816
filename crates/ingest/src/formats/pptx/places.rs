//! Where the shapes of a slide stand, and with that the order in which they are read: rows from top to bottom, each from left to right.
//!
//! The order of a slide's tree is the order in which shapes were made: bullets that were there before the table above them come first in it.
//! A placeholder without a place of its own stands where its layout puts it, else where the master puts its kind. A shape whose
//! place is nowhere stated follows the one before it in the tree. Lengths are EMU (914 400 to the inch).

use crate::xml;
use roxmltree::Node;
use std::collections::HashMap;

/// Tops that differ by less are of one row: 6 mm, so that boxes beside each other need not be aligned exactly.
const ROW_EMU: i64 = 216_000;
/// Longer lists of shapes keep the order of their tree.
const MAX_SHAPES: usize = 10_000;

/// Top and left.
type Corner = (i64, i64);

/// Corners of the placeholders of a layout.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    by_index: HashMap<String, Corner>,
    by_kind: HashMap<String, Corner>,
}

impl Places {
    /// Those of a layout, or of a master; what it leaves open is as `above` has it.
    pub(super) fn of(shapes: Option<Node<'_, '_>>, above: &Places) -> Places {
        let mut places = Places { by_kind: above.by_kind.clone(), ..Places::default() };
        for shape in shapes.into_iter().flat_map(xml::children) {
            let Some(placeholder) = placeholder(shape) else { continue };
            let kind = kind(placeholder);
            let Some(corner) = own_corner(shape).or_else(|| above.by_kind.get(kind).copied()) else {
                continue;
            };
            if let Some(index) = xml::attribute(placeholder, "idx") {
                places.by_index.insert(index.to_owned(), corner);
            }
            // The first of its kind; a slide's placeholders name theirs by index where there are several.
            if own_corner(shape).is_some() {
                places.by_kind.insert(kind.to_owned(), corner);
            }
        }
        places
    }

    fn corner(&self, shape: Node<'_, '_>) -> Option<Corner> {
        if xml::name(shape) == "AlternateContent" {
            return xml::children(xml::alternative(shape)?).find_map(|inner| self.corner(inner));
        }
        own_corner(shape).or_else(|| {
            let placeholder = placeholder(shape)?;
            let by_index = xml::attribute(placeholder, "idx").and_then(|index| self.by_index.get(index));
            by_index.or_else(|| self.by_kind.get(kind(placeholder))).copied()
        })
    }

    /// The shapes of a slide, or of a group on it, in reading order.
    pub(super) fn in_order<'a, 'i>(&self, shapes: Node<'a, 'i>) -> Vec<Node<'a, 'i>> {
        let mut last = (0, 0);
        let mut placed: Vec<(Corner, Node<'a, 'i>)> = Vec::new();
        for shape in xml::children(shapes) {
            last = self.corner(shape).unwrap_or(last);
            placed.push((last, shape));
        }
        if placed.len() <= MAX_SHAPES {
            placed.sort_by_key(|(corner, _)| *corner);
            let mut row_top = i64::MIN;
            for ((top, _), _) in &mut placed {
                if top.saturating_sub(row_top) >= ROW_EMU {
                    row_top = *top;
                }
                *top = row_top;
            }
            placed.sort_by_key(|(corner, _)| *corner);
        }
        placed.into_iter().map(|(_, shape)| shape).collect()
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

fn own_corner(shape: Node<'_, '_>) -> Option<Corner> {
    let paths: [&[&str]; 3] = [&["spPr", "xfrm", "off"], &["xfrm", "off"], &["grpSpPr", "xfrm", "off"]];
    let offset = paths.iter().find_map(|path| xml::at(shape, path))?;
    let length = |name| xml::attribute(offset, name)?.trim().parse().ok();
    Some((length("y")?, length("x")?))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn at(name: &str, x: i64, y: i64) -> String {
        format!("<sp n='{name}'><spPr><xfrm><off x='{x}' y='{y}'/></xfrm></spPr></sp>")
    }

    #[test]
    fn rows_are_read_from_top_to_bottom_and_each_from_left_to_right() {
        let frame = "<graphicFrame n='t'><xfrm><off x='0' y='900000'/></xfrm></graphicFrame>";
        let slide =
            [&at("d", 0, 5_000_000), frame, &at("b", 4_000_000, 100_000), &at("a", 0, 190_000)].concat();
        assert_eq!(order(&slide, "", ""), "abtd");
        // One of unknown place follows the one before it in the tree.
        let slide = [&at("b", 0, 2_000_000), "<sp n='c'/>", &at("a", 0, 0)].concat();
        assert_eq!(order(&slide, "", ""), "abc");
        let far = at("a", i64::MIN, i64::MIN) + &at("b", i64::MAX, i64::MAX);
        assert_eq!(order(&far, "", ""), "ab");
    }

    #[test]
    fn placeholders_stand_where_layout_or_master_puts_them() {
        let holder = |name: &str, more: &str, place: &str| {
            format!("<sp n='{name}'><nvSpPr><nvPr><ph {more}/></nvPr></nvSpPr><spPr>{place}</spPr></sp>")
        };
        let place = |y: i64| format!("<xfrm><off x='0' y='{y}'/></xfrm>");
        let slide = holder("b", "idx='1'", "") + &at("a", 0, 1_000_000) + &holder("c", "idx='2'", "");
        let layout = holder("", "idx='1'", "") + &holder("", "idx='2'", &place(4_000_000));
        let master = holder("", "type='body' idx='9'", &place(2_000_000));
        assert_eq!(order(&slide, &layout, &master), "abc");
        let layout = holder("", "idx='1'", &place(0)) + &holder("", "idx='2'", &place(4_000_000));
        assert_eq!(order(&slide, &layout, &master), "bac");
    }
}
