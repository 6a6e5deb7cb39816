"""A reading: a typeset PDF with a running head, page numbers, an outline, and pages of one or two columns.

Chinese is set in a subset of WenQuanYi Micro Hei (Apache-2.0, Debian's fonts-wqy-microhei), embedded with the table from
glyphs to characters; English in Times, which every reader has.
"""

import io

from reportlab import rl_config
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import BaseDocTemplate, Frame, FrameBreak, NextPageTemplate, PageBreak, PageTemplate
from reportlab.platypus import Paragraph, Spacer, Table

CHINESE_FONT = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"
MARGIN, GUTTER, TITLE_HEIGHT = 16 * mm, 6 * mm, 22 * mm
RUNNING_HEAD = {True: "向量检索课程 · 选读", False: "Vector retrieval course · reading"}


class Reading(BaseDocTemplate):
    """Fills the PDF's outline with the headings as they are placed."""

    def afterFlowable(self, flowable):
        level = getattr(flowable, "outline_level", None)
        if level is not None:
            self.canv.bookmarkPage(flowable.key)
            self.canv.addOutlineEntry(flowable.getPlainText(), flowable.key, level)


def make(blocks, chinese):
    """The bytes of a PDF, the same in every run."""
    rl_config.invariant, rl_config.useA85 = 1, 0
    fonts = ("MicroHei", "MicroHei", "MicroHei") if chinese else ("Times-Roman", "Times-Bold", "Times-Italic")
    if chinese:
        pdfmetrics.registerFont(TTFont("MicroHei", CHINESE_FONT, subfontIndex=0))
    styles = styles_of(fonts, chinese)
    written = io.BytesIO()
    document = Reading(written, pagesize=A5, title=blocks[0].text, author="bilin", lang="zh-CN" if chinese else "en")
    document.addPageTemplates(templates(A5, running(fonts[2], chinese), over_columns(blocks)))
    document.build(story(blocks, styles))
    return written.getvalue()


def styles_of(fonts, chinese):
    body, bold, _ = fonts
    wrap = "CJK" if chinese else None
    size = 10 if chinese else 9.5

    def style(name, font, factor, before, after):
        return ParagraphStyle(name, fontName=font, fontSize=size * factor, leading=size * factor * 1.5, wordWrap=wrap,
                              spaceBefore=before, spaceAfter=after, keepWithNext=factor > 1)

    return {1: style("title", bold, 1.7, 0, 8), 2: style("section", bold, 1.25, 10, 4),
            "paragraph": style("body", body, 1, 0, 5)}


def running(font, chinese):
    """Draws what stands on every page: the running head above, the page's number below."""

    def draw(canvas, document):
        width, height = document.pagesize
        canvas.setFont(font, 8)
        canvas.drawString(MARGIN, height - MARGIN * 0.6, RUNNING_HEAD[chinese])
        number = canvas.getPageNumber()
        canvas.drawCentredString(width / 2, MARGIN * 0.5, f"第 {number} 页" if chinese else f"- {number} -")

    return draw


def over_columns(blocks):
    """Whether the title is followed by columns: then it stands over them, not on a page of its own."""
    return blocks[1].kind == "page" and blocks[1].text == "columns"


def templates(size, draw, over):
    """The kinds of page; the first one is the document's first page."""
    width, height = size[0] - 2 * MARGIN, size[1] - 2 * MARGIN
    column = (width - GUTTER) / 2

    def columns(tall):
        return [Frame(MARGIN, MARGIN, column, tall), Frame(MARGIN + column + GUTTER, MARGIN, column, tall)]

    title = Frame(MARGIN, MARGIN + height - TITLE_HEIGHT, width, TITLE_HEIGHT)
    kinds = [
        PageTemplate("one", [Frame(MARGIN, MARGIN, width, height)], onPage=draw),
        PageTemplate("columns", columns(height), onPage=draw),
        PageTemplate("title over columns", [title, *columns(height - TITLE_HEIGHT)], onPage=draw),
    ]
    return kinds[::-1] if over else kinds


def story(blocks, styles):
    flow = []
    for number, block in enumerate(blocks):
        if block.kind == "heading":
            heading = Paragraph(block.text, styles[block.level])
            heading.outline_level, heading.key = block.level - 1, f"heading{number}"
            flow.append(heading)
        elif block.kind == "page" and number == 1 and over_columns(blocks):
            flow += [NextPageTemplate("columns"), FrameBreak()]
        elif block.kind == "page":
            flow += [NextPageTemplate("columns" if block.text else "one"), PageBreak()]
        elif block.kind == "table":
            cells = [[Paragraph(text, styles["paragraph"]) for text in row] for row in block.rows]
            flow += [Table(cells, style=[("GRID", (0, 0), (-1, -1), 0.5, "black")]), Spacer(1, 6)]
        elif block.kind == "paragraph":
            flow.append(Paragraph(block.text, styles["paragraph"]))
        else:
            raise ValueError(f"a reading has no {block.kind}")
    return flow
