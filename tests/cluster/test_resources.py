"""On two real nodes, one of them labelled: what the YAML asks for decides where processes land, and what cannot be is told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lstm_ray.on_ray.nodes import running

ROOT = Path(__file__).parents[2]
SECONDS = 420


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Any]]:
    with running(1, cpus=2) as nodes:
        nodes.add(2, labels={"market": "spot"}, resources={"licence": 2})
        environment = nodes.environment | {"RAY_ADDRESS": nodes.address}
        ended = subprocess.run(
            [sys.executable, "-m", "tests.cluster.placed"],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        yield json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("tasks on spot", ["spot"] * 3),
        ("tasks elsewhere", ["head"] * 3),
        ("actors on spot", ["spot"] * 3),
        ("actors by custom", ["spot"] * 2),
        ("actors spread", ["head", "spot"]),
        ("actors packed on spot", ["spot"] * 3),
        ("actors spread on spot", ["spot"] * 3),
        ("workers on spot", ["spot"] * 2),
        ("workers spread", ["head", "spot"]),
        ("trials on spot", ["spot"] * 2),
    ],
)
def test_processes_land_where_the_yaml_says(told: dict[str, Any], what: str, where: list[str]) -> None:
    assert told["placed"][what] == where


@pytest.mark.parametrize("what", ["actors packed", "tasks packed", "workers packed"])
def test_what_is_packed_lies_on_one_node(told: dict[str, Any], what: str) -> None:
    assert len(set(told["placed"][what])) == 1


def test_what_one_node_cannot_hold_goes_on_to_the_next(told: dict[str, Any]) -> None:
    assert set(told["placed"]["more than one node holds, packed"]) == {"head", "spot"}


def test_what_no_node_can_ever_hold_is_one_clear_error_after_the_stated_time(told: dict[str, Any]) -> None:
    label, seconds = told["errors"]["label"]
    assert label.startswith("resources.train: 2 processes with")
    assert "on nodes with market: reserved were asked for, and the cluster could hold 0 of 2 after 1 s" in label
    assert "Missing: no node has market: reserved." in label
    assert "127.0.0.2 2 CPUs, without that label" in label
    assert "127.0.0.3 2 CPUs, market: spot" in label
    assert "Change resources.train.labels, start nodes that meet them" in label
    assert seconds >= 1
    cpus, _ = told["errors"]["cpus"]
    assert "2 processes with 1.5 CPUs each on nodes with market: spot were asked for" in cpus
    assert "could hold 1 of 2" in cpus
    assert "Missing: 1.5 CPUs on nodes with market: spot" in cpus
