"""The texts of the benches: the summaries of Debian's packages, or the lines of a file."""

import random
import subprocess
import sys


def texts_of(file, count, is_wanted=bool):
    """At most `count` of them that are wanted, each once, shuffled the same way each time."""
    if file:
        lines = file.read_text("utf-8").splitlines()
    else:
        told = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
        lines = [line.split(": ", 1)[1] for line in told.splitlines() if line.startswith("Description: ")]
    lines = list(dict.fromkeys(filter(is_wanted, map(str.strip, lines))))
    if len(lines) < 100:
        sys.exit("expected at least 100 texts; run apt-get update, or give --texts-file")
    random.Random(7).shuffle(lines)
    return lines[:count]
