"""`./bench words`: our search by words beside `bm25s` (PyPI), same texts, same words, one question at a time on one thread.

Texts are the summaries of Debian's packages (`apt-cache dumpavail`), or `--texts-file`, one per line. A question is three words in a row of
one text and three of another, so that common and rare words are mixed as they are in texts. Both take letters and digits between anything else as words,
in small letters, with k1 1.2 and b 0.75. Ours is the example `bm25` of crates/store: texts on disk, SQLite's postings ranked, and
those that were read kept in memory for the commit. `bm25s` scores every word in every text beforehand and keeps the sparse matrix in
memory; it is asked with its NumPy and its Numba backend. Seconds are those of the CPU, so that what else runs counts for little. The ten best agree where scores, in proportion to the best one's, are equal.
"""

import argparse
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from texts import texts_of  # noqa: E402

WORDS = re.compile(r"[^\W_]+")
RUN = 3
LIMIT = 10

THEIRS = """
import json, sys, time
import bm25s
now = time.process_time
texts, questions = (json.load(open(path)) for path in sys.argv[1:3])
started = now()
index = bm25s.BM25(method="lucene", k1=1.2, b=0.75, backend=sys.argv[3])
index.index(texts, show_progress=False)
add_s = now() - started
index.retrieve(questions[:2], k=10, show_progress=False, n_threads=1)
started = now()
found = [index.retrieve([question], k=10, show_progress=False, n_threads=1) for question in questions]
asked_s = now() - started
started = now()
index.retrieve(questions, k=10, show_progress=False, n_threads=1)
print(json.dumps({"scores": [scores[0].tolist() for _, scores in found], "add_s": add_s, "asked_s": asked_s, "together_s": now() - started}))
"""


def words(text):
    return [word.lower() for word in WORDS.findall(text)]


def run(command, environment):
    """What a command prints, a JSON value a line."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, text=True)
    return list(map(json.loads, done.stdout.splitlines()))


def agree(ours, theirs):
    """Share of questions whose ten best have equal scores, each in proportion to its best."""
    equal = 0
    for our, their in zip(ours, theirs):
        their = [score for score in their if score > 0]
        same = len(our) == len(their) and all(abs(a / our[0] - b / their[0]) < 1e-4 for a, b in zip(our, their))
        equal += same
    return equal / len(ours)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the example bm25")
    parser.add_argument("--texts", type=int, default=43_000)
    parser.add_argument("--texts-file", type=pathlib.Path)
    parser.add_argument("--questions", type=int, default=1_000)
    arguments = parser.parse_args()
    # ASCII, for the two disagree on what is a letter elsewhere.
    texts = texts_of(arguments.texts_file, arguments.texts, lambda line: line.isascii() and len(words(line)) >= RUN)
    draw, questions = random.Random(11), []
    for _ in range(arguments.questions):
        question = []
        for row in (words(draw.choice(texts)), words(draw.choice(texts))):
            first = draw.randrange(len(row) - RUN + 1)
            question += row[first : first + RUN]
        questions.append(list(dict.fromkeys(question)))
    print(f"# {len(texts)} texts of {sum(len(words(text)) for text in texts) / len(texts):.0f} words, {len(questions)} questions, load {os.getloadavg()[0]:.1f}", flush=True)
    environment = {**os.environ, **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "texts").write_text("\n".join(texts))
        (folder / "questions").write_text("\n".join(map(" ".join, questions)))
        (folder / "texts.json").write_text(json.dumps([words(text) for text in texts]))
        (folder / "questions.json").write_text(json.dumps(questions))
        *ours, times = run([arguments.ours, folder / "texts", folder / "questions"], environment)
        rate = lambda seconds: f"{len(questions) / seconds:,.0f}"
        rows.append(("bilin, first time", times["add_s"], rate(times["first_s"]), "", ""))
        rows.append(("bilin, again", times["add_s"], rate(times["again_s"]), "", ""))
        print(f"# ours left words out of {sum(bool(found['left_out']) for found in ours)} questions", flush=True)
        for backend in ("numpy", "numba"):
            command = [sys.executable, "-c", THEIRS, folder / "texts.json", folder / "questions.json", backend]
            (told,) = run(command, environment)
            share = agree([found["scores"] for found in ours], told["scores"])
            rows.append((f"bm25s, {backend}", told["add_s"], rate(told["asked_s"]), rate(told["together_s"]), f"{share:.1%}"))
    print("\n| | CPU s to index | questions per CPU s | all at once | same ten |\n|---|---|---|---|---|")
    for name, add_s, asked, together, share in rows:
        print(f"| {name} | {add_s:.1f} | {asked} | {together} | {share} |")


if __name__ == "__main__":
    main()
