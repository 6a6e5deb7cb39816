"""`./bench documents`: pages per second of our reader beside `pdftotext` and `markitdown`, same files, in one run.

Ours is the example `documents` of crates/ingest: the file is read, its text put in reading order, structured and split into passages. `pdftotext` (Poppler,
C++) writes plain text. `markitdown` (Python, pdfminer.six) writes text. Ours and markitdown read all files in one process, and the reading alone is timed;
`pdftotext` is a process a file, whose start takes some milliseconds. Each runs `--rounds` times and its fastest is taken, since what disturbs a run only makes it
slower. Pages are those that `pdfinfo` counts.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

MARKITDOWN = """
import sys, time, json
from markitdown import MarkItDown
reader = MarkItDown(enable_plugins=False)
for path in sys.argv[1:]:
    started = time.perf_counter()
    try:
        length = len(reader.convert(path).text_content)
    except Exception:
        length = -1
    print(json.dumps({"path": path, "seconds": time.perf_counter() - started, "characters": length}), flush=True)
"""


def pages_of(path):
    told = subprocess.run(["pdfinfo", path], capture_output=True, text=True)
    return next((int(line.split()[1]) for line in told.stdout.splitlines() if line.startswith("Pages:")), 0)


def ours(reader, files):
    done = subprocess.run([reader, *files], capture_output=True, check=True)
    return sum(json.loads(line)["seconds"] for line in done.stdout.decode().splitlines())


def pdftotext(_, files):
    started = time.perf_counter()
    for path in files:
        subprocess.run(["pdftotext", "-enc", "UTF-8", path, os.devnull], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def markitdown(_, files):
    done = subprocess.run([sys.executable, "-c", MARKITDOWN, *files], capture_output=True, check=True)
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    failed = [line["path"] for line in lines if line["characters"] < 0]
    if failed:
        print(f"# markitdown fails on {failed}", flush=True)
    return sum(line["seconds"] for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="PDF files")
    parser.add_argument("--ours", required=True, help="the example documents")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markitdown-pages", type=int, default=300, help="markitdown reads files, small ones first, up to so many pages")
    arguments = parser.parse_args()
    files = [str(pathlib.Path(path).resolve()) for path in arguments.files]
    pages = {path: pages_of(path) for path in files}
    few, count = [], 0
    for path in sorted(files, key=pages.get):
        if count < arguments.markitdown_pages:
            few.append(path)
            count += pages[path]
    rows = []
    for name, read, of in (("ours", ours, files), ("pdftotext", pdftotext, files), ("ours", ours, few), ("markitdown", markitdown, few)):
        best = min(read(arguments.ours, of) for _ in range(arguments.rounds))
        total = sum(pages[path] for path in of)
        rows.append(f"| {name} | {len(of)} | {total:,} | {total / best:,.0f} |")
        print(f"# {time.strftime('%T')} {name}: {best:.2f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    print("\n| reader | files | pages | pages/s |\n|---|---|---|---|\n" + "\n".join(rows))


if __name__ == "__main__":
    main()
