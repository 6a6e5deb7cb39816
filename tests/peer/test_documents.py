"""Documents that nobody here made, read or refused with a reason, and their pages compared with Poppler's `pdftotext`.

The files come from Debian's documentation (`apt-get download`, unpacked with `dpkg -x`) and from the tests of python-docx and
python-pptx (PyPI), into a temporary folder that is removed at the end. A page agrees if more than half of the runs of eight
letters that `pdftotext` finds in its lines are in the text that we say is of that page. Lines that pages share are left out.

`DOCUMENTS` names the example `documents` of crates/ingest, which shows what files are read into; `./check` builds it.
"""

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import unicodedata

import pytest
from bilin import ROOT, run

PACKAGES = [
    "debian-faq-zh-cn",
    "debian-reference-zh-cn",
    "debian-reference-zh-tw",
    "debian-reference-en",
    "debian-policy",
    "debian-refcard",
    "debmake-doc",
    "developers-reference",
    "maint-guide",
    "maint-guide-zh-cn",
]
DISTRIBUTIONS = ["python-docx==1.2.0", "python-pptx==1.0.2"]
READER = os.environ.get("DOCUMENTS", str(ROOT / "target" / "release" / "examples" / "documents"))
RUN_LETTERS = 8
# Fewer runs are a page with nothing on it but its number.
FEWEST_RUNS = 20
MOST_BYTES = 60 << 20
FORMATS = {".pdf", ".html", ".docx", ".pptx", ".xlsx"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All documents, unpacked."""
    place = tmp_path_factory.mktemp("documents")
    download = ["apt-get", "download", "-qq", *PACKAGES]
    if subprocess.run(download, cwd=place, capture_output=True, timeout=300).returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=300, capture_output=True)
        subprocess.run(download, cwd=place, check=True, capture_output=True, timeout=300)
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
    subprocess.run([*pip, *DISTRIBUTIONS, "-d", "."], cwd=place, check=True, timeout=300, capture_output=True)
    archives = [*place.glob("*.deb"), *place.glob("*.tar.gz")]
    assert sum(archive.stat().st_size for archive in archives) < MOST_BYTES
    for archive in archives:
        target = place / archive.name.split("_")[0]
        if archive.suffix == ".deb":
            subprocess.run(["dpkg", "-x", archive, target], check=True)
        else:
            with tarfile.open(archive) as members:
                members.extractall(target, filter="data")
    for packed in list(place.rglob("*.gz")):
        if packed.name.endswith((".pdf.gz", ".html.gz")) and packed.stat().st_size > 100:
            subprocess.run(["gzip", "-d", packed], check=True)
    return place


@pytest.fixture(scope="module")
def read(folder):
    """What each document was read into, by its path."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in FORMATS and path.is_file() and not path.is_symlink()]
    # Manuals come whole and cut into a page a section; a sample of the sections is enough.
    pages = [path for path in files if path.suffix == ".html"]
    files = [path for path in files if path.suffix != ".html"] + pages[:: max(1, len(pages) // 60)]
    done = subprocess.run([READER, *files], capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert len(lines) == len(files)
    return {pathlib.Path(line["path"]): line for line in lines}


def letters(text):
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text)).lower()


def runs(text):
    """Runs of letters within a line: what stands in the next one depends on how columns and tables are read."""
    found = set()
    for line in map(letters, text.split("\n")):
        found.update(line[start : start + RUN_LETTERS] for start in range(len(line) - RUN_LETTERS + 1))
    return found


def without_repetitions(pages):
    """Pages without the lines that, digits aside, three of them share: running heads, which we leave out on purpose."""
    mark = lambda line: re.sub(r"\d+", "#", letters(line))
    shared = collections.Counter(line for page in pages for line in set(map(mark, page.split("\n"))))
    return ["\n".join(line for line in page.split("\n") if shared[mark(line)] < 3) for page in pages]


def pages_of(line, count):
    """Our text of each page."""
    pages = [""] * count
    for item in line["items"]:
        first = int(item["metadata"]["page"])
        for page in range(first, int(item["metadata"].get("page_end", first)) + 1):
            of = item["metadata"]
            pages[page - 1] += " ".join([item["text"], of.get("chapter", ""), of.get("section", ""), ""])
    return [letters(page) for page in pages]


def test_every_document_is_read_or_refused_with_a_reason(read):
    counts = {}
    for path, line in read.items():
        outcome = "refused" if "error" in line else "read" if line["items"] else "empty"
        counts.setdefault(path.suffix, {}).setdefault(outcome, []).append(path.name)
        if outcome == "refused":
            assert line["hint"] and "does not expect" not in line["error"], line
            print(f"refused: {path.name}: {line['error']}")
    print({kind: {outcome: len(names) for outcome, names in kinds.items()} for kind, kinds in counts.items()})
    assert len(read) >= 100
    for kind, least in ((".pdf", 40), (".html", 40), (".docx", 10), (".pptx", 10)):
        assert len(counts[kind]["read"]) >= least, counts[kind]
    # The FAQ's Chinese one says in a font without names that there is none.
    assert len(counts[".pdf"].get("refused", [])) <= 2 and "refused" not in counts[".html"]


def test_pages_agree_with_pdftotext(read):
    agreeing, all_pages, wrong = 0, 0, []
    for path, line in read.items():
        # The test above sees to those that are refused.
        if path.suffix != ".pdf" or "items" not in line:
            continue
        told = subprocess.run(["pdftotext", "-enc", "UTF-8", path, "-"], capture_output=True, check=True, timeout=300)
        theirs = without_repetitions(told.stdout.decode("utf-8", "replace").split("\f")[:-1])
        ours = pages_of(line, len(theirs))
        for number, (text, our) in enumerate(zip(theirs, ours), 1):
            wanted = runs(text)
            if len(wanted) < FEWEST_RUNS:
                continue
            all_pages += 1
            share = len(wanted & runs(our)) / len(wanted)
            agreeing += share > 0.5
            if share <= 0.5:
                wrong.append(f"{path.name} page {number}: {share:.2f}")
    print(f"{agreeing} of {all_pages} pages agree")
    print("\n".join(wrong))
    assert all_pages >= 1_000
    assert agreeing >= 0.99 * all_pages, wrong


def test_single_pages_are_those_of_pdftotext(read):
    """The same by `-f` and `-l`, which is how a reader looks a page up."""
    path = next(path for path in read if path.name == "debian-reference.zh-cn.pdf")
    for page in (30, 77, 123, 200):
        command = ["pdftotext", "-enc", "UTF-8", "-f", str(page), "-l", str(page), path, "-"]
        wanted = runs(subprocess.run(command, capture_output=True, check=True).stdout.decode())
        our = pages_of(read[path], 400)
        shares = {number: sum(run in text for run in wanted) for number, text in enumerate(our, 1)}
        assert max(shares, key=shares.get) == page


def test_web_pages_are_read_without_their_navigation(read):
    manual = [line for path, line in read.items() if path.suffix == ".html" and "reference" in path.parts[-2]]
    texts = [item["text"] for line in manual for item in line["items"]]
    assert len(texts) > 20
    for around in ("上一页", "下一页", "起始页"):
        assert sum(around in text for text in texts) <= len(texts) // 50, around
    headed = [item["metadata"].get("chapter") for line in manual for item in line["items"]]
    assert sum(heading is not None for heading in headed) > 0.9 * len(headed)


def test_answers_cite_their_page(folder, tmp_path):
    card = next(folder.rglob("refcard-zh_CN-a4.pdf"))
    data = tmp_path / "data"
    report = run("add", "cards", card.name, "--json", data=data, cwd=card.parent).json_lines()[-1]
    assert report["files_added"] == 1 and report["items_added"] > 3
    first = run("search", "cards", "如何安装软件包", "-k", 1, "--json", data=data).json_lines()[-1]["results"][0]
    assert first["metadata"]["page"] in ("1", "2") and first["metadata"]["source"] == card.name
