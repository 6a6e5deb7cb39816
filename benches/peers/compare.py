"""`./bench peers`: ours and the peers on the same data, threads and machine, one process at a time; ratios, not absolute times.

Writes under `--out`: `lines.jsonl` (every setting of everyone), `table.md` (QPS at recall 0.90, 0.95 and 0.99 with build CPU-seconds, bytes
per vector and the ratio of our best of that kind to each peer) and `plot.html` (recall against QPS, self-contained).
QPS at a recall is read off the Pareto front, log-linear between its two neighbouring settings; above the last setting there is no figure.
"""

import argparse
import datetime
import io
import json
import math
import os
import platform
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RECALLS = (0.90, 0.95, 0.99)


def plan(rows):
    """What runs on a data set of this many rows: (peer, spec, kind)."""
    nlist = int(math.sqrt(rows))
    return [
        ("faiss", "Flat", "exact"), ("bilin", "Flat", "exact"),
        ("faiss", f"IVF{nlist},Flat", "ivf"), ("bilin", f"IVF{nlist},Flat", "ivf"),
        ("faiss", f"IVF{nlist},PQ{{half}}x4fs,RFlat", "ivf"), ("scann", str(nlist), "ivf"),
        ("faiss", "HNSW16", "graph"), ("hnswlib", "16", "graph"), ("usearch", "16", "graph"), ("rabitq", "32", "graph"), ("bilin", "HNSW16", "graph"),
    ]  # fmt: skip


def run(command, threads):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        print(f"peers: {' '.join(command)} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
    return lines


def measure(peer, spec, kind, arguments, folder, metric, dim):
    spec = spec.format(half=dim // 2)
    if peer == "bilin":
        command = [arguments.bilin, "bench", "--vectors", folder, "--metric", metric, "--index", spec]
    else:
        command = [sys.executable, os.path.join(HERE, "measure.py"), peer, spec, "--vectors", folder, "--metric", metric]
    lines = run(command + ["--threads", str(arguments.threads), "--batch", str(arguments.batch)], arguments.threads)
    name = os.path.basename(os.path.normpath(folder))
    return [{**line, "peer": peer, "kind": kind, "data": name} for line in lines]


def front(lines):
    """The Pareto front: by recall, each with the best QPS at that recall or above."""
    best, kept = 0.0, []
    for line in sorted(lines, key=lambda line: (-line["recall_at_10"], -line["qps"])):
        if line["qps"] > best:
            best = line["qps"]
            kept.append((line["recall_at_10"], line["qps"]))
    return kept[::-1]


def qps_at(lines, recall):
    points = front(lines)
    for (r0, q0), (r1, q1) in zip(points, points[1:]):
        if r0 <= recall <= r1:
            share = (recall - r0) / (r1 - r0) if r1 > r0 else 1.0
            return math.exp(math.log(q0) + share * (math.log(q1) - math.log(q0)))
    if points and points[0][0] >= recall:
        return points[0][1]
    return None


def series(lines):
    found = {}
    for line in lines:
        found.setdefault((line["data"], line["kind"], line["peer"], line["index"]), []).append(line)
    return found


def table(lines):
    out = io.StringIO()
    grouped = series(lines)
    for data in dict.fromkeys(key[0] for key in grouped):
        out.write(f"\n### {data}\n\n| index | build CPU-s | B/vector | QPS at 0.90 | 0.95 | 0.99 | ours / it at 0.90 | 0.95 | 0.99 |\n|---|---|---|---|---|---|---|---|---|\n")
        for (_, kind, peer, index), own in ((k, v) for k, v in grouped.items() if k[0] == data):
            ours = [line for line in lines if line["data"] == data and line["kind"] == kind and line["peer"] == "bilin"]
            figures = [qps_at(own, recall) for recall in RECALLS]
            ratios = [None if peer == "bilin" or not f else (qps_at(ours, r) or 0) / f for f, r in zip(figures, RECALLS)]
            cells = [f"{f:,.0f}" if f else "–" for f in figures] + [f"{r:.2f}" if r else "" for r in ratios]
            out.write(f"| {peer} {index} | {own[0]['build_cpu_s']:.1f} | {own[0]['bytes_per_vector']:.0f} | {' | '.join(cells)} |\n")
    return out.getvalue()


def plot(lines):
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as pyplot

    grouped = series(lines)
    data_sets = list(dict.fromkeys(key[0] for key in grouped))
    figure, axes = pyplot.subplots(1, len(data_sets), figsize=(8 * len(data_sets), 6), squeeze=False)
    for axis, data in zip(axes[0], data_sets):
        for (_, kind, peer, index), own in ((k, v) for k, v in grouped.items() if k[0] == data):
            points = [point for point in front(own) if point[0] >= 0.7]
            axis.plot([p[0] for p in points], [p[1] for p in points], "o-" if peer == "bilin" else "x--", linewidth=2.4 if peer == "bilin" else 1, label=f"{peer} {index}")
        axis.set(title=f"{data}: recall@10 against QPS", xlabel="recall@10", ylabel="queries per second", yscale="log")
        axis.grid(True, which="both", alpha=0.3)
        axis.legend(fontsize=8)
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight")
    return f"<!doctype html><meta charset=utf-8><title>bilin and its peers</title>{text.getvalue()[text.getvalue().index('<svg'):]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bilin", required=True, help="the release binary")
    parser.add_argument("--vectors", nargs="+", required=True, metavar="DIR:METRIC", help="data folders, each with l2 or ip")
    parser.add_argument("--only", nargs="*", help="only these peers (bilin faiss hnswlib usearch rabitq scann)")
    parser.add_argument("--kind", nargs="*", help="only these kinds (exact ivf graph)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--out", default="target/peers")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)

    import numpy as np

    lines = []
    for item in arguments.vectors:
        folder, metric = item.rsplit(":", 1)
        base = next(name for name in sorted(os.listdir(folder)) if name.startswith("base."))
        rows, dim = np.load(os.path.join(folder, base), mmap_mode="r").shape
        for peer, spec, kind in plan(rows):
            if (arguments.only and peer not in arguments.only) or (arguments.kind and kind not in arguments.kind):
                continue
            print(f"peers: {os.path.basename(folder)} {peer} {spec}", file=sys.stderr)
            lines += measure(peer, spec, kind, arguments, folder, metric, dim)
    with open(os.path.join(arguments.out, "lines.jsonl"), "w") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)
    head = f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, {arguments.threads} thread(s), batch {arguments.batch}\n"
    text = head + table(lines)
    with open(os.path.join(arguments.out, "table.md"), "w") as out:
        out.write(text)
    with open(os.path.join(arguments.out, "plot.html"), "w") as out:
        out.write(plot(lines))
    print(text)


if __name__ == "__main__":
    main()
