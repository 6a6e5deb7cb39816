"""How long a picture query takes over a large collection of pictures' vectors, and how much of the exact answer `auto` finds.

Vectors of 1280 dimensions come from the built-in EfficientNet-lite0: of crops of the sample pictures (and of `--folder`), and, to fill up
to `--count`, between neighbouring ones of those with noise as large as between two crops of one picture. They come in by `bilin import
faiss --model efficientnet-lite0`, which builds what `auto` chooses. Queries are other crops, sent as JPEG one after the other to
`bilin serve`; so the time is that of decoding, the network, the search, the fields and HTTP. Recall is that of the ten results against
all vectors by numpy. `--quiet` names a command that runs another one undisturbed; it is put before the queries alone.
"""

import argparse
import base64
import io
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import faiss
import numpy
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIM = 1280
TOP_K = 10


def crops(files, count, seed, target):
    """Random crops of a third to all of a picture's sides, half of them mirrored."""
    chance = random.Random(seed)
    target.mkdir(parents=True)
    opened = {}
    for number in range(count):
        path = chance.choice(files)
        if path not in opened:
            opened[path] = Image.open(path).convert("RGB")
        picture = opened[path]
        width, height = (int(side * chance.uniform(0.35, 1.0)) for side in picture.size)
        left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
        part = picture.crop((left, top, left + width, top + height))
        if chance.random() < 0.5:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        part.save(target / f"{number:06}.jpg", quality=88)


def encoded(bilin, folder, place):
    """Vectors of the pictures in `folder`, in the order of their names."""
    data, out = place / f"{folder.name}-data", place / f"{folder.name}-out"
    subprocess.run([bilin, "add", "x", folder, "--data", data, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([bilin, "export", "faiss", "x", out, "--data", data, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    index = faiss.read_index(str(out / "faiss_index.index"))
    return index.reconstruct_n(0, index.ntotal).astype(numpy.float32)


def unit(vectors):
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def filled(seeds, count, seed):
    """`count` vectors: the seeds, then points between each and one of its neighbours, with noise."""
    chance = numpy.random.default_rng(seed)
    cosines = seeds @ seeds.T
    numpy.fill_diagonal(cosines, -2)
    near = numpy.argpartition(-cosines, 8, axis=1)[:, :8]
    spread = numpy.median(1 - numpy.take_along_axis(cosines, near[:, :1], axis=1))
    left = count - len(seeds)
    first = chance.integers(0, len(seeds), left)
    second = near[first, chance.integers(0, 8, left)]
    share = chance.uniform(0.1, 0.9, (left, 1)).astype(numpy.float32)
    noise = chance.standard_normal((left, DIM), dtype=numpy.float32) * numpy.float32(numpy.sqrt(spread / DIM))
    made = share * seeds[first] + (1 - share) * seeds[second] + noise * numpy.abs(seeds[first]) * numpy.sqrt(DIM)
    return numpy.concatenate([seeds, unit(made)]).astype(numpy.float32)


def ask(url, folder, count):
    """One query after the other; milliseconds and the ids of each answer."""
    told = []
    for path in sorted(folder.iterdir())[:count]:
        body = {"image": base64.b64encode(path.read_bytes()).decode(), "top_k": TOP_K}
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        started = time.perf_counter()
        with urllib.request.urlopen(request) as answer:
            received = json.load(answer)
        spent = (time.perf_counter() - started) * 1e3
        told.append({"ms": spent, "timings": received["timings_ms"], "ids": [found["id"] for found in received["results"]]})
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bilin", required=True)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=2_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--folder", type=pathlib.Path, help="more pictures to cut crops of")
    parser.add_argument("--quiet", help="a command that runs another one undisturbed")
    parser.add_argument("--ask", nargs=3, metavar=("URL", "FOLDER", "COUNT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        url, folder, count = arguments.ask
        json.dump(ask(url, pathlib.Path(folder), int(count)), sys.stdout)
        return
    bilin = os.path.abspath(arguments.bilin)
    folders = [ROOT / "samples" / "pictures", *([arguments.folder] if arguments.folder else [])]
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".jpg", ".jpeg", ".png", ".webp"))
    with tempfile.TemporaryDirectory(prefix="bilin-pictures-") as place:
        place = pathlib.Path(place)
        crops(files, arguments.seeds, 1, place / "seeds")
        crops(files, arguments.queries, 2, place / "queries")
        queries = encoded(bilin, place / "queries", place)
        vectors = filled(encoded(bilin, place / "seeds", place), arguments.count, 3)
        whole = faiss.IndexFlatIP(DIM)
        whole.add(vectors)
        faiss.write_index(whole, str(place / "big.index"))
        started = time.perf_counter()
        command = [bilin, "import", "faiss", "big", place / "big.index", "--model", "efficientnet-lite0", "--data", place / "data"]
        subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        built_s = time.perf_counter() - started
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        service = subprocess.Popen(
            [bilin, "serve", "--listen", f"127.0.0.1:{port}", "--data", place / "data"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while True:
                try:
                    urllib.request.urlopen(f"{url}/readyz")
                    break
                except OSError:
                    time.sleep(0.05)
            search = f"{url}/v1/collections/big/search"
            ask(search, place / "queries", 20)
            asking = [sys.executable, __file__, "--bilin", bilin, "--ask", search, place / "queries", str(arguments.queries)]
            quiet = [arguments.quiet] if arguments.quiet else []
            told = json.loads(subprocess.run([*quiet, *asking], check=True, capture_output=True).stdout)
            with urllib.request.urlopen(f"{url}/v1/collections/big") as answer:
                index = json.load(answer)["index"]
        finally:
            service.terminate()
            service.wait()
        exact = numpy.argsort(-(queries @ vectors.T), axis=1)[:, :TOP_K]
        found = [len({int(name) for name in answer["ids"]} & set(row.tolist())) for answer, row in zip(told, exact, strict=True)]
        spent = numpy.array([answer["ms"] for answer in told])
        parts = {part: float(numpy.median([answer["timings"][part] for answer in told])) for part in ("encode", "search", "fetch")}
        p50, p95, p99 = numpy.percentile(spent, [50, 95, 99])
        json.dump(
            {
                "vectors": len(vectors),
                "dim": DIM,
                "index": index["current"],
                "effort": index["effort"],
                "import_and_build_s": round(built_s, 1),
                "queries": len(told),
                "p50_ms": round(p50, 2),
                "p95_ms": round(p95, 2),
                "p99_ms": round(p99, 2),
                "median_ms": {part: round(ms, 2) for part, ms in parts.items()},
                "recall_at_10": round(sum(found) / (TOP_K * len(found)), 4),
            },
            sys.stdout,
        )
        print()


if __name__ == "__main__":
    main()
