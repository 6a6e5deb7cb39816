"""`/metrics` as Prometheus itself reads it: its own checker finds nothing to say, also with a key and after work was done."""

import subprocess

import requests

from bilin import SAMPLES, Server, run


def check(text):
    """`promtool check metrics` reads the text format and applies Prometheus' rules for names, types and help."""
    finished = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True, timeout=60)
    said = (finished.stdout + finished.stderr).decode()
    assert finished.returncode == 0 and not said.strip(), f"promtool: {finished.returncode}\n{said}\n{text}"


def test_prometheus_finds_nothing_wrong(tmp_path):
    data = tmp_path / "data"
    run("add", "course", "text_corpus.txt", data=data, cwd=SAMPLES / "course")
    with Server(data) as server:
        check(requests.get(f"{server.url}/metrics", timeout=30).text)
        server.request("POST", "/text-search", json={"query": "FAISS的架构"})
        server.request("POST", "/v1/backups", json={})
        server.request("POST", "/v1/collections/course/maintain", json={"force": True})
        text = requests.get(f"{server.url}/metrics", timeout=30).text
        check(text)
        assert 'http_requests_total{handler="/text-search",method="POST",status="200"} 1' in text
        for name in ["http_request_duration_seconds", "process_cpu_usage", "process_memory_usage_bytes"]:
            assert f"# TYPE {name} " in text
        assert 'bilin_backups{collection="course"} 1' in text


def test_a_key_guards_the_figures_too(tmp_path, monkeypatch):
    monkeypatch.setenv("BILIN_API_KEY", "secret")
    data = tmp_path / "data"
    data.mkdir()
    server = Server(data)
    # The probe that waits for the start brings no key, so this one waits by /livez.
    monkeypatch.setattr(requests, "get", _livez_for_readyz(requests.get))
    with server:
        assert requests.get(f"{server.url}/metrics", timeout=30).status_code == 401
        answer = requests.get(f"{server.url}/metrics", timeout=30, headers={"authorization": "Bearer secret"})
        assert answer.status_code == 200
        check(answer.text)


def _livez_for_readyz(get):
    return lambda url, **arguments: get(url.replace("/readyz", "/livez"), **arguments)
