"""What users do to a program: kill it while it writes, start it twice, feed it odd folders and names."""

import os
import random
import subprocess
import time

import pytest
from bilin import BINARY, SAMPLES, Server, run

SEED = 20240915
KILLS = 5
QUESTION = "how do I restore a backup"


def collection(data, name):
    return run("collections", name, "--json", data=data).json_lines()[-1]


def answers(data, name):
    results = run("search", name, QUESTION, "-k", 5, "--json", data=data).json_lines()[-1]["results"]
    return [(result["id"], result["ordinal"], round(result["similarity"], 4), result["text"]) for result in results]


def test_an_add_that_is_killed_again_and_again_ends_like_one_that_was_not(tmp_path):
    # Every section of the English course as a file of its own: many small commits' worth of work.
    folder = tmp_path / "course"
    folder.mkdir()
    for path in sorted((SAMPLES / "course" / "en").glob("*.md")):
        for number, section in enumerate(path.read_text("utf-8").split("\n## ")[1:]):
            (folder / f"{path.stem}-{number:02}.md").write_text(f"# {section}", encoding="utf-8")
    started = time.monotonic()
    run("add", "course", "course", data="whole", cwd=tmp_path)
    took = time.monotonic() - started
    chance = random.Random(SEED)
    for attempt in range(KILLS):
        command = [BINARY, "add", "course", "course", "--data", "killed", "--no-progress"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(took * chance.uniform(0.05, 0.6))
        process.kill()
        process.wait()
        listed = run("collections", "--json", data=tmp_path / "killed", expect=None)
        assert listed.code in (0, 1), (SEED, attempt, listed.err)
    run("add", "course", "course", data="killed", cwd=tmp_path)
    whole, killed = collection(tmp_path / "whole", "course"), collection(tmp_path / "killed", "course")
    assert (killed["count"], killed["documents"]) == (whole["count"], whole["documents"]), SEED
    assert killed["health"] == "ok", killed
    assert sorted(answers(tmp_path / "killed", "course")) == sorted(answers(tmp_path / "whole", "course"))


def test_a_second_process_is_told_who_holds_the_folder(course_data):
    with Server(course_data) as server:
        for arguments in (("add", "course", SAMPLES / "course"), ("search", "course", "a"), ("collections",)):
            refused = run(*arguments, data=course_data, expect=1)
            assert refused.err.startswith("error: ") and "hint: " in refused.err, refused.err
        second = subprocess.run(
            [BINARY, "serve", "--listen", "127.0.0.1:0", "--data", course_data], capture_output=True, timeout=20
        )
        assert second.returncode == 1, second.stderr
        assert server.request("GET", "/health")["status"] == "healthy"


def test_odd_names_encodings_and_links_are_taken_as_they_are(tmp_path):
    folder = tmp_path / "笔记 with spaces"
    (folder / "第 1 章").mkdir(parents=True)
    (folder / "第 1 章" / "带标记 BOM.md").write_text("\ufeff# 灯塔\n\n守塔人每晚擦亮巨大的透镜。", encoding="utf-8")
    (folder / "utf16.txt").write_text("火山在岛的另一边冒烟。", encoding="utf-16")
    (folder / "gbk.txt").write_text("渔夫在清晨收起渔网\uff0c码头上挤满了买鱼的人。", encoding="gb18030")
    (folder / "crlf.md").write_bytes(b"# Windows\r\n\r\nThe baker opens at dawn.\r\n")
    os.symlink(".", folder / "loop")
    os.symlink("..", folder / "第 1 章" / "up")
    os.symlink("nowhere", folder / "dangling.md")
    os.mkfifo(folder / "pipe.md")
    (folder / ".hidden.md").write_text("not for the index")
    added = run("add", "odd", folder.name, "--json", data="data", cwd=tmp_path, expect=1)
    assert added.json_lines()[-1]["files_added"] == 4, added.out
    assert "dangling.md" in added.err
    for query, source in (
        ("谁擦亮灯塔的透镜", "第 1 章/带标记 BOM.md"),
        ("火山", "utf16.txt"),
        ("渔网", "gbk.txt"),
        ("when does the baker open", "crlf.md"),
    ):
        first = run("search", "odd", query, "-k", 1, "--json", data=tmp_path / "data").json_lines()[-1]["results"][0]
        assert first["metadata"]["source"] == f"{folder.name}/{source}", first
        assert "\ufeff" not in first["text"] and "\r" not in first["text"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("add", "a", "no such folder"), 1),
        (("search", "nothing here", "a"), 1),
        (("search", "a"), 2),
        (("search", "a", "b", "-k", "0"), 2),
        (("search", "a", "b", "-k", "1001"), 2),
        (("add", "../escape", "."), 1),
        (("add", "a" * 300, "."), 1),
        (("frobnicate",), 2),
        (("serve", "--listen", "0.0.0.0:0"), 1),
        (("encode", "--model", "no-such-model"), 1),
    ],
)
def test_refusals_say_what_to_do_and_leave_nothing_behind(tmp_path, arguments, code):
    refused = run(*arguments, cwd=tmp_path, expect=code)
    assert refused.err.startswith("error: "), refused.err
    assert refused.out == ""
    assert list(tmp_path.iterdir()) == []
