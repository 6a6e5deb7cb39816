"""`deploy/` as its readers read it: promtool, a real Prometheus over a real server, systemd, Supervisor, hadolint, the compose schema.

No container engine and no Grafana can be had here; the images are linted and not run, the dashboard's queries are put to
Prometheus as Grafana puts them.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import requests
import yaml

from bilin import BINARY, ROOT, SAMPLES, Server, free_port, run

DEPLOY = ROOT / "deploy"
TOOLS = pathlib.Path(sys.executable).parent
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "bilin.json"
# Exposure that `systemd-analyze security` may find; 10 is a service without any sandbox.
MAX_EXPOSURE = 2.0


def tool(*command, expect=0):
    finished = subprocess.run([str(part) for part in command], capture_output=True, timeout=120)
    said = (finished.stdout + finished.stderr).decode()
    assert finished.returncode == expect, f"{command[0]}: {finished.returncode}\n{said}"
    return said


def alerts():
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def queries():
    """Every query of the dashboard, as Grafana sends it with all instances and collections chosen."""
    found = []
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "30s")
            expression = expression.replace("$instance", ".*").replace("$collection", ".*")
            found.append((panel["title"], expression))
    return found


def configuration(folder, target):
    """The scrape configuration with the test's target, an interval of one second and a key file that is there."""
    key = folder / "bilin_key"
    key.write_text("unused")
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    text = text.replace("/run/secrets/bilin_key", str(key)).replace("bilin:8000", target)
    text = text.replace("15s", "1s")
    assert str(key) in text and target in text
    shutil.copy(DEPLOY / "prometheus" / "alerts.yml", folder / "alerts.yml")
    path = folder / "prometheus.yml"
    path.write_text(text)
    return path


class Prometheus:
    def __init__(self, folder, target):
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = open(folder / "prometheus.log", "wb")
        self.command = [
            "prometheus",
            f"--config.file={configuration(folder, target)}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def ask(self, expression):
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10)
        body = answer.json()
        assert body["status"] == "success", f"{expression}\n{body}"
        return body["data"]["result"]

    def wait_for(self, expression, timeout_s=30):
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            try:
                if self.ask(expression):
                    return
            except requests.RequestException:
                pass
            time.sleep(0.1)
        raise AssertionError(f"Prometheus has nothing for {expression} after {timeout_s} s")


def test_promtool_takes_configuration_and_alerts(tmp_path):
    assert "SUCCESS" in tool("promtool", "check", "rules", DEPLOY / "prometheus" / "alerts.yml")
    said = tool("promtool", "check", "config", configuration(tmp_path, "127.0.0.1:1"))
    assert "rules found" in said, said
    rules = {rule["alert"]: rule for rule in alerts()}
    # The thresholds of the course.
    assert rules["BilinSlow"]["expr"].endswith("> 0.5") and "0.95" in rules["BilinSlow"]["expr"]
    assert rules["BilinBusyCpu"]["expr"].endswith("> 0.8")
    for rule in rules.values():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"], rule


def test_the_alerts_fire_when_they_should(tmp_path):
    """`promtool test rules`: quiet on a healthy hour, firing on a slow, a busy and an unprotected one."""

    def series(name, labels, values):
        return {"series": f"{name}{{job=\"bilin\",instance=\"a\"{labels}}}", "values": values}

    def bucket(bound, per_minute):
        return series("http_request_duration_seconds_bucket", f',handler="/text-search",method="POST",le="{bound}"', f"0+{per_minute}x60")

    healthy = [bucket("0.25", 600), bucket("0.5", 600), bucket("1", 600), bucket("+Inf", 600)]
    slow = [bucket("0.25", 300), bucket("0.5", 500), bucket("1", 600), bucket("+Inf", 600)]
    def load(level, shed, is_up, failed, lag, lost):
        def asked(outcome, per_minute):
            return series("bilin_shared_cache_requests_total", f',operation="get",outcome="{outcome}"', f"0+{per_minute}x60")

        return [
            series("bilin_degrade_level", "", f"{level}x60"), series("bilin_shed_total", ',reason="queue"', f"0+{shed}x60"),
            series("bilin_shared_cache_up", "", f"{is_up}x60"), asked("hit", 600), asked("failed", failed),
            series("bilin_follow_lag_seconds", "", f"{lag}x60"), series("bilin_log_lines_lost_total", "", f"0+{lost}x60"),
        ]

    crowded = ["BilinLeavesOut", "BilinTurnsAway", "BilinSharedCacheDown", "BilinSharedCacheFails", "BilinReplicaBehind", "BilinLosesLog"]
    usual = ["BilinSlow", "BilinBusyCpu", "BilinDown"]
    cases = [
        ("healthy", healthy + load(0, 6, 1, 6, 2, 0) + [series("process_cpu_usage", "", "0.3x60"), series("up", "", "1x60")],
         [(alert, False) for alert in usual + crowded]),
        ("bad", slow + load(2, 600, 0, 60, 300, 9) + [series("process_cpu_usage", "", "0.95x60"), series("up", "", "0x60")],
         [(alert, True) for alert in usual + crowded]),
    ]
    for name, inputs, expected in cases:
        tests = []
        for alertname, fires in expected:
            # Labels and words are not what is tested here, so an alert is asked for as a query over ALERTS.
            query = f'count(ALERTS{{alertname="{alertname}", alertstate="firing"}})'
            samples = [{"labels": "{}", "value": 1}] if fires else []
            tests.append({"expr": query, "eval_time": "60m", "exp_samples": samples})
        path = tmp_path / f"{name}.yml"
        path.write_text(yaml.safe_dump({
            "rule_files": [str(DEPLOY / "prometheus" / "alerts.yml")],
            "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}],
        }))
        tool("promtool", "test", "rules", path)


def test_every_query_of_dashboard_and_alerts_meets_what_a_server_tells(tmp_path):
    data = tmp_path / "data"
    run("add", "course", "text_corpus.txt", data=data, cwd=SAMPLES / "course")
    with Server(data) as server:
        server.request("POST", "/v1/backups", json={})
        with Prometheus(tmp_path, server.url.removeprefix("http://")) as prometheus:
            prometheus.wait_for("up == 1")
            # Rates need a count that grew between two scrapes of the same series.
            for number in range(40):
                server.request("POST", "/text-search", json={"query": f"FAISS的架构 {number % 10}"})
                time.sleep(0.05)
            prometheus.wait_for('rate(http_request_duration_seconds_count{handler="/text-search"}[30s]) > 0')
            prometheus.wait_for("rate(bilin_encode_batch_size_count[30s]) > 0")
            prometheus.wait_for("increase(bilin_upkeep_runs_total[1h]) >= 0")
            empty = [f"{title}: {query}" for title, query in queries() if not prometheus.ask(query)]
            assert not empty, "no answer to\n" + "\n".join(empty)
            # An alert is quiet while all is well; but each metric that it looks at is there, or could never fire.
            names = {name for rule in alerts() for name in re.findall(r"\b((?:bilin|http|process)_\w+|up)\{", rule["expr"])}
            assert len(names) > 10, names
            missing = [name for name in names if name not in SELDOM and not prometheus.ask(f"count({name})")]
            assert not missing, missing
            firing = prometheus.ask('ALERTS{alertstate="firing", severity="critical"}')
            assert not firing, firing
            loaded = requests.get(f"{prometheus.url}/api/v1/rules", timeout=10).json()["data"]["groups"][0]["rules"]
            assert [rule["health"] for rule in loaded if rule["health"] not in ("ok", "unknown")] == [], loaded


# Told only when it is so.
SELDOM = {
    "bilin_collection_broken", "bilin_live_recall_high",
    # Only with a Redis, or on a replica; tests of these look at them.
    "bilin_shared_cache_up", "bilin_shared_cache_requests_total", "bilin_follow_lag_seconds",
}


def test_the_dashboard_shows_what_the_course_asks_for_and_can_be_provisioned():
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["uid"] == "bilin" and dashboard["title"] == "bilin"
    text = " ".join(panel["title"] for panel in panels())
    for wanted in ["QPS", "P50, P95, P99", "CPU", "Memory", "Cache", "Recall", "backup"]:
        assert wanted in text, wanted
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/bilin.yaml").read_text())["datasources"][0]
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": source["uid"]}, panel["title"]
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/bilin.yaml").read_text())["providers"][0]
    compose = yaml.safe_load((DEPLOY / "docker/compose.yaml").read_text())
    mounted = [volume.split(":") for volume in compose["services"]["grafana"]["volumes"]]
    assert ["../grafana/dashboards", provider["options"]["path"], "ro"] in mounted
    steps = next(panel for panel in panels() if "P95" in panel["title"])["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[1]["value"] == 0.5


def test_systemd_takes_the_unit_and_finds_little_exposed(tmp_path):
    unit = tmp_path / "bilin.service"
    text = (DEPLOY / "systemd" / "bilin.service").read_text()
    documentation = re.search(r"^Documentation=.*\n", text, re.M).group()
    # The path is that of an installed binary; there is none on the machine that tests.
    unit.write_text(text.replace("/usr/local/bin/bilin", shutil.which("true")).replace(documentation, ""))
    said = tool("systemd-analyze", "verify", unit)
    assert not said.strip(), said
    said = tool("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={int(MAX_EXPOSURE * 10)}", unit)
    exposure = float(re.search(r"exposure level for bilin.service: ([\d.]+)", said).group(1))
    assert exposure <= MAX_EXPOSURE, said
    lines = text.splitlines()
    for line in ["Type=notify", "Restart=on-failure", "WatchdogSec=60", "NoNewPrivileges=yes", "ProtectSystem=strict"]:
        assert line in lines, line


def test_supervisor_starts_it_again_when_it_dies(tmp_path):
    data = tmp_path / "data"
    run("add", "course", "text_corpus.txt", data=data, cwd=SAMPLES / "course")
    port = free_port()
    text = (DEPLOY / "supervisor" / "bilin.conf").read_text()
    for pattern, value in [
        (r"^command=.*$", f"command={BINARY} serve"),
        (r"^directory=.*$", f"directory={tmp_path}"),
        (r"^user=.*$", ""),
        (r"^environment=.*$", f'environment=BILIN_DATA="{data}",BILIN_LISTEN="127.0.0.1:{port}"'),
        (r"^stdout_logfile=.*$", f"stdout_logfile={tmp_path / 'bilin.log'}"),
    ]:
        text, count = re.subn(pattern, value, text, flags=re.M)
        assert count == 1, pattern
    config = tmp_path / "supervisord.conf"
    config.write_text(f"[supervisord]\nlogfile={tmp_path / 'supervisord.log'}\npidfile={tmp_path / 'pid'}\n"
                      f"childlogdir={tmp_path}\nnodaemon=true\n{text}")
    supervisor = subprocess.Popen([TOOLS / "supervisord", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        first = serving(port, tmp_path)
        os.kill(first, signal.SIGKILL)
        second = serving(port, tmp_path, other_than=first)
        assert second != first
    finally:
        supervisor.terminate()
        assert supervisor.wait(timeout=60) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/livez", timeout=1)


def serving(port, folder, other_than=None):
    """The process that Supervisor runs, once it is ready."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        spawned = re.findall(r"spawned: 'bilin' with pid (\d+)", (folder / "supervisord.log").read_text()) \
            if (folder / "supervisord.log").exists() else []
        try:
            if spawned and int(spawned[-1]) != other_than \
                    and requests.get(f"http://127.0.0.1:{port}/readyz", timeout=1).status_code == 200:
                return int(spawned[-1])
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise AssertionError((folder / "supervisord.log").read_text())


def test_the_container_files_pass_their_linters():
    tool(TOOLS / "hadolint", DEPLOY / "docker" / "Dockerfile")
    tool(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "docker" / "compose.yaml")
    compose = yaml.safe_load((DEPLOY / "docker" / "compose.yaml").read_text())
    assert set(compose["services"]) == {"bilin", "redis", "prometheus", "grafana"}
    for name, service in compose["services"].items():
        for published in service.get("ports", []):
            assert published.startswith("127.0.0.1:"), f"{name} is open to other machines: {published}"
        assert ":" in service["image"], f"{name} has no version"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / "docker" / source).exists(), volume
    # What is set there are settings that there are.
    known = {line["variable"] for line in run("config", "--json").json_lines()}
    wanted = set(compose["services"]["bilin"]["environment"])
    for path in ["docker/Dockerfile", "systemd/bilin.service", "supervisor/bilin.conf"]:
        wanted |= set(re.findall(r"\b(BILIN_[A-Z_]+)=", (DEPLOY / path).read_text()))
    assert wanted - {"BILIN_CONFIG"} <= known, wanted - known
