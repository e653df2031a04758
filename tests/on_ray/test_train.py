from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lstm_ray.config import with_values
from lstm_ray.lifecycle import run_stages
from lstm_ray.model.policy import Policy
from lstm_ray.run_dir import RunDir

from .worlds import prepared, small_config, write_waves


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_waves(tmp_path_factory.mktemp("waves"))


def curve(run: RunDir) -> list[tuple[float, float, float]]:
    lines = (run.local / "train/metrics.jsonl").read_text().splitlines()
    return [(r["train_loss"], r["validation_loss"], r["gradient_norm"]) for r in map(json.loads, lines)]


def test_none_one_and_two_workers_give_the_same_loss_curve(local_ray, file, tmp_path):
    """Equal global batch, no dropout. A batch of 6 leaves a last step with fewer sequences than workers."""
    curves = {}
    for workers in (0, 1, 2):
        config = small_config(file, train__workers=workers, train__batch=6)
        curves[workers] = curve(prepared(config, tmp_path / str(workers), "train"))
    assert len(curves[0]) == 3
    for workers in (1, 2):
        for ours, theirs in zip(curves[workers], curves[0], strict=True):
            assert ours == pytest.approx(theirs, rel=2e-4)
    assert curves[0][-1][0] < 0.9 * curves[0][0][0], "the loss must fall for the comparison to mean anything"


def test_a_training_continued_from_its_checkpoints_equals_one_that_never_stopped(file, tmp_path, monkeypatch):
    config = small_config(file, model__dropout=0.3)
    whole = prepared(config, tmp_path / "whole", "train")
    broken = prepared(config, tmp_path / "broken")

    def dies(*arguments: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr("lstm_ray.on_ray.train.validation_metrics", dies)
        with pytest.raises(RuntimeError, match="power cut"):
            run_stages(config, broken, ["train"])
    assert not broken.exists("train/report.json")
    (newest,) = sorted((broken.local / ".work").glob("train-*/checkpoints/epoch-00003"))
    (newest / "training.safetensors").write_bytes(b"half a file")
    run_stages(config, broken, ["train"])
    assert curve(broken) == curve(whole)
    weights = [Policy.load(run.local / "train/policy").network.state_dict() for run in (whole, broken)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_a_worker_that_is_lost_is_replaced_and_training_ends_the_same(local_ray, file, tmp_path):
    config = small_config(file, train__workers=2, train__max_epochs=6, train__batch=3)
    calm = curve(prepared(with_values(config, {"train.workers": 0}), tmp_path / "calm", "train"))
    run = prepared(config, tmp_path / "run")
    killed: list[int] = []

    def kill_one_after_the_first_checkpoint() -> None:
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline and not killed:
            if list(run.local.glob(".work/train-*/checkpoints/train/checkpoint_*/training.json")):
                pids = [pid for pid, words in _descendants() if "RayTrainWorker" in words]
                if pids:
                    os.kill(pids[0], signal.SIGKILL)
                    killed.append(pids[0])
            time.sleep(0.02)

    killer = threading.Thread(target=kill_one_after_the_first_checkpoint)
    killer.start()
    run_stages(config, run, ["train"])
    killer.join()
    assert killed, "no worker was there to be killed"
    assert len(curve(run)) == len(calm)
    for ours, theirs in zip(curve(run), calm, strict=True):
        assert ours[:2] == pytest.approx(theirs[:2], rel=1e-3)


def _descendants() -> Iterator[tuple[int, str]]:
    """Processes below this one, by number and command line."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    for pid in parents:
        above = pid
        while (above := parents.get(above, 0)) > 1:
            if above == os.getpid():
                with suppress(OSError):
                    yield pid, Path(f"/proc/{pid}/cmdline").read_text()
                break
