"""A run that is killed and started again finishes, trusting nothing that was not whole."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from .conftest import LSTM_RAY, end_group, group, wait_for

pytestmark = pytest.mark.timeout(900)
SMALL = [
    "--set=train.max_epochs=6",
    "--set=train.patience=6",
    "--set=tune.trials=3",
    "--set=tune.max_epochs=3",
    "--set=preprocess.engine=polars",
    "--set=model.hidden=32",
    "--set=train.batch=4",
    "--set=model.dropout=0.0",
    "--set=tune.space={train.learning_rate: {loguniform: [3.0e-4, 3.0e-3]}}",
]


def stage_command(stage: str, run: Path, *more: str) -> list[str]:
    return [LSTM_RAY, stage, "configs/quickstart.yaml", "--run-dir", str(run), *SMALL, *more]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, command):
    run = tmp_path_factory.mktemp("undisturbed")
    assert (done := command(*stage_command("train", run))).returncode == 0, done.stderr
    return json.loads((run / "train/report.json").read_text())


@pytest.mark.parametrize(("workers", "tolerance"), [(0, 1e-6), (2, 1e-3)], ids=["here", "Ray"])
def test_training_killed_in_mid_run_goes_on_and_ends_as_if_undisturbed(
    tmp_path, environment, command, undisturbed, workers, tolerance
):
    run, wanted = tmp_path / "run", stage_command("train", tmp_path / "run", f"--set=train.workers={workers}")
    with group(wanted, environment, tmp_path / "log") as process:
        checkpoints = lambda: list(run.glob(".work/train-*/checkpoints/epoch-*/training.json"))  # noqa: E731
        wait_for(lambda: bool(checkpoints()), 240, lambda: "the first checkpoint")
        end_group(process, signal.SIGKILL)
    assert not (run / "train").exists(), "a stage that was killed must not look whole"
    before = max((json.loads(file.read_text())["records"] for file in checkpoints()), key=len)
    assert 1 <= len(before) < 6, "killed too late to prove anything"
    done = command(*wanted)
    assert done.returncode == 0, done.stderr
    report = json.loads((run / "train/report.json").read_text())
    assert report["epochs"] == undisturbed["epochs"]
    assert report["validation"]["mae"] == pytest.approx(undisturbed["validation"]["mae"], rel=tolerance)
    records = [json.loads(line) for line in (run / "train/metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == list(range(report["epochs"]))
    assert records[0] == before[0], "what was trained before the kill is not trained again"
    assert not list(run.glob(".work/train-*")), "the working directory was published, not copied"


def test_tuning_killed_in_mid_run_finishes_with_every_trial(tmp_path, environment, command):
    run = tmp_path / "run"
    with group(stage_command("tune", run), environment, tmp_path / "log") as process:
        wait_for(
            lambda: bool(list(run.glob(".work/tune-*/trials/*/epoch-*/training.json"))),
            240,
            lambda: "a trial's first result",
        )
        end_group(process, signal.SIGKILL)
    assert not (run / "tune").exists()
    assert (run / "train/report.json").exists(), "stages before the killed one stay"
    done = command(*stage_command("tune", run))
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout
    assert "skipped" in done.stdout
    report = json.loads((run / "tune/report.json").read_text())
    assert len(report["trials"]) == 3
    assert (run / "tune/policy/weights.safetensors").exists()
