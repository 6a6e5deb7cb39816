"""Texts that hold the model in place while it is trained: headings and paragraphs of Debian's books, and what packages are said to be.

    python3 tools/training/general.py OUT.jsonl

Fetches a few packages and two lists of translations from Debian's mirror (bookworm), takes them apart and writes one JSON object a line: `h`, a heading or a summary, and
`p`, what stands under it. None of these texts goes into the project: they are only what the vectors are compared on.
"""

import bz2
import html.parser
import json
import lzma
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import urllib.request

MIRROR = "http://deb.debian.org/debian/dists/bookworm/main/i18n/"
PACKAGES = ["debian-handbook", "installation-guide-amd64", "debmake-doc", "maint-guide-zh-cn", "debian-faq-zh-cn", "debian-reference-zh-cn"]
PAGES = [
    "debian-handbook/html/zh-CN/*.html",
    "debian-handbook/html/en-US/*.html",
    "installation-guide-amd64/zh_CN/*.html",
    "installation-guide-amd64/en/*.html",
    "debmake-doc/html/*.zh-cn.html",
    "maint-guide-zh-cn/**/*.html",
    "debian-faq-zh-cn/**/*.html",
    "**/debian-reference*zh-cn*.html",
]
ENGLISH_SUMMARIES = 7000
HAN = "\u4e00-\u9fff"


class Page(html.parser.HTMLParser):
    """Paragraphs of more than 40 characters with the heading above them."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.heading, self.inside, self.text, self.found = "", None, [], []

    def handle_starttag(self, tag, _):
        if re.fullmatch("h[1-5]|p", tag):
            self.inside, self.text = tag, []

    def handle_endtag(self, tag):
        if tag != self.inside:
            return
        text = re.sub(r"\s+", " ", "".join(self.text)).strip()
        text = re.sub(f"(?<=[{HAN}，。]) (?=[{HAN}])", "", text)
        if tag != "p":
            self.heading = re.sub(r"^[第\d.\sA-Z章]*[.\u3000 ]+", "", text)
        elif self.heading and len(text) > 40:
            self.found.append((self.heading, text))
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.text.append(data)


def passages(found):
    """Neighbours under one heading joined up to 350 characters."""
    joined = []
    for heading, text in found:
        if joined and joined[-1][0] == heading and len(joined[-1][1]) + len(text) < 350:
            joined[-1][1] += " " + text
        else:
            joined.append([heading, text[:900]])
    return joined


def summaries(listed):
    for block in listed.split("\n\n"):
        told = re.search(r"^Description-(?!md5)\w+: (.*)\n((?: .*\n?)*)", block, re.M)
        if told:
            text = re.sub(r"\s+", " ", told[2].replace("\n .\n", "\n")).strip()
            if len(text) > 60:
                yield told[1].strip(), text[:700]


def fetched(name, unpack):
    return unpack(urllib.request.urlopen(MIRROR + name, timeout=120).read()).decode("utf-8")


def main():
    target = pathlib.Path(sys.argv[1])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
        for archive in pathlib.Path(folder).glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(archive), folder], check=True)
        for pattern in PAGES:
            for path in sorted(pathlib.Path(folder, "usr/share/doc").glob(pattern)):
                page = Page()
                page.feed(path.read_text("utf-8", "replace"))
                rows += passages(page.found)
    rows += summaries(fetched("Translation-zh_CN.bz2", bz2.decompress))
    english = list({text[:80]: (summary, text) for summary, text in summaries(fetched("Translation-en.xz", lzma.decompress))}.values())
    rows += random.Random(1).sample(english, ENGLISH_SUMMARIES)
    target.write_text("".join(json.dumps({"h": heading, "p": text}, ensure_ascii=False) + "\n" for heading, text in rows), "utf-8")
    print(f"{len(rows)} texts")


if __name__ == "__main__":
    main()
