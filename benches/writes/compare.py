"""`./bench writes`: durable adds per second beside chromadb and milvus-lite, in one run, on one disk, one process at a time.

Each peer and batch size runs `--rounds` times, peers taking turns, so that a machine that becomes busy disturbs all of them; the median is
shown with least and most. A ratio is ours over the peer's. Whether an acknowledgement is durable is measured: a short extra run under strace
counts fsync and fdatasync calls per batch (0 = an acknowledged batch is lost with the machine). Writes `lines.jsonl` and `table.md` under `--out`.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = ("bilin-http", "bilin-embedded")
PEERS = ("chromadb", "milvus-lite-fsync", "milvus-lite")
SYNC_SECONDS = 1.0


def command(peer, batch, seconds, folder, arguments):
    if peer == "bilin-embedded":
        return [arguments.adds, folder, str(batch), str(seconds)]
    return [sys.executable, os.path.join(HERE, "measure.py"), peer, "--batch", str(batch), "--seconds", str(seconds), "--folder", folder, "--bilin", arguments.bilin]


def run(peer, batch, seconds, arguments, before=()):
    folder = tempfile.mkdtemp(prefix="bilin-writes-", dir=arguments.folder)
    try:
        done = subprocess.run([*before, *command(peer, batch, seconds, folder, arguments)], capture_output=True, text=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise SystemExit(f"writes: {peer} with batches of {batch} failed:\n{done.stderr[-2000:]}")
    return lines[-1]


def syncs(peer, batch, arguments):
    """fsync and fdatasync calls per batch; what opening and closing take is subtracted by comparing with a run of one batch."""
    if shutil.which("strace") is None:
        return None
    counts = []
    for seconds in (0.0, SYNC_SECONDS):
        with tempfile.NamedTemporaryFile() as table:
            line = run(peer, batch, seconds, arguments, ("strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", table.name))
            calls = [int(found[1]) for found in re.finditer(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(?:fsync|fdatasync)$", open(table.name).read(), re.M)]
        counts.append((line["batches"], sum(calls)))
    (few, base), (many, total) = counts
    return (total - base) / (many - few) if many > few else None


def table(figures, counted, batches):
    lines = ["| who | " + " | ".join(f"batches of {batch:,}" for batch in batches) + " | fsyncs per batch |", "|---" * (len(batches) + 2) + "|"]
    median = {key: statistics.median(values) for key, values in figures.items()}
    for peer in (*OURS, *PEERS):
        cells = []
        for batch in batches:
            values = figures[peer, batch]
            cell = f"{median[peer, batch]:,.0f}/s ({min(values):,.0f}-{max(values):,.0f})"
            if peer in PEERS:
                cell += " " + ", ".join(f"{median[mine, batch] / median[peer, batch]:.2f}x" for mine in OURS)
            cells.append(cell)
        numbers = ", ".join("?" if counted.get((peer, batch)) is None else f"{counted[peer, batch]:.1f}" for batch in batches)
        lines.append(f"| {peer} | " + " | ".join(cells) + f" | {numbers} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bilin", required=True)
    parser.add_argument("--adds", required=True, help="the engine's example `adds`")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the data goes; its disk is what is measured")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 100, 10_000])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", default="target/writes")
    arguments = parser.parse_args()
    for name in ("bilin", "adds", "folder"):
        setattr(arguments, name, os.path.abspath(getattr(arguments, name)))
    os.makedirs(arguments.out, exist_ok=True)
    figures, lines = {}, []
    for round_number in range(arguments.rounds):
        for batch in arguments.batches:
            for peer in (*OURS, *PEERS):
                line = run(peer, batch, arguments.seconds, arguments)
                figures.setdefault((peer, batch), []).append(line["adds_per_s"])
                lines.append({**line, "round": round_number})
                print(json.dumps(lines[-1]), file=sys.stderr, flush=True)
    counted = {(peer, batch): syncs(peer, batch, arguments) for peer in (*OURS, *PEERS) for batch in arguments.batches}
    lines += [{"peer": peer, "batch": batch, "syncs_per_batch": count} for (peer, batch), count in counted.items()]
    with open(os.path.join(arguments.out, "lines.jsonl"), "w") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)
    text = f"{platform.platform()}, {os.cpu_count()} cores; ratios are bilin-http, bilin-embedded over the peer\n\n" + table(figures, counted, arguments.batches)
    with open(os.path.join(arguments.out, "table.md"), "w") as out:
        out.write(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
