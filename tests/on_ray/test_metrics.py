"""Metrics reach the endpoint that Prometheus reads, with run and stage; without a cluster they cost and say nothing."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lstm_ray.on_ray import metrics
from lstm_ray.on_ray.nodes import Nodes, running

DRIVER = """
import os, ray, time
from pathlib import Path
from lstm_ray import log, progress
from lstm_ray.on_ray import cluster, metrics
metrics.tell("rollouts", 5)  # before there is a cluster: nothing
cluster.ensure()

@ray.remote(num_cpus=0)
def work(given):
    cluster.work_for(given, rank=3)
    log.say("a worker works", "warning")
    metrics.tell("rollouts", 7)
    time.sleep(15)

with log.of_run("r1"), log.of_stage("plan", Path(os.environ["FOLDER"])):
    with progress.bar("rollouts", 4) as advance:
        advance("")
        print([node["MetricsExportPort"] for node in ray.nodes()], flush=True)
        input()
    metrics.epoch(2, 1234.5, 0.25)
    ray.get(work.remote(log.context()))
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with running(1, 1) as found:
        yield found


def exported(port: int, seconds: float = 30.0, until: tuple[str, ...] = ()) -> dict[str, str]:
    """Lines of our own metrics: by name with its labels, their value."""
    found: dict[str, str] = {}
    for _ in range(round(2 * seconds)):
        text = urllib.request.urlopen(f"http://127.0.0.2:{port}/metrics", timeout=10).read().decode()
        found |= dict(line.rpartition(" ")[::2] for line in text.splitlines() if line.startswith("ray_lstm_ray_"))
        if all(any(key.startswith(name) for key in found) for name in until):
            break
        time.sleep(0.5)
    return found


def value(found: dict[str, str], name: str) -> tuple[float, str]:
    """The one metric of a name, and its labels."""
    [(key, held)] = [item for item in found.items() if item[0].startswith(f"ray_lstm_ray_{name}{{")]
    return float(held), key


def test_metrics_and_lines_of_driver_and_workers_name_the_run(nodes: Nodes, tmp_path: Path) -> None:
    environment = nodes.environment | {"RAY_ADDRESS": nodes.address, "FOLDER": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        ports = driver.stdout.readline()
        assert ports.startswith("["), driver.communicate()
        port = int(ports.strip("[]\n"))
        meanwhile = exported(port, until=("ray_lstm_ray_progress", "ray_lstm_ray_queue"))
        driver.stdin.write("\n")
        driver.stdin.flush()
        wanted = ("ray_lstm_ray_rollouts_total", "ray_lstm_ray_progress", "ray_lstm_ray_train_epochs")
        found = exported(port, until=wanted)
        assert driver.wait(timeout=60) == 0
    assert f":{port}" in nodes.targets.read_text()
    assert value(meanwhile, "queue")[0] == 3.0
    for name, expected in (
        ("progress", 0.25),
        ("queue", 0.0),  # the bar has ended, early
        ("steps_total", 1.0),
        ("rollouts_total", 7.0),
        ("train_epochs", 3.0),
        ("train_windows_per_second", 1234.5),
        ("train_validation_loss", 0.25),
    ):
        told, labels = value(found, name)
        assert told == expected
        assert 'run="r1"' in labels
        assert 'stage="plan"' in labels
    logs = nodes.folder.glob("*/session_2*/logs/worker-*.err")
    said = [line for file in logs for line in file.read_text().splitlines()]
    [line] = [line for line in said if "a worker works" in line]
    for part in ('"run": "r1"', '"stage": "plan"', '"rank": 3', '"level": "warning"', '"node": "127.0.0.2"'):
        assert part in line


def test_without_a_cluster_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_made", {})
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    metrics.tell("progress", 0.5, step="train")
    assert metrics._made == {}
