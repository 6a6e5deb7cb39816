"""`./soak serve`: a real server with a real Redis under mixed reads, writes, backups and scrapes, and every answer checked.

Two collections: `points`, vectors under a graph that many writes go to, and `notes`, texts that are written to now and then, so that caches
have something to keep. Items carry their revision, and text and vector follow from id and revision alone; so an answer proves itself:

* no answer is refused and none is 5xx, whatever Redis does (it is stopped and started again twice);
* what an answer says of an item is what was written, its score is that of its vector;
* nothing is stale: an item is never older than its last revision acknowledged before the question was sent, deleted ones never come;
* after an acknowledged write its writer finds the item, by its vector or by a word that no other item has;
* at the end what is inside is what was acknowledged, item by item, and the newest backups verify.

Memory is sampled and its slope told, from a third of the time on; in ten minutes or more it has to be flat. Live recall is told and has to hold.
"""

import argparse
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy
import requests

from bilin import Server, free_port

DIM = 32
POINTS, NOTES = 12_000, 240
READERS = 3
# Of each writer's items, how far their number may move.
SWAY = 200
FIXED = 4
SAMPLE_EVERY_S = 2.0
MAX_SLOPE_MB_PER_HOUR = 40.0
# From this length on the slope is no accident.
LONG_S = 600
RECALL_FLOOR = 0.9
# How many of the searches for a fresh item may need a second look with all effort.
SECOND_LOOKS = 0.02
CONSONANTS = "bcdfghjklmnpqrtvwx"
WORDS = "index vector backup course memory graph metric cluster sample window harbour lantern granite meadow copper violin".split()


def vector_of(name, revision):
    number = int(name[1:])
    return numpy.random.default_rng((number, revision)).standard_normal(DIM, dtype=numpy.float32)


def word_of(name, revision):
    """A word of consonants that no other revision of no other item has."""
    number, letters = int(name[1:]) * 1000 + revision, "z"
    while number:
        number, digit = divmod(number, len(CONSONANTS))
        letters += CONSONANTS[digit]
    return letters + "z"


def text_of(name, revision):
    words = random.Random(f"{name} {revision}").choices(WORDS, k=6)
    return f"Note {word_of(name, revision)} is about {' '.join(words)}."


class Broken(Exception):
    """A promise that was not kept."""


class Truth:
    """What was begun and what was acknowledged of each item, and when."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begun, self.acknowledged = {}, {}

    def begin(self, names, revision_of):
        with self.lock:
            for name in names:
                self.begun[name] = revision_of(name)

    def acknowledge(self, names, deleted=False):
        now = time.monotonic()
        with self.lock:
            for name in names:
                self.acknowledged.setdefault(name, []).append((now, None if deleted else self.begun[name]))

    def check(self, name, revision, asked):
        """Whether an answer to what was asked at `asked` may hold this revision."""
        with self.lock:
            history, begun = self.acknowledged.get(name, []), self.begun.get(name)
        known = next((told for told in reversed(history) if told[0] < asked), None)
        if begun is None or revision > begun:
            raise Broken(f"{name} has revision {revision}, which was never written (newest: {begun})")
        if known is not None and known[1] is None:
            raise Broken(f"{name} was deleted {asked - known[0]:.3f} s before it was asked for, and came")
        if known is not None and revision < known[1]:
            raise Broken(f"{name} came with revision {revision}; {known[1]} was acknowledged {asked - known[0]:.3f} s before the question")

    def live(self):
        return {name: told[-1][1] for name, told in self.acknowledged.items() if told[-1][1] is not None}


class Soak:
    def __init__(self, seconds, seed, folder):
        self.seconds, self.seed, self.folder = seconds, seed, folder
        self.truth = Truth()
        self.stop = threading.Event()
        self.problems, self.counts, self.memory, self.recall = [], {}, [], []
        self.lock = threading.Lock()
        self.redis_port, self.redis = free_port(), None

    # ---- what all threads use

    def count(self, what, more=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + more

    def call(self, session, method, path, body=None):
        answer = session.request(method, self.server.url + path, json=body, timeout=60)
        self.count("requests")
        if answer.status_code != 200:
            raise Broken(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def search(self, session, collection, **body):
        """Asks and checks every item of the answer."""
        asked = time.monotonic()
        told = self.call(session, "POST", f"/v1/collections/{collection}/search", body).json()
        self.count("cached answers" if told["cached"] else "new answers")
        for result in told["results"]:
            name, revision = result["id"], result["metadata"]["revision"]
            self.truth.check(name, revision, asked)
            if collection == "notes" and result["text"] != text_of(name, revision):
                raise Broken(f"{name} in revision {revision} came with the text {result['text']!r}")
            if "vector" in body:
                vector, query = vector_of(name, revision), numpy.asarray(body["vector"])
                cosine = float(vector @ query / (numpy.linalg.norm(vector) * numpy.linalg.norm(query)))
                if abs(cosine - result["similarity"]) > 1e-3:
                    raise Broken(f"{name}: similarity {result['similarity']}, and it is {cosine}")
        return told["results"]

    def forever(self, work):
        """Runs `work` in a thread until the end, or until a promise is broken."""

        def loop():
            try:
                with requests.Session() as session:
                    while not self.stop.is_set():
                        work(session)
            except Broken as broken:
                self.problems.append(str(broken))
                self.stop.set()
            except Exception as error:  # A connection that is cut is a failure of the server, too.
                self.problems.append(f"{work}: {error!r}")
                self.stop.set()

        thread = threading.Thread(target=loop)
        thread.start()
        return thread

    # ---- who does what

    def reader(self, number):
        chance = random.Random(f"{self.seed} reader {number}")
        fixed = [f"a note about {' and '.join(chance.sample(WORDS, 2))}" for _ in range(FIXED)]
        vectors = [numpy.random.default_rng((9, at)).standard_normal(DIM).tolist() for at in range(FIXED)]

        def read(session):
            if chance.random() < 0.5:
                vector = chance.choice(vectors)
                if chance.random() < 0.7:
                    vector = [chance.gauss(0, 1) for _ in range(DIM)]
                if len(self.search(session, "points", vector=vector, top_k=10)) != 10:
                    raise Broken("fewer than 10 of thousands of points were found")
            else:
                text = chance.choice(fixed)
                if chance.random() < 0.3:
                    text += f" {chance.random()}"
                mode = chance.choice(["dense", "hybrid", "lexical"])
                if len(self.search(session, "notes", text=text, mode=mode, top_k=5)) != 5:
                    raise Broken(f"fewer than 5 of hundreds of notes were found for {text!r} ({mode})")
            time.sleep(0.002)

        return read

    def writer(self, collection, letter, first, pause):
        chance = random.Random(f"{self.seed} {collection}")
        numbers = iter(range(first, 1 << 40))
        revisions = {name: told for name, told in self.truth.live().items() if name[0] == letter}
        middle = len(revisions)

        def write(session):
            kind = chance.choice(["add", "update", "delete"])
            if len(revisions) > middle + SWAY:
                kind = "delete"
            elif len(revisions) < max(middle - SWAY, middle // 2):
                kind = "add"
            count = chance.randint(1, 6)
            if kind == "add":
                names = [f"{letter}{next(numbers)}" for _ in range(count)]
                revisions.update((name, 0) for name in names)
            else:
                names = chance.sample(sorted(revisions), count)
            if kind == "update":
                revisions.update((name, (revisions[name] + 1) % 1000) for name in names)
            if kind == "delete":
                for name in names:
                    del revisions[name]
                self.call(session, "POST", f"/v1/collections/{collection}/delete", {"ids": names})
                self.truth.acknowledge(names, deleted=True)
            else:
                self.put(session, collection, names, revisions.__getitem__)
                self.find(session, collection, chance.choice(names), revisions)
            self.count(f"{kind} of {collection}", count)
            # Until the end, if that comes first.
            self.stop.wait(pause)

        return write

    def put(self, session, collection, names, revision_of):
        self.truth.begin(names, revision_of)
        documents = []
        for name in names:
            revision = revision_of(name)
            what = {"text": text_of(name, revision)} if collection == "notes" else {"vector": vector_of(name, revision).tolist()}
            documents.append({"id": name, "metadata": {"revision": revision}, **what})
        self.call(session, "POST", f"/v1/collections/{collection}/documents", {"documents": documents})
        self.truth.acknowledge(names)

    def find(self, session, collection, name, revisions):
        """An acknowledged item is found."""
        if collection == "notes":
            found = self.search(session, "notes", text=word_of(name, revisions[name]), mode="lexical", top_k=3)
            if [result["id"] for result in found] != [name]:
                raise Broken(f"{name} was acknowledged and is not found by its word: {found}")
            return
        query = vector_of(name, revisions[name]).tolist()
        self.count("searches for what was just written")
        if self.search(session, "points", vector=query, top_k=3)[0]["id"] != name:
            # A graph may miss; with all effort it may not.
            self.count("second looks")
            found = self.search(session, "points", vector=query, top_k=3, effort=4096)
            if found[0]["id"] != name:
                raise Broken(f"{name} was acknowledged and is not found by its vector: {[one['id'] for one in found]}")

    def upkeep(self, session):
        for collection in ("points", "notes"):
            self.call(session, "POST", "/v1/backups", {"collection": collection, "keep": 3})
            self.count("backups")
        self.stop.wait(max(3.0, self.seconds / 24))

    def scrape(self, session):
        text = self.call(session, "GET", "/metrics").text
        health = self.call(session, "GET", "/health").json()
        if health["status"] != "healthy":
            raise Broken(f"/health says {health['status']}: {health}")
        figures = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                figures[name] = float(value)
        if figures["bilin_degrade_level"] > 0:
            self.count("scrapes while something was left out")
        if 'bilin_live_recall{collection="points"}' in figures:
            self.recall.append(figures['bilin_live_recall{collection="points"}'])
        self.figures = figures
        self.stop.wait(1.0)

    def sample(self, _):
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in status.splitlines() if line.startswith(("VmRSS", "RssAnon"))}
        self.memory.append((time.monotonic() - self.began, kib["VmRSS"] / 1024, kib["RssAnon"] / 1024))
        self.stop.wait(SAMPLE_EVERY_S)

    # ---- Redis

    def start_redis(self):
        command = ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]
        self.redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def stop_redis(self, how):
        self.redis.send_signal(how)
        self.redis.wait(30)
        self.redis = None

    def until_redis_is(self, up):
        """Waits until the service has noticed."""
        end = time.monotonic() + 60
        while self.figures.get("bilin_shared_cache_up") != up and not self.stop.is_set():
            if time.monotonic() > end:
                raise Broken(f"bilin_shared_cache_up is not {up} a minute after Redis was")
            time.sleep(0.2)

    def hits(self):
        return self.figures.get('bilin_shared_cache_requests_total{operation="get",outcome="hit"}', 0.0)

    def disturb(self):
        """Stops Redis and starts it again, once politely, once by force."""
        for part, how in ((0.25, signal.SIGTERM), (0.6, signal.SIGKILL)):
            if self.stop.wait(max(0.0, self.began + self.seconds * part - time.monotonic())):
                return
            self.stop_redis(how)
            self.until_redis_is(0.0)
            self.stop.wait(self.seconds * 0.1)
            self.start_redis()
            self.until_redis_is(1.0)
            self.count("restarts of Redis")
        self.stop.wait(max(0.0, self.began + self.seconds - time.monotonic()))

    # ---- the whole

    def fill(self):
        with requests.Session() as session:
            for name, body in (("points", {"dim": DIM, "index": "HNSW16"}), ("notes", {"kind": "text"})):
                session.put(f"{self.server.url}/v1/collections/{name}", json=body, timeout=60).raise_for_status()
            for collection, letter, count in (("points", "p", POINTS), ("notes", "n", NOTES)):
                for first in range(0, count, 1000):
                    names = [f"{letter}{number}" for number in range(first, min(first + 1000, count))]
                    self.put(session, collection, names, lambda name: 0)
            self.call(session, "POST", "/v1/collections/points/maintain", {"force": True})
            self.scrape_first(session)

    def scrape_first(self, session):
        self.stop.set()
        self.scrape(session)
        self.stop.clear()

    def finish(self):
        """What is inside is what was acknowledged."""
        with requests.Session() as session:
            self.scrape_first(session)
            live = self.truth.live()
            for collection, letter in (("points", "p"), ("notes", "n")):
                mine = {name: revision for name, revision in live.items() if name[0] == letter}
                count = self.call(session, "GET", f"/v1/collections/{collection}").json()["count"]
                if count != len(mine):
                    raise Broken(f"{collection} has {count} items, and {len(mine)} were acknowledged")
                for name in random.Random(self.seed).sample(sorted(mine), 200 if collection == "points" else len(mine)):
                    told = self.call(session, "GET", f"/v1/collections/{collection}/documents/{name}").json()
                    revision = told["items"][0]["metadata"]["revision"]
                    if revision != mine[name]:
                        raise Broken(f"{name} has revision {revision} at the end, and {mine[name]} was acknowledged")
                    self.find(session, collection, name, mine)
            verified = self.call(session, "POST", "/v1/backups/verify", {}).json()
            self.verified = verified
            self.check_figures()

    def check_figures(self):
        looks, all_looks = self.counts.get("second looks", 0), self.counts.get("searches for what was just written", 1)
        if looks > max(3, SECOND_LOOKS * all_looks):
            raise Broken(f"{looks} of {all_looks} searches for a fresh item needed a second look")
        if self.counts.get("restarts of Redis") != 2:
            raise Broken("Redis was not stopped and started twice")
        if self.counts.get("cached answers", 0) == 0 or self.hits() == 0:
            raise Broken("no answer came from a cache, or none from Redis: the soak tests less than it says")
        if self.recall and self.recall[-1] < RECALL_FLOOR:
            raise Broken(f"live recall is {self.recall[-1]:.3f} at the end")
        if self.seconds >= LONG_S and self.slope(2) > MAX_SLOPE_MB_PER_HOUR:
            raise Broken(f"memory grows by {self.slope(2):.1f} MB per hour")

    def slope(self, column):
        """MB per hour, by least squares, from a third of the time on."""
        samples = numpy.array([sample for sample in self.memory if sample[0] >= self.seconds / 3])
        return float(numpy.polyfit(samples[:, 0], samples[:, column], 1)[0]) * 3600 if len(samples) > 2 else 0.0

    def run(self):
        environment = {
            "BILIN_CACHE_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}",
            # So small that Redis has something to do.
            "BILIN_CACHE_MEMORY_BYTES": "8192",
            # Full soon, so that filling it is no growth.
            "BILIN_CACHE_VECTOR_BYTES": "1048576",
            "BILIN_RECALL_SAMPLE_EVERY": "20",
            # One that waits long behind a shared disk is not the server's fault; what is refused is.
            "BILIN_ADMISSION_QUEUE_MS": "5000",
        }
        self.start_redis()
        try:
            with Server(self.folder / "data", "--quiet", environment=environment) as self.server:
                self.began = time.monotonic()
                self.fill()
                self.began = time.monotonic()
                works = [self.reader(number) for number in range(READERS)]
                works += [self.writer("points", "p", POINTS, 0.05), self.writer("notes", "n", NOTES, 2.0), self.upkeep, self.scrape, self.sample]
                threads = [self.forever(work) for work in works]
                try:
                    self.disturb()
                except Broken as broken:
                    self.problems.append(str(broken))
                finally:
                    self.stop.set()
                    for thread in threads:
                        thread.join()
                if not self.problems:
                    try:
                        self.finish()
                    except Broken as broken:
                        self.problems.append(str(broken))
        finally:
            if self.redis is not None:
                self.stop_redis(signal.SIGKILL)

    def report(self):
        print(f"seed {self.seed}, {self.seconds:.0f} s: " + ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())))
        if self.memory:
            first, last = self.memory[len(self.memory) // 3], self.memory[-1]
            print(f"memory: resident {first[1]:.0f} -> {last[1]:.0f} MB ({self.slope(1):+.1f} MB per hour), own {first[2]:.0f} -> {last[2]:.0f} MB ({self.slope(2):+.1f} MB per hour), from a third of the time on")
        if self.recall:
            print(f"live recall of points: first {self.recall[0]:.4f}, least {min(self.recall):.4f}, last {self.recall[-1]:.4f}")
        if hasattr(self, "figures"):
            print(f"answers from Redis: {self.hits():.0f}")
        for problem in self.problems:
            print(f"BROKEN: {problem}")


def soak(seconds, seed):
    """Runs it; what was broken."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bilin-soak-"))
    run = Soak(seconds, seed, folder)
    try:
        run.run()
    finally:
        run.report()
        sys.stdout.flush()
        if run.problems or os.environ.get("BILIN_KEEP"):
            print(f"the data folder is kept: {folder}")
        else:
            shutil.rmtree(folder)
    return run.problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"soak serve: seed {arguments.seed}, {arguments.minutes} minutes", flush=True)
    sys.exit(1 if soak(arguments.minutes * 60, arguments.seed) else 0)


if __name__ == "__main__":
    main()
