"""Backups in a real S3 server (SeaweedFS): sent, listed, restored into an empty folder, interrupted, damaged, removed."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy
import pytest
import requests

from bilin import BINARY, Server, free_port, run

KEY, SECRET = "bilin-key", "bilin-secret"
BUCKET = "backups"


class S3:
    """`weed server` on free ports of this machine, with one bucket; what it keeps outlives `stop` and `start`."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = {name: free_port() for name in ["master", "volume", "filer", "s3"]}
        self.grpc = {name: free_port() for name in self.ports}
        (folder / "data").mkdir()
        identity = {"name": "bilin", "credentials": [{"accessKey": KEY, "secretKey": SECRET}]}
        identity["actions"] = ["Admin", "Read", "Write", "List", "Tagging"]
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        self.url = f"http://127.0.0.1:{self.ports['s3']}"
        self.filer = f"http://127.0.0.1:{self.ports['filer']}"

    def start(self):
        command = [pathlib.Path(sys.executable).with_name("weed"), "server", f"-dir={self.folder / 'data'}"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={self.folder / 's3.json'}"]
        command += ["-master.volumeSizeLimitMB=64", "-volume.max=16", "-master.telemetry=false", "-s3.port.iceberg=0"]
        command += ["-s3.port.lance=0"]
        for name in self.ports:
            command += [f"-{name}.port={self.ports[name]}", f"-{name}.port.grpc={self.grpc[name]}"]
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.folder)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            try:
                made = requests.post(f"{self.filer}/buckets/{BUCKET}/", timeout=5).status_code
                # 409: it was there before, from a start or a moment ago.
                if (made < 300 or made == 409) and requests.get(self.url, timeout=5).status_code == 403:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.2)
        self.stop()
        raise AssertionError("the S3 server does not start:\n" + (self.folder / "log").read_text()[-3000:])

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def objects(self, folder):
        """Names and sizes of the objects in a folder of the bucket."""
        url = f"{self.filer}/buckets/{BUCKET}/{folder}/?limit=10000"
        answer = requests.get(url, headers={"accept": "application/json"}, timeout=30)
        if answer.status_code == 404:
            return {}
        entries = answer.json()["Entries"] or []
        return {pathlib.PurePosixPath(entry["FullPath"]).name: entry["FileSize"] for entry in entries}

    def flip(self, name):
        """Changes one bit of an object."""
        url = f"{self.filer}/buckets/{BUCKET}/{name}"
        content = bytearray(requests.get(url, timeout=30).content)
        content[len(content) // 2] ^= 1
        answer = requests.put(url, data=bytes(content), timeout=30)
        assert answer.status_code < 300, answer.text


@pytest.fixture
def s3(tmp_path, monkeypatch):
    folder = tmp_path / "s3"
    folder.mkdir()
    server = S3(folder)
    server.start()
    monkeypatch.setenv("BILIN_BACKUP_URL", f"s3://{BUCKET}/here")
    monkeypatch.setenv("BILIN_S3_ENDPOINT", server.url)
    monkeypatch.setenv("BILIN_S3_ACCESS_KEY", KEY)
    monkeypatch.setenv("BILIN_S3_SECRET_KEY", SECRET)
    yield server
    if server.process.poll() is None:
        server.stop()


def add(server, start, count, dim):
    """Random vectors with metadata, in requests of 2000."""
    rows = numpy.random.default_rng(start).standard_normal((count, dim), dtype=numpy.float32)
    for at in range(0, count, 2000):
        documents = [
            {"id": str(start + at + i), "vector": row.tolist(), "metadata": {"n": start + at + i, "text": "字" * 20}}
            for i, row in enumerate(rows[at : at + 2000])
        ]
        server.request("POST", "/v1/collections/points/documents", json={"documents": documents})


def everything(server, ids):
    """All that is kept of these documents."""
    return [server.request("GET", f"/v1/collections/points/documents/{i}")["items"] for i in ids]


def test_backups_go_to_s3_and_come_back_whole(s3, tmp_path):
    data, empty = tmp_path / "data", tmp_path / "empty"
    with Server(data) as server:
        server.request("PUT", "/v1/collections/points", json={"dim": 64, "metric": "l2"}, expect=201)
        add(server, 0, 2000, 64)
        made = server.request("POST", "/v1/backups", json={"remote": True})["backups"][0]
        add(server, 2000, 500, 64)
        # The server sends by itself what is made later.
        server.request("POST", "/v1/backups", json={})
        deadline = time.monotonic() + 90
        while len(server.request("GET", "/v1/backups?remote=true")["backups"]) < 2:
            assert time.monotonic() < deadline, server.output()
            time.sleep(0.5)
        place = server.request("GET", "/health")["offsite"]
        assert place["address"] == f"s3://{BUCKET}/here" and place["collections"]["points"]["error"] is None
        text = requests.get(f"{server.url}/metrics", timeout=30).text
        assert 'bilin_offsite_failed_total{collection="points"} 0' in text and SECRET not in text + server.output()
        kept = everything(server, range(2500))

    listed = run("backup", "--list", "--remote", "--json", data=data).json_lines()
    assert [(one["type"], one["items"]) for one in listed] == [("remote_backup", 2500), ("remote_backup", 2000)]
    run("backup", "--verify", "--remote", data=data)
    run("restore", "points", "--remote", "--json", data=empty)
    with Server(empty) as server:
        assert everything(server, range(2500)) == kept, "every document as it was"
        body = {"collection": "points", "at": made["time"], "remote": True}
        assert server.request("POST", "/v1/backups/restore", json=body)["collection"]["count"] == 2000
        assert everything(server, range(2000)) == kept[:2000]

    # An old one goes with what no other needs; the other stays whole.
    before = len(s3.objects("here/points/parts"))
    assert len(run("backup", "--prune", "--remote", "--keep", "1", "--json", data=data).json_lines()) == 1
    assert len(s3.objects("here/points/parts")) < before
    run("backup", "--verify", "--remote", data=data)


def test_a_killed_store_costs_nothing_that_was_sent_and_the_rest_follows(s3, tmp_path):
    data, empty = tmp_path / "data", tmp_path / "empty"
    with Server(data) as server:
        server.request("PUT", "/v1/collections/points", json={"dim": 512, "metric": "l2"}, expect=201)
        add(server, 0, 24_000, 512)
        count = server.request("GET", "/v1/collections/points")["count"]
    # 49 MB of rows and more, in parts of 8 MiB: the store dies after some of them.
    sending = subprocess.Popen([BINARY, "backup", "--remote", "--data", str(data)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(s3.objects("here/points/parts")) < 3:
        assert time.monotonic() < deadline and sending.poll() is None
        time.sleep(0.02)
    s3.stop()
    said = sending.communicate(timeout=120)[1].decode()
    assert sending.returncode == 1 and "error: cannot use s3://" in said and SECRET not in said, said
    assert len(run("backup", "--list", "--json", data=data).json_lines()) == 1, "the one on this machine is good"

    s3.start()
    assert s3.objects("here/points/backups") == {}, "nothing half-sent counts"
    there = len(s3.objects("here/points/parts"))
    assert there >= 2
    with Server(data) as server:
        deadline = time.monotonic() + 120
        while not (found := server.request("GET", "/v1/backups?remote=true")["backups"]):
            assert time.monotonic() < deadline, server.output()
            time.sleep(0.5)
        assert found[0]["items"] == count
    sent = run("backup", "--remote", "--json", data=data).json_lines()[1]
    assert sent["type"] == "sent" and sent["parts_kept"] >= 5, "what did not change is not sent again"
    restored = run("restore", "points", "--remote", "--json", data=empty).json_lines()[0]
    assert restored["items"] == count
    run("verify", "--deep", data=empty)


def test_a_flipped_object_is_found_and_never_restored(s3, tmp_path):
    data, empty = tmp_path / "data", tmp_path / "empty"
    with Server(data) as server:
        server.request("PUT", "/v1/collections/points", json={"dim": 64, "metric": "l2"}, expect=201)
        add(server, 0, 1000, 64)
    run("backup", "--remote", data=data)
    for name in s3.objects("here/points/parts"):
        s3.flip(f"here/points/parts/{name}")
        found = run("backup", "--verify", "--remote", data=data, expect=1)
        assert "checksum does not fit part" in found.err, found.err
        run("restore", "points", "--remote", data=empty, expect=1)
        assert not (empty / "collections" / "points").exists()
        s3.flip(f"here/points/parts/{name}")
    manifest = next(iter(s3.objects("here/points/backups")))
    s3.flip(f"here/points/backups/{manifest}")
    listed = run("backup", "--list", "--remote", data=data, expect=1)
    assert manifest in listed.err
    s3.flip(f"here/points/backups/{manifest}")
    run("restore", "points", "--remote", data=empty)


def test_a_folder_serves_as_well_and_a_wrong_key_is_told(s3, tmp_path, monkeypatch):
    data = tmp_path / "data"
    with Server(data) as server:
        server.request("PUT", "/v1/collections/points", json={"dim": 8}, expect=201)
        add(server, 1, 10, 8)
    monkeypatch.setenv("BILIN_S3_SECRET_KEY", "wrong-secret")
    refused = run("backup", "--remote", data=data, expect=1)
    assert "cannot use s3://" in refused.err and "wrong-secret" not in refused.err, refused.err
    monkeypatch.setenv("BILIN_BACKUP_URL", f"file://{tmp_path / 'folder'}")
    run("backup", "--remote", data=data)
    assert len(os.listdir(tmp_path / "folder" / "points" / "backups")) == 1
    run("restore", "points", "--remote", data=tmp_path / "empty")
