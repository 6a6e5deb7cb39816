"""A handout: heading styles, lists, tables, listings and page breaks, as a word processor writes them."""

from course_maker.package import packed, sign
from docx import Document
from docx.enum.text import WD_BREAK
from docx.oxml.ns import qn

CHINESE_FONT, LISTING_FONT = "Noto Sans CJK SC", "Noto Sans Mono"
STYLES = {"paragraph": None, "bullet": "List Bullet", "number": "List Number"}


def make(blocks, chinese):
    """The bytes of a docx."""
    document = Document()
    sign(document, blocks[0].text, "zh-CN" if chinese else "en")
    if chinese:
        fonts = document.styles["Normal"].element.get_or_add_rPr().get_or_add_rFonts()
        fonts.set(qn("w:eastAsia"), CHINESE_FONT)
    for block in blocks:
        write(document, block)
    return packed(document)


def write(document, block):
    if block.kind == "heading":
        document.add_heading(block.text, block.level)
    elif block.kind == "table":
        table = document.add_table(len(block.rows), len(block.rows[0]), style="Table Grid")
        for row, cells in zip(table.rows, block.rows):
            for cell, text in zip(row.cells, cells):
                cell.text = text
    elif block.kind == "code":
        lines = document.add_paragraph().add_run("\n".join(block.rows))
        lines.font.name = LISTING_FONT
    elif block.kind == "page":
        document.add_paragraph().add_run().add_break(WD_BREAK.PAGE)
    elif block.kind in STYLES:
        document.add_paragraph(block.text.replace("`", ""), style=STYLES[block.kind])
    else:
        raise ValueError(f"a handout has no {block.kind}")
