"""`./soak api`: schemathesis over the API description against a real server, without and with keys, wide and deep.

*Wide* takes every parameter from the description, so that most names are unknown ones; *deep* gives it names that exist, so that what lies behind
is reached. Checked of every answer: it is none of 5xx, its status and content type are described, its body is as its schema says, and methods and
headers are as they should be; with keys also that nobody gets anything without one. Whether a request that satisfies the schema is taken is
not checked: the description does not say which index words or filters there are.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import requests

from bilin import ROOT, SAMPLES, Server, run

# In an environment of its own, for what it needs is much.
SCHEMATHESIS = ROOT / ".tools" / "schemathesis" / "bin" / "schemathesis"
KEY = "fuzzing-key-0123456789abcdef"
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
]
WITH_KEYS = ["ignored_auth"]
# Names that exist, for the deep runs.
NAMES = {"notes": "a", "points": "a", "pictures": "a"}


def prepared(data):
    """Three collections: of text, of vectors, of pictures."""
    text = data.parent / "notes.txt"
    text.write_text("Vectors are compared by their angle.\n\nA graph leads from neighbour to neighbour.\n" * 3, "utf-8")
    run("add", "notes", text, data=data)
    picture = next(path for path in sorted((SAMPLES / "pictures").rglob("*")) if path.suffix in (".jpg", ".png", ".webp"))
    run("add", "pictures", picture, data=data)
    with Server(data, "--quiet") as server:
        server.request("PUT", "/v1/collections/points", expect=201, json={"dim": 4, "metric": "l2"})
        documents = [{"id": name, "vector": [1.0, 2.0, 3.0, at], "metadata": {"k": at}} for at, name in enumerate("abc")]
        server.request("POST", "/v1/collections/points/documents", json={"documents": documents})
        server.request("POST", "/v1/collections/notes/documents", json={"documents": [{"id": "a", "text": "Another note.", "metadata": {"k": 1}}]})


def settings(folder, name):
    """Where parameters come from, as schemathesis reads it."""
    path = folder / f"{name or 'wide'}.toml"
    lines = ["[parameters]"]
    if name is not None:
        lines += [f'"path.collection" = "{name}"', f'"path.id" = "{NAMES[name]}"']
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def fuzz(data, folder, name, keys, examples, seed):
    """One run; how many cases, and what failed."""
    environment = {"BILIN_API_KEY": KEY} if keys else {}
    report = folder / f"report-{name or 'wide'}-{keys}.ndjson"
    with Server(data, "--quiet", environment=environment, key=KEY if keys else None) as server:
        # Through the file, so that what is described is what is tested, whoever is asked for it.
        description = folder / "openapi.json"
        description.write_text(requests.get(f"{server.url}/openapi.json", headers=server.headers, timeout=10).text, "utf-8")
        command = [
            *(SCHEMATHESIS, "--config-file", settings(folder, name), "run", description),
            *("--url", server.url, "--seed", seed, "-n", examples, "--phases", "examples,coverage,fuzzing"),
            *("-c", ",".join(CHECKS + (WITH_KEYS if keys else [])), "--continue-on-failure", "--no-color", "--no-shrink"),
            *("--request-timeout", 60, "--suppress-health-check", "all", "--output-truncate", "true", "--warnings", "off"),
            *("--report", "json", "--report-json-path", report),
        ]
        if keys:
            command += ["-H", f"Authorization: Bearer {KEY}"]
        if name is not None:
            # What removes the names would leave the rest of the run nothing.
            command += ["--exclude-operation-id", "deleteCollection", "--exclude-operation-id", "restoreBackup"]
        # Away from any settings of who runs it, and from files that it writes.
        finished = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True)
        alive = server.request_status("GET", "/livez") == 200
    said = finished.stdout + finished.stderr
    cases = next((int(line.split()[0]) for line in said.splitlines() if " generated" in line), 0)
    if finished.returncode not in (0, 1) or cases == 0 or not alive:
        raise AssertionError(f"schemathesis ended with {finished.returncode}; server alive: {alive}\n{said}")
    return cases, said if finished.returncode == 1 else ""


def campaign(runs, examples, seed):
    """Runs (name, keys) one after the other on a fresh data folder each; cases and failures."""
    total, failures = 0, []
    for name, keys in runs:
        began = time.monotonic()
        folder = pathlib.Path(tempfile.mkdtemp(prefix="bilin-fuzz-"))
        try:
            prepared(folder / "data")
            cases, failed = fuzz(folder / "data", folder, name, keys, examples, seed)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        total += cases
        print(f"{name or 'wide'}, {'with' if keys else 'without'} keys: {cases} cases, {'FAILED' if failed else 'none failed'}, {time.monotonic() - began:.0f} s", flush=True)
        if failed:
            failures.append(failed)
    return total, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=12, help="random cases of each operation and run, beside those that cover its schema")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"soak api: seed {arguments.seed}, {arguments.examples} examples", flush=True)
    runs = [(name, keys) for keys in (False, True) for name in (None, *NAMES)]
    total, failures = campaign(runs, arguments.examples, arguments.seed)
    print("\n".join(failures))
    print(f"{total} cases, {len(failures)} of {len(runs)} runs with failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
