"""A lecture: one slide per heading, with its bullets, tables and grouped boxes, and the speaker's notes below it."""

from course_maker.package import packed, sign
from course_maker.source import by_heading
from pptx import Presentation
from pptx.enum.shapes import MSO_SHAPE
from pptx.util import Inches, Pt

TITLE_LAYOUT, CONTENT_LAYOUT = 0, 1
LEFT, WIDTH = Inches(0.6), Inches(8.8)


def make(blocks, chinese):
    """The bytes of a pptx: the first heading and its paragraph are the title slide."""
    deck = Presentation()
    groups = by_heading(blocks)
    title = groups[0][0].text
    sign(deck, title, "zh-CN" if chinese else "en")
    for number, (heading, body) in enumerate(groups):
        slide = deck.slides.add_slide(deck.slide_layouts[TITLE_LAYOUT if number == 0 else CONTENT_LAYOUT])
        slide.shapes.title.text = heading.text
        fill(slide, body, first=number == 0)
        notes = [block.text for block in body if block.kind == "note"]
        if notes:
            slide.notes_slide.notes_text_frame.text = "\n".join(notes)
    return packed(deck)


def fill(slide, body, first):
    lines = [block.text for block in body if block.kind == ("paragraph" if first else "bullet")]
    place = slide.placeholders[1]
    drawn = [block for block in body if block.kind in ("table", "group")]
    if lines:
        place.text_frame.text = lines[0]
        for line in lines[1:]:
            place.text_frame.add_paragraph().text = line
        if drawn:
            place.left, place.top, place.width, place.height = LEFT, Inches(4.6), WIDTH, Inches(2.2)
    else:
        place._element.getparent().remove(place._element)
    for block in drawn:
        (table if block.kind == "table" else group)(slide, block)


def table(slide, block):
    columns = len(block.rows[0])
    shape = slide.shapes.add_table(len(block.rows), columns, LEFT, Inches(1.6), WIDTH, Inches(0.4 * len(block.rows)))
    for row, cells in enumerate(block.rows):
        for column, text in enumerate(cells):
            shape.table.cell(row, column).text = text


def group(slide, block):
    """Boxes from left to right with an arrow between each two, grouped as one drawing."""
    shapes = slide.shapes.add_group_shape().shapes
    step = WIDTH // len(block.rows)
    for number, text in enumerate(block.rows):
        left = LEFT + number * step
        box = shapes.add_shape(MSO_SHAPE.ROUNDED_RECTANGLE, left, Inches(2.2), step * 3 // 4, Inches(0.9))
        box.text_frame.text = text
        box.text_frame.paragraphs[0].runs[0].font.size = Pt(20)
        if number + 1 < len(block.rows):
            shapes.add_shape(MSO_SHAPE.RIGHT_ARROW, left + step * 3 // 4, Inches(2.5), step // 4, Inches(0.3))
