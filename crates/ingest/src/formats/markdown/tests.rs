//! Markdown as sections and passages.
