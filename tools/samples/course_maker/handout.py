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
    before = None
    for block in blocks:
        paragraph = write(document, block)
        if block.kind == "number":
            before = before or new_numbering(document)
            paragraph.paragraph_format.element.get_or_add_pPr().get_or_add_numPr().get_or_add_numId().val = before
        else:
            before = None
    return packed(document)


def new_numbering(document):
    """A list that begins at 1: lists of one style are otherwise numbered through the document."""
    numbering = document.part.numbering_part.element
    style = document.styles[STYLES["number"]].element.pPr.numPr.numId.val
    abstract = numbering.num_having_numId(style).abstractNumId.val
    number = numbering.add_num(abstract)
    number.add_lvlOverride(0).add_startOverride(1)
    return number.numId


def write(document, block):
    """Adds the block; running text is answered as its paragraph."""
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
        return document.add_paragraph(block.text.replace("`", ""), style=STYLES[block.kind])
    else:
        raise ValueError(f"a handout has no {block.kind}")
    return None
