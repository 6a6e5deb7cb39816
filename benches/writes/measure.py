"""One peer, one batch size: adds for some seconds, prints a JSON line. Run by `compare.py`, one process at a time.

Every document has an id, 384 floats, a text of 248 characters and three fields of metadata. Only the calls that add are timed, from handing
the documents over (as numpy rows and Python objects) until the acknowledgement; so a peer's own serialising counts, ours to JSON too.
Which of them are durable when they answer is not what they say but what `compare.py` counts of fsync calls.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import time

import numpy

DIM = 384
POOL = 20_000
TEXT = "a passage of the usual length, " * 8


def metadata(number):
    return {"category": "birds" if number % 3 == 0 else "cats", "page": number % 100, "source": f"/docs/chapter-{number % 50}.md"}


class Chroma:
    """A PersistentClient in this process; SQLite with a journal, synchronised at each commit."""

    def __init__(self, arguments):
        import chromadb

        client = chromadb.PersistentClient(path=arguments.folder, settings=chromadb.Settings(anonymized_telemetry=False))
        self.collection = client.create_collection("notes", embedding_function=None, metadata={"hnsw:space": "cosine"})
        self.most = client.get_max_batch_size()

    def prepare(self, start, vectors):
        numbers = range(start, start + len(vectors))
        return [
            {
                "ids": [f"document-{n}" for n in numbers[at : at + self.most]],
                "embeddings": vectors[at : at + self.most],
                "documents": [TEXT] * len(numbers[at : at + self.most]),
                "metadatas": [metadata(n) for n in numbers[at : at + self.most]],
            }
            for at in range(0, len(numbers), self.most)
        ]

    def add(self, parts):
        for part in parts:
            self.collection.add(**part)

    def count(self):
        return self.collection.count()

    def close(self):
        pass


class Milvus:
    """milvus-lite in this process, as installed: it writes a log ahead and does not fsync it."""

    def __init__(self, arguments):
        from pymilvus import MilvusClient

        self.client = MilvusClient(os.path.join(arguments.folder, "milvus.db"))
        self.client.create_collection("notes", dimension=DIM, id_type="string", max_length=64, metric_type="COSINE")

    def prepare(self, start, vectors):
        return [{"id": f"document-{start + n}", "vector": row, "text": TEXT, **metadata(start + n)} for n, row in enumerate(vectors)]

    def add(self, rows):
        self.client.insert("notes", rows)

    def count(self):
        return self.client.query("notes", filter="", output_fields=["count(*)"])[0]["count(*)"]

    def close(self):
        self.client.close()


class DurableMilvus(Milvus):
    """milvus-lite with the durable setting that its log has ("batch": fsync after every write), which no option of it reaches."""

    def __init__(self, arguments):
        from milvus_lite.storage import wal

        original = wal.WAL.__init__
        wal.WAL.__init__ = lambda self, *given, **named: original(self, *given, **{**named, "sync_mode": "batch"})
        super().__init__(arguments)


class Bilin:
    """A real `bilin serve` on this machine; JSON over one kept connection."""

    def __init__(self, arguments):
        import orjson

        self.orjson = orjson
        command = [arguments.bilin, "--data", arguments.folder, "--json", "serve", "--listen", "127.0.0.1:0"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BILIN_")}
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=arguments.folder)
        port = int(self.orjson.loads(self.server.stdout.readline())["url"].rsplit(":", 1)[1])
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.ask("PUT", "/v1/collections/notes", {"dim": DIM, "metric": "cosine"})

    def ask(self, method, path, body=None):
        data = None if body is None else self.orjson.dumps(body, option=self.orjson.OPT_SERIALIZE_NUMPY)
        self.connection.request(method, path, data, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 201):
            raise SystemExit(f"{method} {path}: {answer.status} {content[:500]!r}")
        return self.orjson.loads(content)

    def prepare(self, start, vectors):
        return {
            "documents": [
                {"id": f"document-{start + n}", "vector": row, "metadata": {"text": TEXT, **metadata(start + n)}} for n, row in enumerate(vectors)
            ]
        }

    def add(self, body):
        self.ask("POST", "/v1/collections/notes/documents", body)

    def count(self):
        return self.ask("GET", "/v1/collections/notes")["count"]

    def close(self):
        self.server.terminate()
        self.server.wait()


PEERS = {"chromadb": Chroma, "milvus-lite": Milvus, "milvus-lite-fsync": DurableMilvus, "bilin-http": Bilin}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rows", type=int, default=200_000, help="most rows")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--bilin")
    arguments = parser.parse_args()
    pool = numpy.random.default_rng(1).standard_normal((POOL, DIM), dtype=numpy.float32)
    peer = PEERS[arguments.peer](arguments)
    spent, batches, added, warm = 0.0, 0, 0, 1
    while True:
        at = added % POOL
        rows = pool[numpy.arange(at, at + arguments.batch) % POOL]
        prepared = peer.prepare(added, rows)
        started = time.perf_counter()
        peer.add(prepared)
        added += arguments.batch
        # The first batch opens files and is not counted.
        if warm:
            warm = 0
            continue
        spent += time.perf_counter() - started
        batches += 1
        if spent >= arguments.seconds or added >= arguments.rows:
            break
    counted = peer.count()
    peer.close()
    if counted != added:
        raise SystemExit(f"{arguments.peer}: {added} added, {counted} there")
    line = {"peer": arguments.peer, "batch": arguments.batch, "batches": batches, "adds_per_s": batches * arguments.batch / spent}
    print(json.dumps(line))
    sys.stdout.flush()
    # Their threads are not waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
