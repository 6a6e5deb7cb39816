"""Two servers behind a real nginx: a primary, a replica that follows it, and either of them killed under load."""

import shutil
import signal
import subprocess
import threading
import time

import numpy
import pytest
import requests

from bilin import Server, free_port

DIM = 32
CLIENTS = 4

CONFIG = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream searching {{
        server {primary} max_fails=1 fail_timeout=2s;
        server {replica} max_fails=1 fail_timeout=2s;
        keepalive 8;
    }}
    upstream changing {{ server {primary}; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    # Without a key only names of this machine are served.
    proxy_set_header Host $http_host;
        proxy_connect_timeout 1s;
        # A search may be asked again elsewhere: it changes nothing. So not even those in flight fail.
        location ~ ^/v1/collections/[^/]+/search$ {{
            proxy_pass http://searching;
            proxy_next_upstream error timeout http_503 non_idempotent;
        }}
        location / {{ proxy_pass http://changing; }}
    }}
}}
"""


class Nginx:
    """`nginx` on a free port of this machine, in front of two servers."""

    def __init__(self, folder, primary, replica):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        hosts = {name: server.url.removeprefix("http://") for name, server in [("primary", primary), ("replica", replica)]}
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, port=self.port, **hosts))
        self.command = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(config), "-e", str(folder / "start.log")]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE)
        until(lambda: self.answers(), "nginx answers", 10)
        return self

    def answers(self):
        assert self.process.poll() is None, self.process.stderr.read()
        try:
            return requests.get(f"{self.url}/livez", timeout=1).status_code == 200
        except requests.ConnectionError:
            return False

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)


def until(is_so, what, seconds=20):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)


class Load:
    """Searches through the balancer from some clients at once, until the end of the `with` block."""

    def __init__(self, url, queries):
        self.url, self.queries = url, queries
        self.stop = threading.Event()
        self.answered, self.failed = [0] * CLIENTS, []

    def client(self, number):
        session = requests.Session()
        at = number
        while not self.stop.is_set():
            body = {"vector": self.queries[at % len(self.queries)].tolist(), "top_k": 3}
            at += CLIENTS
            try:
                answer = session.post(f"{self.url}/v1/collections/points/search", json=body, timeout=10)
                good = answer.status_code == 200 and len(answer.json()["results"]) == 3
                if not good:
                    self.failed.append((answer.status_code, answer.text[:200]))
            except requests.RequestException as error:
                self.failed.append(repr(error))
            self.answered[number] += 1

    def __enter__(self):
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def more(self, count):
        """Waits until so many more were answered."""
        goal = sum(self.answered) + count
        until(lambda: sum(self.answered) >= goal, f"{count} more answers")


def added(server, first, count, random):
    vectors = random.standard_normal((count, DIM)).astype(numpy.float32)
    documents = [{"id": str(first + at), "vector": vector.tolist()} for at, vector in enumerate(vectors)]
    return server.request("POST", "/v1/collections/points/documents", json={"documents": documents})["seq"]


def seq(server):
    answer = requests.get(f"{server.url}/v1/collections/points", timeout=10)
    return answer.json()["seq"] if answer.status_code == 200 else None


@pytest.mark.parametrize("victim", ["primary", "replica"])
def test_one_of_two_is_killed_under_load_and_no_request_fails(tmp_path, victim):
    random = numpy.random.default_rng(7)
    (tmp_path / "nginx").mkdir()
    with Server(tmp_path / "a") as primary:
        primary.request("PUT", "/v1/collections/points", expect=201, json={"dim": DIM})
        added(primary, 0, 500, random)
        with Server(tmp_path / "b", "--follow", primary.url) as replica, Nginx(tmp_path / "nginx", primary, replica) as front:
            queries = random.standard_normal((64, DIM)).astype(numpy.float32)
            with Load(front.url, queries) as load:
                load.more(100)
                # Writes go on meanwhile, and arrive.
                newest = added(primary, 500, 100, random)
                began = time.monotonic()
                until(lambda: seq(replica) == newest, "the replica has the newest commit", 10)
                lag = time.monotonic() - began
                load.more(100)
                (primary if victim == "primary" else replica).process.send_signal(signal.SIGKILL)
                load.more(300)
                assert replica.process.poll() is None or victim == "replica"
            assert load.failed == [], f"{len(load.failed)} of {sum(load.answered)} failed: {load.failed[:3]}"
            print(f"{sum(load.answered)} searches, none failed; a commit was on the replica after {lag:.2f} s")
            for server in (primary, replica):
                server.process.poll()
