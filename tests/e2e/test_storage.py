"""A run in storage is the run on a disk: same figures, no secret shown, and another machine goes on where one was lost."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from lstm_ray.storage.staging import MANIFEST
from tests import s3

from .conftest import LSTM_RAY, end_group, group, wait_for
from .test_kill import SMALL

pytestmark = pytest.mark.timeout(900)
HERE = ["--set=train.workers=0", "--set=evaluate.workers=0", "--set=tune.trials=1", "--set=tune.max_epochs=1"]


def stage_command(stage: str, run: str, *more: str) -> list[str]:
    return [LSTM_RAY, stage, "configs/quickstart.yaml", "--run-dir", run, *SMALL, *HERE, *more]


def test_a_run_in_storage_ends_as_one_on_a_disk_and_shows_no_secret(
    tmp_path: Path, command, object_server: s3.Server
) -> None:
    bucket, short = object_server.bucket(), "--set=train.max_epochs=2"
    uri = f"s3://{s3.ACCESS}:{s3.SECRET}@{bucket}/run{object_server.query}"
    shown = []
    for run in (uri, str(tmp_path / "run")):
        done = command(*stage_command("evaluate", run, short), TMPDIR=str(tmp_path))
        assert done.returncode == 0, done.stderr
        shown.append(done.stdout + done.stderr)
    kept = object_server.objects(bucket)
    local = json.loads((tmp_path / "run/evaluate/metrics.json").read_bytes())
    assert json.loads(kept["run/evaluate/metrics.json"]) == local
    again = command(*stage_command("evaluate", uri, short), TMPDIR=str(tmp_path))
    assert "unchanged, skipped" in again.stdout
    wrong = command(*stage_command("evaluate", uri.replace(bucket, "none-such"), short), TMPDIR=str(tmp_path))
    assert wrong.returncode == 2
    assert "no bucket 'none-such'" in wrong.stderr
    for text in [*shown, again.stdout, again.stderr, wrong.stderr, *(str(content) for content in kept.values())]:
        assert s3.SECRET not in text
        assert s3.ACCESS not in text
    assert not list(tmp_path.glob("lstm-ray-copy-*")), "downloads end with their process"


def taken_over(server: s3.Server, bucket: str) -> list[Any]:
    """The epochs from which another machine would go on: those of a checkpoint that storage has whole, with its manifest."""
    kept = server.objects(bucket, "/.work/train-")
    found: list[Any] = []
    for key in (key for key in kept if key.endswith(f"/{MANIFEST}")):
        for path, stored in json.loads(kept[key])["files"].items():
            if path.endswith("training.json") and (content := kept.get(f"run/{stored['at']}")):
                found = max(found, json.loads(content)["records"], key=len)
    return found


def test_training_whose_machine_is_lost_goes_on_from_storage_on_another(
    tmp_path: Path, environment, command, object_server: s3.Server
) -> None:
    bucket = object_server.bucket()
    wanted = stage_command("train", f"s3://{bucket}/run", "--set=train.max_epochs=40", "--set=train.patience=40")
    named = object_server.environment
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with group(wanted, environment | named | {"TMPDIR": str(tmp_path / "one")}, tmp_path / "log") as process:
        wait_for(lambda: taken_over(object_server, bucket), 400, lambda: (tmp_path / "log").read_text())
        end_group(process, signal.SIGKILL)
    before = taken_over(object_server, bucket)
    assert 1 <= len(before) < 40, "killed too late to prove anything"
    done = command(*wanted, **named, TMPDIR=str(tmp_path / "other"))
    assert done.returncode == 0, done.stderr
    kept = object_server.objects(bucket)
    assert "run/train/report.json" in kept
    trained = [json.loads(line) for line in kept["run/train/metrics.jsonl"].splitlines()]
    assert [record["epoch"] for record in trained] == list(range(len(trained)))
    assert trained[0] == before[0], "what was trained before the kill is not trained again"
