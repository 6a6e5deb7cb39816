"""Drives the release binary as a user does: its command line and its HTTP service.

Environment: `BILIN` names the binary; without it the release build of this checkout is taken.
"""

import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
BINARY = os.environ.get("BILIN", str(ROOT / "target" / "release" / "bilin"))
COMMAND_TIMEOUT_S = 600
START_TIMEOUT_S = 20


def shown_on(terminal):
    """All that is written to a terminal until its other side is closed, as bytes; `terminal` is the side that sees it, closed then."""
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # The other side is closed.
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    return shown


class Result:
    """What a finished command left: `code`, `out` and `err` (bytes decoded), `raw` (stdout as bytes)."""

    def __init__(self, finished):
        self.code = finished.returncode
        self.raw = finished.stdout
        self.out = finished.stdout.decode("utf-8", "replace")
        self.err = finished.stderr.decode("utf-8", "replace")

    def json_lines(self):
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]


def run(*arguments, data=None, cwd=None, stdin=b"", expect=0):
    """Runs `bilin ARGUMENTS`, with `--data DATA` where given; checks the exit code unless `expect` is None."""
    command = [BINARY, *map(str, arguments)]
    if data is not None:
        command += ["--data", str(data)]
    finished = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, timeout=COMMAND_TIMEOUT_S)
    result = Result(finished)
    if expect is not None and result.code != expect:
        raise AssertionError(
            f"{' '.join(command)}\nexit code {result.code}, expected {expect}\n"
            f"--- stdout\n{result.out[-4000:]}\n--- stderr\n{result.err[-4000:]}"
        )
    return result


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`bilin serve` on a free port of this machine, stopped at the end of the `with` block."""

    def __init__(self, data, *arguments, cwd=None, environment=None, key=None):
        self.url = f"http://127.0.0.1:{free_port()}"
        self.command = [BINARY, "serve", "--listen", self.url.removeprefix("http://"), "--data", str(data), *arguments]
        self.cwd = cwd
        self.environment = {**os.environ, **(environment or {})}
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.log = tempfile.TemporaryFile()

    def __enter__(self):
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, cwd=self.cwd, env=self.environment)
        while time.monotonic() - self.started < START_TIMEOUT_S:
            if self.process.poll() is not None:
                raise AssertionError(f"bilin serve ended with {self.process.returncode}:\n{self.output()}")
            try:
                if requests.get(f"{self.url}/readyz", headers=self.headers, timeout=1).status_code == 200:
                    return self
            except (requests.ConnectionError, requests.Timeout):  # On a busy machine the first answer may take long.
                pass
            time.sleep(0.005)
        self.process.kill()
        raise AssertionError(f"bilin serve is not ready after {START_TIMEOUT_S} s:\n{self.output()}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("bilin serve does not stop within 10 s of SIGTERM") from None
        finally:
            self.process.wait()
            self.log.close()

    def output(self):
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")

    def request_status(self, method, path, **arguments):
        return requests.request(method, self.url + path, timeout=30, **arguments).status_code

    def request(self, method, path, expect=200, **arguments):
        answer = requests.request(method, self.url + path, timeout=30, **arguments)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code}, expected {expect}: {answer.text}"
        return answer.json() if answer.content else None
