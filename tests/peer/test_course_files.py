"""The sample course's office files are what their sources make, hold what they should, and its questions are fair.

The questions were written before anything was searched. What holds them fair is checked here: each names a place that
exists, halves follow from a hash, and a question that is tagged `paraphrase` shares no key word with its answer.
"""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
import zlib

import pytest
from bilin import ROOT, SAMPLES
from docx import Document
from docx.oxml.ns import qn
from pptx import Presentation

sys.path.insert(0, str(ROOT / "tools" / "samples"))
import make_course  # noqa: E402
from course_maker.source import by_heading, read  # noqa: E402

COURSE = SAMPLES / "course"
FILE_BYTES_MAX = 300_000
SECTIONS_MIN = 60
PARAPHRASES_MIN = 10
QUESTIONS = [json.loads(line) for line in (SAMPLES / "course-questions.jsonl").read_text("utf-8").splitlines()]

# Words that carry no topic.
ENGLISH_STOP = set("""a an the and or but nor so if then than as at by for from in into of on onto over to up with without
about again is are was were be been being am do does did done have has had having can could may might must shall should
will would not no only own same such too very just more most less least other some any all each every both few many much
i me my we us our you your he him his she her it its they them their this that these those there here who whom whose what
which when where why how ever because while during once one ones back get gets turn turns happen happens""".split())
CHINESE_STOP = set("的了是在和与或也都就而及把被让给对从到向以为于之其这那哪个些什么怎样么吗呢吧啊有没不会要能可应当该该再还又很太最更只已先后上下里中时一二三")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    into = tmp_path_factory.mktemp("made")
    return {path.relative_to(into).as_posix(): path for path in make_course.make_all(into)}


def members(path):
    """What a package holds; its compressed bytes may differ with another zlib."""
    with zipfile.ZipFile(path) as package:
        return [(member.filename, member.date_time, package.read(member)) for member in package.infolist()]


def inflated(path):
    """A PDF's objects with their streams unpacked; lengths, offsets and the id that is a hash of both are left out."""
    objects = path.read_bytes().rpartition(b"xref\n0 ")[0]

    def unpack(match):
        packed = match[1][:1] == b"\x78"
        return b"stream\n" + (zlib.decompressobj().decompress(match[1]) if packed else match[1]) + b"endstream"

    return re.sub(rb"/Length \d+", b"", re.sub(rb"stream\r?\n(.*?)endstream", unpack, objects, flags=re.S))


def test_the_committed_files_are_what_their_sources_make(made):
    for name, path in made.items():
        committed = SAMPLES / name
        content = inflated if name.endswith(".pdf") else members
        assert content(committed) == content(path), f"{name}: run tools/samples/make_course.py"


def test_every_format_is_there_in_both_languages_and_small():
    for language in ("zh", "en"):
        kinds = {path.suffix for path in (COURSE / language).iterdir()}
        assert kinds == {".pptx", ".docx", ".pdf", ".md"}, language
    for path in COURSE.rglob("*"):
        assert not path.is_file() or path.stat().st_size < FILE_BYTES_MAX, path


def test_slides_have_titles_notes_tables_and_a_group():
    for name in ("zh/lecture4.pptx", "en/lecture5.pptx"):
        deck = Presentation(COURSE / name)
        assert all(slide.shapes.title.text for slide in deck.slides), name
        assert sum(slide.has_notes_slide for slide in deck.slides) >= 4, name
        assert sum(shape.has_table for slide in deck.slides for shape in slide.shapes) >= 2, name
    shapes = [shape for slide in Presentation(COURSE / "zh/lecture4.pptx").slides for shape in slide.shapes]
    assert any(shape.shape_type == 6 for shape in shapes), "no grouped shapes"


def test_handouts_have_headings_lists_tables_and_page_breaks():
    for name in ("zh/lab.docx", "en/handbook.docx"):
        document = Document(COURSE / name)
        styles = {paragraph.style.name for paragraph in document.paragraphs}
        assert {"Heading 1", "Heading 2"} <= styles, name
        breaks = document.element.body.iter(qn("w:br"))
        assert sum(found.get(qn("w:type")) == "page" for found in breaks) >= 3, name
        assert document.tables, name
    styles = {paragraph.style.name for paragraph in Document(COURSE / "zh/lab.docx").paragraphs}
    assert {"List Bullet", "List Number"} <= styles


def test_the_chinese_pdf_embeds_a_subset_of_its_font():
    written = (COURSE / "zh" / "reading.pdf").read_bytes()
    assert re.search(rb"/BaseFont /[A-Z]{6}\+\S*MicroHei", written) and b"/FontFile2" in written
    assert b"/ToUnicode" in written


def sections():
    """(source, number, heading, text) of every section and slide, as its author wrote it; slides count from 1."""
    for source, (name, _) in make_course.MADE.items():
        chapter = ""
        for number, (heading, body) in enumerate(by_heading(read(make_course.SOURCES / source)), 1):
            chapter = heading.text if heading.level == 1 else chapter
            words = [block.text for block in body] + [cell for block in body for row in block.rows for cell in row]
            yield name.removeprefix("course/"), number, heading.text, " ".join([chapter, heading.text, *words])
    for path in sorted(COURSE.rglob("chapter*.md")):
        chapter, *parts = re.split(r"^## ", path.read_text("utf-8"), flags=re.M)
        for number, part in enumerate(parts, 1):
            heading = part.split("\n", 1)[0]
            yield path.relative_to(COURSE).as_posix(), number, heading, f"{chapter.splitlines()[0]} {part}"


def expected(question):
    return question.get("expect", [question])


def answer(place):
    """The text of the section or slide that an expectation names."""
    for source, number, heading, text in sections():
        if source != place["source"]:
            continue
        if place.get("slide") == str(number) or place.get("section", "").split(" > ")[-1] == heading:
            return text
    raise AssertionError(f"no such place: {place}")


def test_the_course_is_large_enough():
    new = [heading for source, _, heading, _ in sections() if not source.endswith(".md")]
    assert len(new) >= SECTIONS_MIN


def test_there_are_forty_questions_and_each_names_a_place_that_exists():
    assert len({question["question"] for question in QUESTIONS}) == len(QUESTIONS) == 40
    languages = [tag for question in QUESTIONS for tag in question["tags"] if tag in ("zh", "en")]
    assert (languages.count("zh"), languages.count("en")) == (20, 20)
    for question in QUESTIONS:
        assert all(answer(place) for place in expected(question)), question


def test_pages_are_those_that_poppler_finds_the_headings_on():
    places = [place for question in QUESTIONS for place in expected(question) if "page" in place]
    assert len(places) >= 10
    for place in places:
        page = ["pdftotext", "-f", place["page"], "-l", place["page"], str(COURSE / place["source"]), "-"]
        text = subprocess.run(page, capture_output=True, check=True).stdout.decode("utf-8")
        assert "".join(place["section"].split()) in "".join(text.split()), place


def test_halves_follow_from_a_hash():
    by_hash = sorted(QUESTIONS, key=lambda question: hashlib.sha256(question["question"].encode()).hexdigest())
    assert [question["half"] for question in by_hash] == ["a"] * 20 + ["b"] * 20


def key_words(text):
    """Pairs of Chinese characters and stems of English words, without words that carry no topic."""
    words = set()
    for run in re.findall(r"[\u4e00-\u9fff]+", text):
        words.update(pair for pair in map("".join, zip(run, run[1:])) if not set(pair) & CHINESE_STOP)
    for word in re.findall(r"[a-z][a-z0-9]+", text.lower().replace("'s", "")):
        if word not in ENGLISH_STOP:
            words.add(stem(word))
    return words


def stem(word):
    """Cuts English endings, rather too many than too few."""
    for ending in ("ations", "ation", "ings", "ing", "edly", "ed", "ers", "er", "est", "ies", "es", "ly", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def test_paraphrases_share_no_key_word_with_their_answer():
    paraphrases = [question for question in QUESTIONS if "paraphrase" in question["tags"]]
    assert len(paraphrases) >= PARAPHRASES_MIN
    for question in paraphrases:
        for place in expected(question):
            shared = key_words(question["question"]) & key_words(answer(place))
            assert not shared, f"{question['question']}: {shared}"
