"""GET /metrics, and the rules and the dashboard that are written by its names."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from lstm_ray.monitor.alarms import KINDS
from lstm_ray.monitor.live import Monitor
from lstm_ray.monitor.traffic import Answer, Load, Rows, Tally
from lstm_ray.serving.api import make_app
from lstm_ray.serving.gate import digest
from lstm_ray.serving.metrics import exposition
from lstm_ray.serving.monitored import Monitored
from tests.monitor import labelled
from tests.serving import services as serving

CLUSTER = Path(__file__).parents[2] / "cluster"
RULES, BOARD = CLUSTER / "prometheus/alerts.yml", CLUSTER / "grafana/lstm-ray.json"
NAME = re.compile(r"\blstm_ray_\w+")
SUFFIXES = ("_bucket", "_count", "_sum")


def full() -> dict[str, Any]:
    """A summary in which everything has happened once."""
    monitor = Monitor(labelled.watched(labelled.labelled(0).value_TF))
    tally = Tally(answers=[Answer("a", 0, np.zeros((2, 1)), np.zeros((2, 1)), np.ones((2, 1)))], num_series=1)
    tally.add_request("/v1/forecast", 200, 0.01)
    tally.loads = {"one": Load(1, 2, 0, 4), "two": Load(0, 1, 0, 4)}
    monitor.merge(tally)
    monitor.observe(Rows("a", np.zeros(1, np.int64), np.zeros((1, 1))))
    return {**monitor.summary(), "rows": {"kept": 7}}


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def told_names(summary: dict[str, Any]) -> set[str]:
    """Of families, also those that have no sample yet."""
    found = set()
    for family in text_string_to_metric_families(exposition(summary).decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found |= {name, *(f"{name}{suffix}" for suffix in SUFFIXES if family.type == "histogram")}
    return found


def test_it_tells_what_the_monitor_tells() -> None:
    summary = full()
    found = samples(exposition(summary).decode())
    role = ("role", "champion")
    assert found["lstm_ray_requests_total", (role, ("route", "/v1/forecast"), ("status", "200"))] == 1
    assert found["lstm_ray_prediction_seconds_count", (role,)] == 1
    assert found["lstm_ray_prediction_seconds_sum", (role,)] == pytest.approx(0.01)
    assert found["lstm_ray_prediction_seconds_bucket", (("le", "0.01259"), role)] == 1
    assert found["lstm_ray_prediction_seconds_bucket", (("le", "0.00631"), role)] == 0
    assert found["lstm_ray_capacity", (role,)] == 8
    assert found["lstm_ray_saturation", (role,)] == pytest.approx(3 / 8)
    assert found["lstm_ray_live_error", (role,)] == summary["performance"]["rolling"]
    assert found["lstm_ray_rows_kept", (role,)] == 7
    assert found["lstm_ray_policy_info", (role, ("version", "v"))] == 1


def test_alarms_are_told_by_kind_and_none_is_told_as_none() -> None:
    summary = full() | {"alarms": [{"kind": "drift"}, {"kind": "drift"}]}
    found = samples(exposition(summary).decode())
    alarms = {dict(labels)["kind"]: value for (name, labels), value in found.items() if name == "lstm_ray_alarms"}
    assert alarms == dict.fromkeys(KINDS, 0.0) | {"drift": 2.0}


def test_policies_beside_the_champion_are_told_by_their_role() -> None:
    summary = full() | {"shadow": {**full(), "compared": {}}}
    roles = Counter(dict(labels)["role"] for _, labels in samples(exposition(summary).decode()))
    assert roles["shadow"] == roles["champion"] - 0


def test_awkward_names_are_told_as_they_are() -> None:
    summary = full()
    summary["predictions"] = [{"column": 'a "b"\\\nc', "kind": "prediction", "psi": 0.5}]
    found = samples(exposition(summary).decode())
    assert found["lstm_ray_drift_psi", (("column", 'a "b"\\\nc'), ("kind", "prediction"), ("role", "champion"))] == 0.5


def test_every_metric_of_the_rules_and_the_dashboard_is_there() -> None:
    named = set(NAME.findall(RULES.read_text())) | set(NAME.findall(BOARD.read_text()))
    assert len(named) > 20
    assert named <= told_names(full())


def test_every_metric_is_documented_by_its_name() -> None:
    words = (CLUSTER / "README.md").read_text()
    names = re.findall(r"^# TYPE (\S+)", exposition(full()).decode(), flags=re.MULTILINE)
    assert len(names) > 20
    assert not [name for name in names if f"`{name}`" not in words]


def test_every_kind_of_alarm_has_a_rule() -> None:
    rules = RULES.read_text()
    assert [kind for kind in KINDS if not re.search(rf'kind=~?"[^"]*\b{kind}\b', rules)] == ["fallbacks"]
    assert "lstm_ray_fallbacks_total" in rules


def test_rules_say_what_is_wrong_and_how_bad_it_is() -> None:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("page", "ticket", "info")
        assert set(rule["annotations"]) == {"summary", "description"}
    told = yaml.safe_load((CLUSTER / "prometheus/prometheus.yml").read_text())
    assert RULES.name in told["rule_files"]


def test_the_dashboard_can_be_imported() -> None:
    board = json.loads(BOARD.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    variables = {one["name"] for one in board["templating"]["list"]}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}"
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= variables


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("command", [["rules", str(RULES)], ["config", str(CLUSTER / "prometheus/prometheus.yml")]])
def test_promtool_accepts_the_files(command: list[str]) -> None:
    answer = subprocess.run(["promtool", "check", *command], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_metrics() -> None:
    answer = subprocess.run(["promtool", "check", "metrics"], input=exposition(full()), capture_output=True, timeout=60)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_route_needs_the_token_where_others_do() -> None:
    app = make_app(serving.service(serving.forecaster(), tokens={"one": digest(b"secret")}))
    with serving.Client(app) as client:
        assert client.get("/metrics").status_code == 401
        found = client.get("/metrics", headers={"authorization": "Bearer secret"})
        assert found.status_code == 200
        assert found.headers["content-type"].startswith("text/plain")
        assert "lstm_ray_policy_info" in found.text


@pytest.mark.parametrize("make", [serving.forecaster, serving.classifier, serving.labeller])
def test_the_monitor_answers_as_it_is_documented(make: Any) -> None:
    app = make_app(serving.service(make()))
    with serving.Client(app) as client:
        document = client.get("/openapi.json").json()
        shape = document["paths"]["/v1/monitor"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert shape["$ref"].endswith("/Monitored")
        assert set(samples(client.get("/metrics").text))
        Monitored.model_validate(client.get("/v1/monitor").json(), strict=True)
