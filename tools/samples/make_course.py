#!/usr/bin/env python3
"""Makes the office files of the sample course (`samples/course/{zh,en}/*.pptx, *.docx, *.pdf`) from `tools/samples/course`.

Each source is a Markdown file of a small dialect, one block per line (see `course_maker/source.py`); its name says what
becomes of it: `zh-lecture4.md` is made into `samples/course/zh/lecture4.pptx`. The same sources and the same versions
of the libraries (tests/requirements.txt) give the same bytes: dates are fixed, and no random ids are written.

    pip install python-pptx==1.0.2 python-docx==1.2.0 reportlab==5.1.0
    apt-get install fonts-wqy-microhei            # Apache-2.0; the characters used are embedded in the Chinese PDF
    python tools/samples/make_course.py [--into FOLDER]
"""

import argparse
import pathlib

from course_maker import handout, reading, slides
from course_maker.source import read

HERE = pathlib.Path(__file__).resolve().parent
SAMPLES = HERE.parents[1] / "samples"
SOURCES = HERE / "course"

# Source -> what it becomes, below the folder of samples, and how.
MADE = {
    "zh-lecture4.md": ("course/zh/lecture4.pptx", slides.make),
    "en-lecture5.md": ("course/en/lecture5.pptx", slides.make),
    "zh-lab.md": ("course/zh/lab.docx", handout.make),
    "en-handbook.md": ("course/en/handbook.docx", handout.make),
    "zh-reading.md": ("course/zh/reading.pdf", reading.make),
    "en-reading.md": ("course/en/reading.pdf", reading.make),
}


def make_all(into):
    """Writes every file of `MADE` below `into` and returns their paths."""
    paths = []
    for source, (name, make) in MADE.items():
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make(read(SOURCES / source), chinese=source.startswith("zh-")))
        paths.append(path)
    return paths


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--into", type=pathlib.Path, default=SAMPLES, help="folder of samples to write to")
    for made in make_all(arguments.parse_args().into):
        print(f"{made}: {made.stat().st_size} bytes")
