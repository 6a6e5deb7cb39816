"""`./bench peers`: ours and the peers on the same data, threads and machine, one process at a time; ratios, not absolute times.

Writes under `--out`: `lines.jsonl` (every setting of everyone), `table.md` (QPS at recall 0.90, 0.95 and 0.99 with build CPU-seconds, bytes
per vector and the ratio of our best of that kind to each peer) and `plot.html` (recall against QPS, self-contained).
QPS at a recall is read off the Pareto front, log-linear between its two neighbouring settings; above the last setting there is no figure.
`--by cpu_qps` compares queries per CPU second, which a busy machine disturbs less. "faiss-tuned" is FAISS with its batch threshold at 1, so
that it multiplies matrices for every batch. `auto` has one setting of its own, shown with the recall that it reached.
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
        ("faiss", "Flat", "exact"), ("faiss-tuned", "Flat", "exact"), ("bilin", "Flat", "exact"),
        ("faiss", f"IVF{nlist},Flat", "ivf-flat"), ("bilin", f"IVF{nlist},Flat", "ivf-flat"),
        ("faiss", f"IVF{nlist},PQ{{half}}x4fs,RFlat", "ivf"), ("scann", str(nlist), "ivf"),
        ("bilin", f"IVF{nlist},PQ{{half}}x4fs,RFlat", "ivf"), ("bilin", f"IVF{nlist},RaBitQ,RFlat", "ivf"),
        ("faiss", "HNSW16", "graph"), ("hnswlib", "16", "graph"), ("usearch", "16", "graph"), ("rabitq", "32", "graph"), ("bilin", "HNSW16", "graph"),
        ("bilin", "auto", "auto"),
    ]  # fmt: skip


def run(command, threads):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        print(f"peers: {' '.join(command)} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
    return lines


def measure(peer, spec, kind, batch, arguments, folder, metric, dim):
    spec = spec.format(half=dim // 2)
    if peer == "bilin":
        command = [arguments.bilin, "bench", "--vectors", folder, "--metric", metric, "--index", spec]
    else:
        command = [sys.executable, os.path.join(HERE, "measure.py"), peer, spec, "--vectors", folder, "--metric", metric]
    lines = run(command + ["--threads", str(arguments.threads), "--batch", str(batch)], arguments.threads)
    name = os.path.basename(os.path.normpath(folder))
    return [{**line, "peer": peer, "kind": kind, "data": name, "batch": batch} for line in lines]


def front(lines, by):
    """The Pareto front: by recall, each with the best QPS at that recall or above."""
    best, kept = 0.0, []
    for line in sorted(lines, key=lambda line: (-line["recall_at_10"], -line[by])):
        if line[by] > best:
            best = line[by]
            kept.append((line["recall_at_10"], line[by]))
    return kept[::-1]


def qps_at(lines, recall, by):
    points = front(lines, by)
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
        place = f"{line['data']}, batch {line['batch']}"
        found.setdefault((place, line["kind"], line["peer"], line["index"]), []).append({**line, "place": place})
    return found


def table(lines, by):
    out = io.StringIO()
    grouped = series(lines)
    for place in dict.fromkeys(key[0] for key in grouped):
        out.write(f"\n### {place}\n\n| index | build CPU-s | B/vector | QPS at 0.90 | 0.95 | 0.99 | ours / it at 0.90 | 0.95 | 0.99 |\n|---|---|---|---|---|---|---|---|---|\n")
        here = {key: own for key, own in grouped.items() if key[0] == place}
        for (_, kind, peer, index), own in here.items():
            name = f"| {peer} {index}{' (auto)' if kind == 'auto' else ''} | {own[0]['build_cpu_s']:.1f} | {own[0]['bytes_per_vector']:.0f} |"
            if kind == "auto":
                out.write(f"{name} recall {own[0]['recall_at_10']:.3f} at {own[0][by]:,.0f} with {json.dumps(own[0]['params'])} | | | | | |\n")
                continue
            ours = [line for key, lines in here.items() if key[1] == kind and key[2] == "bilin" for line in lines]
            figures = [qps_at(own, recall, by) for recall in RECALLS]
            ratios = [None if peer == "bilin" or not f else (qps_at(ours, r, by) or 0) / f for f, r in zip(figures, RECALLS)]
            cells = [f"{f:,.0f}" if f else "–" for f in figures] + [f"{r:.2f}" if r else "" for r in ratios]
            out.write(f"{name} {' | '.join(cells)} |\n")
    return out.getvalue()


def plot(lines, by):
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as pyplot

    grouped = series(lines)
    data_sets = list(dict.fromkeys(key[0] for key in grouped))
    figure, axes = pyplot.subplots(1, len(data_sets), figsize=(8 * len(data_sets), 6), squeeze=False)
    for axis, data in zip(axes[0], data_sets):
        for (_, kind, peer, index), own in ((k, v) for k, v in grouped.items() if k[0] == data):
            points = [point for point in front(own, by) if point[0] >= 0.7]
            axis.plot([p[0] for p in points], [p[1] for p in points], "o-" if peer == "bilin" else "x--", linewidth=2.4 if peer == "bilin" else 1, label=f"{peer} {index}" + (" (auto)" if kind == "auto" else ""))
        axis.set(title=f"{data}: recall@10 against QPS", xlabel="recall@10", ylabel="queries per CPU second" if by == "cpu_qps" else "queries per second", yscale="log")
        axis.grid(True, which="both", alpha=0.3)
        axis.legend(fontsize=8)
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight")
    return f"<!doctype html><meta charset=utf-8><title>bilin and its peers</title>{text.getvalue()[text.getvalue().index('<svg'):]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bilin", required=True, help="the release binary")
    parser.add_argument("--vectors", nargs="+", required=True, metavar="DIR:METRIC", help="data folders, each with l2 or ip")
    parser.add_argument("--only", nargs="*", help="only these peers (bilin faiss faiss-tuned hnswlib usearch rabitq scann)")
    parser.add_argument("--kind", nargs="*", help="only these kinds (exact ivf-flat ivf graph auto)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32, 1000], help="queries per call")
    parser.add_argument("--by", choices=["qps", "cpu_qps"], default="qps", help="what is compared")
    parser.add_argument("--out", default="target/peers")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)

    import numpy as np

    lines = []
    for item in arguments.vectors:
        folder, metric = item.rsplit(":", 1)
        base = next(name for name in sorted(os.listdir(folder)) if name.startswith("base."))
        rows, dim = np.load(os.path.join(folder, base), mmap_mode="r").shape
        for batch in arguments.batch:
            for peer, spec, kind in plan(rows):
                if (arguments.only and peer not in arguments.only) or (arguments.kind and kind not in arguments.kind):
                    continue
                print(f"peers: {os.path.basename(folder)} {peer} {spec}, batch {batch}", file=sys.stderr)
                lines += measure(peer, spec, kind, batch, arguments, folder, metric, dim)
    with open(os.path.join(arguments.out, "lines.jsonl"), "w") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)
    head = f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, {arguments.threads} thread(s), {arguments.by}\n"
    text = head + table(lines, arguments.by)
    with open(os.path.join(arguments.out, "table.md"), "w") as out:
        out.write(text)
    with open(os.path.join(arguments.out, "plot.html"), "w") as out:
        out.write(plot(lines, arguments.by))
    print(text)


if __name__ == "__main__":
    main()
