"""The rules and the dashboard of a cluster name metrics that Ray and the work tell, with labels that they have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from lstm_ray.on_ray.metrics import KINDS, LABELS

CLUSTER = Path(__file__).parents[2] / "cluster"
RULES, BOARD = CLUSTER / "prometheus/cluster.yml", CLUSTER / "grafana/cluster.json"
NAME = re.compile(r"\bray_\w+")
OWN = {f"ray_lstm_ray_{name}{'_total' if kind.kind == 'counter' else ''}": kind for name, kind in KINDS.items()}
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
FUNCTIONS = {"count", "deriv", "increase", "last_over_time", "max_over_time", "rate", "sum", "vector"}
WORDS = {"and", "by", "on", "or", "unless"}


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


def panels() -> list[dict[str, Any]]:
    return json.loads(BOARD.read_text())["panels"]


def expressions() -> list[str]:
    board = json.loads(BOARD.read_text())
    told = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    return [*told, *(one["expr"] for one in board["annotations"]["list"]), *(rule["expr"] for rule in rules())]


def ray_tells() -> set[str]:
    """What Ray's own dashboards show, and what it tells of each node."""
    folder = Path(ray.__file__).parent / "dashboard/modules"
    shown = "".join(file.read_text() for file in (folder / "metrics/dashboards").glob("*.py"))
    gauges = re.findall(r'Gauge\(\s*"(\w+)"', (folder / "reporter/reporter_agent.py").read_text())
    return set(NAME.findall(shown)) | {f"ray_{name}" for name in gauges}


def test_every_metric_is_told_by_ray_or_by_the_work() -> None:
    named = {name for told in expressions() for name in NAME.findall(told)}
    assert len(named & OWN.keys()) > 5
    assert len(named - OWN.keys()) > 8
    assert named <= OWN.keys() | ray_tells()


def test_metrics_of_the_work_are_asked_by_labels_that_they_have() -> None:
    for told in expressions():
        for name, inside in re.findall(r"\b(ray_lstm_ray_\w+)\{([^}]*)\}", told):
            asked = set(re.findall(r"(\w+)=", inside))
            assert asked <= {*LABELS, *OWN[name].further}, told


def test_expressions_are_balanced_and_call_what_there_is() -> None:
    for told in expressions():
        for opening, closing in ("()", "{}", "[]"):
            assert told.count(opening) == told.count(closing), told
        assert set(re.findall(r"\b([a-z_]+) ?\(", told)) <= FUNCTIONS | WORDS, told


def test_rules_say_what_is_wrong_and_how_bad_it_is() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket", "info")
        assert set(rule["annotations"]) == {"summary", "description"}
        grouped = re.match(r"sum by \(([\w, ]+)\)", rule["expr"])
        if grouped and " and " not in rule["expr"]:
            used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
            assert used <= set(grouped[1].split(", ")), rule["alert"]


def test_prometheus_reads_the_rules_and_the_list_of_nodes_that_ray_writes() -> None:
    config = yaml.safe_load((CLUSTER / "prometheus/prometheus.yml").read_text())
    assert sorted(config["rule_files"]) == sorted(
        file.name for file in RULES.parent.glob("*.yml") if file.stem != "prometheus"
    )
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    [listed] = jobs["ray"]["file_sd_configs"]
    assert listed["files"] == [f"/tmp/ray/{ray._private.ray_constants.PROMETHEUS_SERVICE_DISCOVERY_FILE}"]
    asked = {name for rule in rules() for name in re.findall(r'job="([\w-]+)"', rule["expr"])}
    assert asked <= jobs.keys()


def test_the_dashboard_can_be_imported() -> None:
    board = json.loads(BOARD.read_text())
    assert len({panel["id"] for panel in panels()}) == len(panels())
    variables = {one["name"] for one in board["templating"]["list"]}
    for panel in panels():
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"} <= variables
    assert board["uid"] != json.loads((BOARD.parent / "lstm-ray.json").read_text())["uid"]


def test_idle_nodes_are_nodes_wherever_alive_ones_are_counted() -> None:
    for told in expressions():
        assert ("ray_cluster_active_nodes" in told) <= ("ray_cluster_idle_nodes" in told), told


def test_no_rule_fires_where_there_is_no_cluster() -> None:
    for rule in rules():
        assert "absent" not in rule["expr"], rule["alert"]


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    command = ["promtool", "check", "rules", str(RULES)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def told_as(**values: str) -> dict[str, str]:
    """Series of Ray's, each with a value a minute: `0x30` stays 0 for half an hour, `_` is silence."""
    return {f'ray_cluster_{name}_nodes{{SessionName="s", node_type="cpu"}}': given for name, given in values.items()}


def moved(name: str, values: str) -> dict[str, str]:
    return {f'ray_lstm_ray_{name}{{run="r", stage="train", step="train"}}': values}


@needs_promtool
@pytest.mark.parametrize(
    ("series", "minute", "firing"),
    [
        ({}, 60, []),
        (told_as(active="1x60"), 60, []),
        # the autoscaler's second version: a head that only waits, and one whose nodes begin and end to work
        (told_as(idle="1x60"), 60, []),
        (told_as(active="1x20 _x40", idle="_x21 1x39"), 40, []),
        (told_as(active="1x20 stale _x90"), 30, ["RayHeadDown"]),
        (told_as(idle="1x20 stale _x90"), 30, ["RayHeadDown"]),
        (told_as(active="1x20 stale _x10 1x60"), 60, []),
        (told_as(active="1x20 stale _x90"), 100, []),
        # a node is lost, Ray goes on counting it, and then another one is
        (told_as(active="1x90", failed="_x20 1x70"), 25, ["RayNodeLost"]),
        (told_as(idle="1x90", failed="_x20 1x70"), 25, ["RayNodeLost"]),
        (told_as(active="1x90", failed="_x20 1x70"), 60, []),
        (told_as(active="1x90", failed="1x40 2x50"), 45, ["RayNodeLost"]),
        (told_as(active="1x90", failed="1x90"), 5, []),
        # a training that waits, one that ended early, and one that goes on
        (moved("queue", "3x90") | moved("steps_total", "7x90"), 80, ["LstmRayNoProgress"]),
        (moved("queue", "3x10 0x80") | moved("steps_total", "7x90"), 80, []),
        (moved("queue", "90-1x90") | moved("steps_total", "1+1x90"), 80, []),
    ],
)
def test_rules_fire_when_they_should(series: dict[str, str], minute: int, firing: list[str], tmp_path: Path) -> None:
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing]
    asked = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{minute}m",
        "exp_samples": expected,
    }
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [asked],
    }
    file = tmp_path / "case.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    command = ["promtool", "test", "rules", str(file)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
