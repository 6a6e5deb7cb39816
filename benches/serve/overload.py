"""`./bench overload`: ten times what the service can carry, for minutes: who is answered and how fast, who is turned away and how fast.

all-MiniLM-L6-v2 (f32) over the texts of `./bench serve`, every search a new one. First the capacity: answers per second to as many clients as
there are places inside, each asking again once answered. Then `--times` that rate, open loop (`crates/server/examples/load.rs`), then one
search each 100 ms until the service is as before: level `whole`, nothing left out, answered as fast as before. Then the capacity again, for the
machine may have changed meanwhile.

Server-side times of refused requests are from its log (`--json`), which is written as by default: one line in 10 ms. Bars: `../shared/targets.md`.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import threading
import time
import urllib.request

from compare import Service, free_port, model_folder
from texts import texts_of

BARS = {"p99_ms": 500, "goodput": 0.9, "shed_ms": 5, "normal_s": 10}
CLIENTS = 16
PROBE_EVERY_S = 0.1


def prepared(folder, arguments):
    """Model, data folder and queries; made once for each folder."""
    if not (folder / "ready").exists():
        texts = texts_of(arguments.texts_file, arguments.texts)
        (folder / "texts").mkdir(parents=True)
        with open(folder / "texts" / "texts.jsonl", "w", encoding="utf-8") as file:
            for number, text in enumerate(texts):
                file.write(json.dumps({"id": str(number), "text": text}) + "\n")
        (folder / "queries.txt").write_text("\n".join(" ".join(text.split()[:12]) for text in texts[:1000]) + "\n", "utf-8")
        model_folder(folder / "model")
        command = [arguments.bilin, "add", "texts", folder / "texts", "--model", folder / "model", "--data", folder / "data"]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        (folder / "ready").touch()
    return folder


class Watch:
    """Resident memory and level of the service, looked at twice a second."""

    def __init__(self, service):
        self.service, self.stop = service, threading.Event()
        self.memory, self.levels, self.limits, self.slowest_look_s = [], {}, set(), 0.0
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.stop.wait(0.5):
            self.memory.append(self.service.resident_mb())
            began = time.monotonic()
            load = health(self.service)
            self.slowest_look_s = max(self.slowest_look_s, time.monotonic() - began)
            self.levels[load["level"]] = self.levels.get(load["level"], 0) + 1
            self.limits.add(load["limit"])

    def end(self):
        self.stop.set()
        self.thread.join()


def health(service):
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/health", timeout=30) as answer:
        return json.load(answer)["load"]


def load(arguments, folder, service, seconds, *how):
    command = [arguments.load, f"127.0.0.1:{service.port}", folder / "queries.txt", seconds, *how]
    return json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout)


def search(service, text):
    body = json.dumps({"text": text, "top_k": 20}).encode()
    address = f"http://127.0.0.1:{service.port}/v1/collections/texts/search"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    began = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer), time.monotonic() - began
    except urllib.error.HTTPError:
        return None, time.monotonic() - began


def until_normal(service, fast_s):
    """Seconds until a search is answered whole and as fast as before, and the service says that all is as before."""
    began, number = time.monotonic(), 0
    while time.monotonic() - began < 120:
        number += 1
        told, took = search(service, f"a program that is looked for after the flood {number}")
        if told and told["degraded"] == [] and took <= fast_s and health(service)["level"] == "whole":
            return time.monotonic() - began
        time.sleep(PROBE_EVERY_S)
    return float("inf")


def shed_at_server(log):
    """Milliseconds that refused searches took, sorted, of those that have a line."""
    times = []
    with open(log, encoding="utf-8", errors="replace") as file:
        for line in file:
            if '"status":503' in line or '"status":429' in line:
                told = json.loads(line)
                times.append(told.get("fields", told)["ms"])
    return sorted(times)


def at(times, share):
    return times[min(int(len(times) * share), len(times) - 1)] if times else float("nan")


def told(name, times):
    print(f"{name}: {times['count']}, p50 {times['p50']} ms, p95 {times['p95']}, p99 {times['p99']}, p99.9 {times['p999']}, most {times['most']}")


def run(arguments, folder):
    port, log = free_port(), folder / "service.log"
    command = [arguments.bilin.resolve(), "serve", "--json", "--data", folder / "data", "--listen", f"127.0.0.1:{port}", "--model", folder / "model"]
    with open(log, "wb") as file, Service(command, port, file) as service:
        load(arguments, folder, service, 3, "--clients", CLIENTS, "--run", "w")
        fast_s = max(search(service, f"before the flood {number}")[1] for number in range(20)) * 2 + 0.02
        before_mb = service.resident_mb()
        capacity = load(arguments, folder, service, arguments.capacity_seconds, "--clients", CLIENTS, "--run", "c")
        print(f"# capacity: {capacity['good_per_s']:.1f} answers/s by {CLIENTS} clients, p50 {capacity['good']['p50']:.1f} ms, p99 {capacity['good']['p99']:.1f} ms")
        rate = capacity["good_per_s"] * arguments.times
        watch = Watch(service)
        flood = load(arguments, folder, service, arguments.seconds, "--rate", rate, "--run", "f")
        normal_s = until_normal(service, fast_s)
        watch.end()
        after_mb = service.resident_mb()
        again = load(arguments, folder, service, arguments.capacity_seconds, "--clients", CLIENTS, "--run", "d")
    print(f"# capacity afterwards: {again['good_per_s']:.1f} answers/s")
    print(f"# {rate:.0f} searches/s for {arguments.seconds} s: {flood['sent']} sent, {flood['unsent']} not, {flood['connections']} connections, client {flood['client_behind']['p99']} ms behind (p99)")
    told("answered", flood["good"])
    told("refused, at the client", flood["shed"])
    times = shed_at_server(log)
    print(f"refused, at the server, those with a line: {len(times)}, p50 {at(times, 0.5)} ms, p99 {at(times, 0.99)}, p99.9 {at(times, 0.999)}, most {at(times, 1)}")
    carried = (capacity["good_per_s"] + again["good_per_s"]) / 2
    goodput = flood["good_per_s"] / carried
    print(f"goodput: {flood['good_per_s']:.1f} answers/s, {goodput:.3f} of the capacity (mean of before and after)")
    print(f"each second: least {min(flood['by_second'][1:-2], default=0)}, most {max(flood['by_second'])}")
    print(f"left out: {flood['degraded']}; levels seen: {watch.levels}; places: {min(watch.limits)}..{max(watch.limits)}; /health answered within {watch.slowest_look_s * 1e3:.0f} ms")
    print(f"without Retry-After: {flood['without_retry_after']}; other statuses: {flood['others']}; failed: {flood['failed']}")
    print(f"resident: {before_mb:.0f} MB before, {max(watch.memory):.0f} most ({watch.memory[len(watch.memory) // 2]:.0f} half-way), {after_mb:.0f} after; normal after {normal_s:.1f} s")
    kept = {
        "p99_ms": flood["good"]["p99"] <= BARS["p99_ms"],
        "goodput": goodput >= BARS["goodput"],
        "shed_ms": at(times, 0.99) < BARS["shed_ms"],
        "normal_s": normal_s <= BARS["normal_s"],
        "retry_after": flood["without_retry_after"] == 0 and not flood["others"] and not flood["failed"] and not flood["unsent"],
    }
    print("bars: " + ", ".join(f"{name} {'kept' if is_kept else 'MISSED'}" for name, is_kept in kept.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bilin", type=pathlib.Path, required=True)
    parser.add_argument("--load", type=pathlib.Path, required=True)
    parser.add_argument("--texts", type=int, default=43_000)
    parser.add_argument("--texts-file", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--capacity-seconds", type=int, default=10)
    parser.add_argument("--times", type=float, default=10)
    parser.add_argument("--folder", type=pathlib.Path, help="where what is measured is made once and kept")
    arguments = parser.parse_args()
    print(f"# {arguments.texts} texts, {time.strftime('%F %T')}")
    if arguments.folder:
        run(arguments, prepared(arguments.folder.resolve(), arguments))
        return
    with tempfile.TemporaryDirectory(prefix="bilin-overload-") as folder:
        run(arguments, prepared(pathlib.Path(folder), arguments))


if __name__ == "__main__":
    main()
