//! What elements are: silent, blocks, closed by others; and which parts of a page are furniture.

use html5ever::tokenizer::Tag;

/// Elements whose content is no text of the page.
const SILENT: &[&str] = &[
    "script",
    "style",
    "svg",
    "template",
    "iframe",
    "object",
    "canvas",
    "select",
    "audio",
    "video",
    "noscript",
    "annotation",
    "annotation-xml",
    "button",
    "textarea",
    "dialog",
    "noframes",
    "datalist",
    "map",
];
/// Elements around a page's text.
const FURNITURE: &[&str] = &["nav", "aside", "footer", "menu"];
/// Roles of the same.
const FURNITURE_ROLES: &[&str] = &[
    "navigation",
    "banner",
    "contentinfo",
    "search",
    "complementary",
    "menu",
    "menubar",
    "toolbar",
    "dialog",
    "alert",
];
/// Words of classes and ids that sites and generators of manuals give to such parts.
const FURNITURE_NAMES: &[&str] = &[
    "nav",
    "navbar",
    "navigation",
    "navheader",
    "navfooter",
    "navpanel",
    "menu",
    "sidebar",
    "sphinxsidebar",
    "sidenav",
    "breadcrumb",
    "breadcrumbs",
    "toc",
    "tableofcontents",
    "table-of-contents",
    "footer",
    "site-footer",
    "site-header",
    "masthead",
    "cookie",
    "cookies",
    "share",
    "social",
    "advert",
    "advertisement",
    "ads",
    "banner",
    "pagination",
    "pager",
    "related",
    "skip-link",
    "skiplink",
    "searchbox",
    "search",
    "headerlink",
    "anchorjs-link",
    "linenos",
    "linenodiv",
    "gutter",
    "copyright",
    "prevnext",
    "prev-next",
    "bottomnav",
    "topnav",
    "editsection",
    "mw-editsection",
    "printonly",
    "noprint",
    "lang-switch",
];
/// Elements without content.
const VOID: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track",
    "wbr",
];
/// Elements that begin a line of their own.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "details",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hgroup",
    "hr",
    "html",
    "legend",
    "li",
    "main",
    "menu",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "ul",
];

pub(super) fn is_silent(name: &str) -> bool {
    SILENT.contains(&name)
}

pub(super) fn is_void(name: &str) -> bool {
    VOID.contains(&name)
}

pub(super) fn is_block(name: &str) -> bool {
    BLOCKS.contains(&name)
}

/// The level of a heading element.
pub(super) fn heading_level(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', digit @ b'1'..=b'6'] => Some(digit - b'0'),
        _ => None,
    }
}

pub(super) fn attribute<'t>(tag: &'t Tag, name: &str) -> Option<&'t str> {
    tag.attrs.iter().find(|attribute| &*attribute.name.local == name).map(|attribute| &*attribute.value)
}

/// Whether an element and all within are never shown.
pub(super) fn is_hidden(tag: &Tag) -> bool {
    let is_off = attribute(tag, "hidden").is_some() || attribute(tag, "aria-hidden") == Some("true");
    is_off || attribute(tag, "style").is_some_and(|style| style.replace(' ', "").contains("display:none"))
}

/// Whether an element is a part around the page's text. The body itself never is.
pub(super) fn is_furniture(tag: &Tag) -> bool {
    let name: &str = &tag.name;
    if matches!(name, "html" | "body" | "main" | "article" | "h1" | "pre" | "code") {
        return false;
    }
    if FURNITURE.contains(&name) || attribute(tag, "role").is_some_and(|role| FURNITURE_ROLES.contains(&role))
    {
        return true;
    }
    let named = ["class", "id"].into_iter().filter_map(|kind| attribute(tag, kind));
    named
        .flat_map(str::split_ascii_whitespace)
        .any(|word| FURNITURE_NAMES.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// Whether an element is marked as the page's main part.
pub(super) fn is_main(tag: &Tag) -> bool {
    &*tag.name == "main" || &*tag.name == "article" || attribute(tag, "role") == Some("main")
}

/// Elements that an opening tag closes, and those that keep it from doing so.
pub(super) fn closes(name: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match name {
        "li" => (&["li"], &["ul", "ol", "menu", "dir", "table"]),
        "dt" | "dd" => (&["dt", "dd"], &["dl", "table"]),
        "tr" => (&["tr", "td", "th", "caption"], &["table"]),
        "td" | "th" => (&["td", "th"], &["table", "tr"]),
        "thead" | "tbody" | "tfoot" => {
            (&["thead", "tbody", "tfoot", "tr", "td", "th", "caption"], &["table"])
        }
        "option" => (&["option"], &["select"]),
        _ if is_block(name) => (&["p"], &["table", "td", "th", "li", "dd", "div", "button"]),
        _ => (&[], &[]),
    }
}

/// Elements that a closing tag of another kind does not reach over.
pub(super) fn is_barrier(open: &str, closing: &str) -> bool {
    open == "table" && closing != "table" && !matches!(closing, "body" | "html")
}
