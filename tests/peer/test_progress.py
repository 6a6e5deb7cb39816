"""The progress bar of `bilin add`: items/s and time left on a terminal, nothing of it in a pipe."""

import os
import pty
import re
import subprocess

from bilin import BINARY, COMMAND_TIMEOUT_S, run, shown_on

SENTENCES = 1_200


def folder(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    texts = "".join(f'{{"id": "{number}", "text": "{number}: 向量检索把文本变成向量"}}\n' for number in range(SENTENCES))
    (files / "texts.jsonl").write_text(texts, "utf-8")
    return files


def on_a_terminal(*arguments):
    """stderr of a command as a terminal 120 columns wide shows it."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen([BINARY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = shown_on(ours)
        assert process.wait(COMMAND_TIMEOUT_S) == 0, shown.decode("utf-8", "replace")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode("utf-8", "replace"))


def test_on_a_terminal_items_per_second_and_the_time_left(tmp_path):
    shown = on_a_terminal("add", "notes", folder(tmp_path), "--data", tmp_path / "data")
    # One file, committed in parts: the bar moves within it.
    seen = re.findall(r"adding +\S+ +(\d+) % (\d+) of 1 file, (\d+) items, (\d+) items/s, (\S+) left", shown)
    assert seen, shown[-2000:]
    shares = [int(share) for share, *_ in seen]
    items = [int(count) for _, _, count, *_ in seen]
    assert shares == sorted(shares) and items == sorted(items)
    assert any(0 < share < 100 for share in shares), seen
    assert any(int(rate) > 0 for *_, rate, _ in seen), seen


def test_in_a_pipe_or_told_so_no_bar(tmp_path):
    added = run("add", "notes", folder(tmp_path), data=tmp_path / "data")
    assert added.err == "" and f"{SENTENCES} items added" in added.out
    shown = on_a_terminal("add", "other", tmp_path / "files", "--no-progress", "--data", tmp_path / "data")
    assert "adding" not in shown and "items/s" not in shown
