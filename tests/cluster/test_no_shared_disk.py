"""Two nodes of which the second sees no file of the first: every stage does there what it does in one process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lstm_ray.config import Config, with_values
from lstm_ray.on_ray.nodes import Nodes, running
from lstm_ray.run_dir import RunDir
from tests.on_ray.worlds import prepared, small_config, write_waves

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may hide folders from a process"),
    pytest.mark.timeout(900),
]
SECONDS = 600
AFTER = ("plan", "tune", "evaluate")
"""Stages after training."""
AWAY = "{away: 0.25}"
"""A custom resource that only the second node offers: what asks for it runs there."""
FEW: dict[str, Any] = {
    "train.max_epochs": 2,
    "tune.space": {"train.learning_rate": {"choice": [0.002, 0.004]}},
    "tune.trials": 2,
    "tune.max_epochs": 2,
    "tune.grace_epochs": 2,
    "evaluate.batch": 8,
    "evaluate.damage": [],
    "evaluate.explain": "none",
    "evaluate.statistical_windows": 0,
    "evaluate.backtest": {"folds": 1, "seeds": 2},
}
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the second node does not see: data, runs and the driver's temporary files."""
    return tmp_path_factory.mktemp("here")


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    found = with_values(small_config(write_waves(folder)), FEW)
    (folder / "run.yaml").write_text(yaml.safe_dump(found.model_dump(mode="json")))
    return found


@pytest.fixture(scope="module")
def nodes(folder: Path) -> Iterator[Nodes]:
    with running(1) as nodes:
        nodes.add(1, resources={"away": 1}, hides=[folder])
        yield nodes


@pytest.fixture(scope="module")
def lstm_ray(nodes: Nodes, folder: Path, config: Config) -> Command:
    """Runs a stage as a user would, on the cluster or in one of its own, and does not mind how it ends."""
    (folder / "temporary").mkdir()

    def run(stage: str, run: Path, *, alone: bool = False, **values: object) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        if not alone:
            environment |= nodes.environment | {"RAY_ADDRESS": nodes.address}
        sets = [f"--set={name.replace('__', '.')}={value}" for name, value in values.items()]
        return subprocess.run(
            [sys.executable, "-m", "lstm_ray", stage, str(folder / "run.yaml"), f"--run-dir={run}", *sets],
            env=environment if alone else environment | {"TMPDIR": str(folder / "temporary")},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def trained(folder: Path, config: Config) -> RunDir:
    """A run with a policy that one process trained."""
    return prepared(config, folder / "trained", "train")


def copy_of(run: RunDir, folder: Path) -> RunDir:
    shutil.copytree(run.local, folder)
    return RunDir(folder)


def curve(run: RunDir) -> list[list[float]]:
    lines = (run.local / "train/metrics.jsonl").read_text().splitlines()
    return [[record[name] for name in ("train_loss", "validation_loss")] for record in map(json.loads, lines)]


def losses(run: RunDir) -> list[list[float]]:
    report = run.read_json("tune/report.json")
    assert not any(trial["failure"] for trial in report["trials"])
    return [trial["losses"] for trial in report["trials"]]


@pytest.mark.parametrize("where", ["both", "away"])
def test_workers_train_as_one_process_does(lstm_ray: Command, folder: Path, trained: RunDir, where: str) -> None:
    """On both nodes, each of which has a CPU for one of them; or both on the one that does not see the run."""
    away = {"resources__train__custom": AWAY} if where == "away" else {}
    done = lstm_ray("train", folder / where, train__workers=2, **away)
    assert done.returncode == 0, done.stderr
    run = RunDir(folder / where)
    for ours, theirs in zip(curve(run), curve(trained), strict=True):
        assert ours == pytest.approx(theirs, rel=2e-4)
    left = sorted(path.name for path in (run.local / "train/checkpoints").iterdir())
    assert left == ["epoch-00001", "epoch-00002", "workers.json"]
    assert run.read_json("train/checkpoints/workers.json") == [2, 2]


@pytest.fixture(scope="module")
def alone(lstm_ray: Command, folder: Path, trained: RunDir) -> RunDir:
    """A whole run of which each stage had one process, on one node."""
    found = copy_of(trained, folder / "alone")
    for stage in AFTER:
        done = lstm_ray(stage, found.local, alone=True, tune__concurrency=1, plan__actors=1)
        assert done.returncode == 0, done.stderr
    return found


def test_the_stages_after_training_leave_what_one_process_leaves(
    lstm_ray: Command, folder: Path, trained: RunDir, alone: RunDir
) -> None:
    """Two trials at once, two actors to plan, two to evaluate and to train the backtest: one of each on each node."""
    tuned = copy_of(trained, folder / "spread")
    for stage in AFTER:
        done = lstm_ray(stage, tuned.local, tune__concurrency=2, plan__actors=2, evaluate__workers=2)
        assert done.returncode == 0, done.stderr
    for ours, theirs in zip(losses(tuned), losses(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    ours, theirs = (run.read_json("evaluate/metrics.json") for run in (tuned, alone))
    assert ours["metrics"] == pytest.approx(theirs["metrics"], rel=1e-5)
    scores = [[row["score"] for row in found["backtest"]["policies"]] for found in (ours, theirs)]
    assert len(scores[0]) == 2
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    figures = [run.read_json("plan/report.json")["validation"] for run in (tuned, alone)]
    assert figures[0] == pytest.approx(figures[1], rel=1e-5)


def test_a_group_trains_a_trial_where_the_search_is_not_seen(
    lstm_ray: Command, folder: Path, trained: RunDir, alone: RunDir
) -> None:
    grouped = copy_of(trained, folder / "grouped")
    asked = {"resources__tune__custom": AWAY, "resources__tune__cpus": 0.5}
    done = lstm_ray("tune", grouped.local, tune__workers=2, tune__trials=1, **asked)
    assert done.returncode == 0, done.stderr
    ((ours,), theirs) = losses(grouped), losses(alone)
    assert ours == pytest.approx(theirs[0], rel=2e-3)


def test_a_table_that_a_node_does_not_see_is_one_clear_error(lstm_ray: Command, folder: Path) -> None:
    done = lstm_ray("preprocess", folder / "unseen", preprocess__engine="ray", resources__preprocess__custom=AWAY)
    assert done.returncode == 2, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "waves.csv" in line)
    assert "of data.source is on the machine of this command, and not on the node 127.0.0.3" in line
    assert "a shared file system, or an object store" in line
    assert "Traceback" not in done.stderr
