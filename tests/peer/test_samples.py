"""The samples are what their licence file says, and enough to show the product."""

import re

from bilin import SAMPLES
from PIL import Image

FREE = {"public domain", "CC0-1.0"}
PICTURES_BYTES_MAX = 1_500_000


def test_every_picture_has_its_licence_recorded_and_no_other():
    table = (SAMPLES / "LICENSES.md").read_text("utf-8")
    rows = re.findall(r"^\| (pictures/\S+) \|.*\| (.+) \| <https?://\S+> \|$", table, re.M)
    found = {path.relative_to(SAMPLES).as_posix() for path in (SAMPLES / "pictures").rglob("*") if path.is_file()}
    assert {name for name, _ in rows} == found
    assert {licence for _, licence in rows} <= FREE
    assert len(found) >= 40


def test_pictures_are_small_varied_and_in_every_format():
    paths = [path for path in (SAMPLES / "pictures").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in paths) <= PICTURES_BYTES_MAX
    assert len({path.parent.name for path in paths}) >= 5
    assert {path.suffix for path in paths} == {".jpg", ".png", ".webp", ".gif", ".bmp"}
    for path in paths:
        with Image.open(path) as picture:
            assert max(picture.size) <= 320, path


def test_the_course_has_three_chapters_in_both_languages():
    sections = 0
    for language in ("zh", "en"):
        chapters = sorted((SAMPLES / "course" / language).glob("chapter*.md"))
        assert len(chapters) == 3
        for chapter in chapters:
            prose = re.sub(r"^```.*?^```$", "", chapter.read_text("utf-8"), flags=re.M | re.S)
            assert len(re.findall(r"^# ", prose, re.M)) == 1, chapter
            sections += len(re.findall(r"^## ", prose, re.M))
    assert sections >= 36
