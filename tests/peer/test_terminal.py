"""`bilin search` on a terminal: pictures, highlighted words and links; and nothing of it in a pipe or with --json."""

import os
import pty
import re
import subprocess

import pytest
from bilin import BINARY, COMMAND_TIMEOUT_S, SAMPLES, run, shown_on

PICTURES = SAMPLES / "pictures"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with three pictures and the small corpus."""
    place = tmp_path_factory.mktemp("terminal")
    files = place / "some pictures"
    files.mkdir()
    for path in sorted(PICTURES.rglob("*.jpg"))[:3]:
        (files / path.name).write_bytes(path.read_bytes())
    run("add", "pictures", files, data=place / "data")
    run("add", "course", "text_corpus.txt", data=place / "data", cwd=SAMPLES / "course")
    return place / "data"


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return {**kept, **variables}


def on_a_terminal(*arguments, **variables):
    """stdout of a command whose stdout is a terminal."""
    ours, theirs = pty.openpty()
    command = [BINARY, *map(str, arguments)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment(**variables)) as process:
        os.close(theirs)
        shown = shown_on(ours)
        error = process.stderr.read()
        assert process.wait(COMMAND_TIMEOUT_S) == 0, error.decode("utf-8", "replace")
    return shown.decode("utf-8", "replace")


def by_picture(data):
    return ["search", "pictures", "--image", next(PICTURES.rglob("*.jpg")), "-k", "2", "--data", data]


@pytest.mark.parametrize(
    "variables, begins",
    [
        ({"TERM": "xterm-kitty"}, "\x1b_Ga=T,f=100"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "\x1b]1337;File=inline=1"),
        ({"TERM": "foot"}, "\x1bP0;1q"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "\x1b[38;2;"),
        ({"TERM": "xterm-256color"}, "\x1b[38;5;"),
    ],
)
def test_pictures_are_shown_as_the_terminal_can(data, variables, begins):
    shown = on_a_terminal(*by_picture(data), **variables)
    assert begins in shown, repr(shown[:400])
    # Each with a link to its file, whose blank is written out.
    links = re.findall(r"\x1b\]8;;(file://[^\x1b]*)\x1b\\", shown)
    assert len(links) == 2 and all("some%20pictures/" in link for link in links), links


def test_a_setting_chooses_and_no_picture_goes_into_a_pipe(data):
    term = {"TERM": "xterm-kitty"}
    assert "\x1b_G" not in on_a_terminal(*by_picture(data), "--pictures", "none", **term)
    assert "▀" in on_a_terminal(*by_picture(data), **term, BILIN_TERMINAL_PICTURES="blocks")
    json = on_a_terminal(*by_picture(data), "--json", "--pictures", "kitty", **term)
    assert "\x1b" not in json, json[:200]
    piped = subprocess.run(
        [BINARY, *map(str, by_picture(data)), "--pictures", "kitty"], capture_output=True, check=True, env=environment(**term)
    )
    assert b"\x1b" not in piped.stdout and piped.stdout.count(b"\n") == 2, piped.stdout


def test_words_that_were_found_are_bold_on_a_terminal_and_plain_elsewhere(data):
    question = ["search", "course", "架构", "--mode", "lexical", "-k", "1", "--data", data]
    shown = on_a_terminal(*question, TERM="xterm-256color")
    assert re.search(r"\x1b\[[0-9;]*m(\x1b\[[0-9;]*m)*架构\x1b\[0m", shown), repr(shown)
    assert "\x1b]8;;file://" in shown
    plain = on_a_terminal(*question, TERM="xterm-256color", NO_COLOR="1")
    assert "\x1b[" not in plain and "架构" in plain, repr(plain)
