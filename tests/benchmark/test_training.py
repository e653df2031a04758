"""What the training suite makes of its measurements. The measurements themselves are made up here."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstm_ray.benchmark import training
from lstm_ray.benchmark.options import Options
from lstm_ray.errors import InputError
from tests.benchmark.answering import answers

QUICK = Options(quick=True)


def test_speeds_are_compared_turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = {"every origin, same network": [100.0, 100.0, 100.0], "the same, values alone": [120.0] * 3}
    patch_1 = {"trainer": [100.0, 90.0, 80.0], **bare, "256": [2.0, 1.0, 4.0], "32": [4.0] * 3}
    asked = answers(monkeypatch, patch_1, {"trainer": [80.0] * 3, **bare})
    found = {figure.name: figure for figure in training.speed(QUICK).figures}
    usual = found["patch 1: trainer / bare torch window at a time, batch 256"]
    assert (usual.value, usual.target, usual.holds) == (50.0, 40.0, True)  # of 50, 90 and 20
    assert found["patch 1: trainer / bare torch window at a time, batch 32"].target is None
    assert found["patch 1: trainer / bare torch, every origin, same network"].holds is True
    assert found["patch 24: trainer / bare torch, every origin, same network"].holds is False
    assert found["patch 24: trainer / bare torch, the same, values alone"].target is None
    assert found["patch 24: trainer"].value == 80
    assert [(a["window"]["patch"], a["gpu"]) for a in asked] == [(1, False), (24, False)]


def test_without_a_gpu_the_suite_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "gpu_name", lambda: None)
    assert training.speed_on_gpu(QUICK).notes == ["no CUDA GPU is at hand, so speed was measured on the CPU alone"]


def test_without_data_the_training_on_real_data_is_left_out_with_a_note() -> None:
    [note] = training.seconds_to_accuracy(Options()).notes
    assert "needs --data DIR with ETTh1.csv" in note


def test_seconds_to_accuracy_tells_seconds_and_error_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ETTh1.csv").write_text("")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "etth1_96.yaml").write_text("")
    outcome = {"training_seconds": 12.0, "epochs": 9, "best_epoch": 4, "best_seconds": 5.0, "value": 0.3612}
    [asked] = [answers(monkeypatch, outcome)]
    results = training.seconds_to_accuracy(Options(data=tmp_path))
    seconds, error = results.figures
    assert (seconds.value, seconds.target, seconds.holds) == (12.0, 20.0, True)
    assert (error.value, error.target, error.holds) == (0.3612, 0.36, False)
    assert asked[0]["source"] == [str(tmp_path / "ETTh1.csv")]
    assert "epoch 4" in results.notes[0]


def test_workers_are_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.os, "sched_getaffinity", lambda process: {0, 1})
    asked = answers(monkeypatch, [100.0, 180.0, 120.0, 50.0, 100.0, 75.0, 80.0, 80.0, 80.0])
    results = training.two_workers(Options())
    assert asked[0]["trainings"] == [(1, 32), (2, 64), (2, 32)] * 3
    own, shared = results.figures
    assert (own.value, shared.value) == (pytest.approx(1.8), pytest.approx(1.2))
    assert (own.target, shared.target) == (1.7, None)
    assert results.sheets[0].rows[1] == ["2, batch 64", "180", "100", "80"]


def test_two_workers_need_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.os, "sched_getaffinity", lambda process: {0})
    assert "one core" in training.two_workers(Options()).notes[0]


def test_memory_is_the_longest_history_beside_the_shortest(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = [{"peak_bytes": peak, "before_bytes": 300_000_000} for peak in (400_000_000, 500_000_000)]
    answers(monkeypatch, *peaks)
    results = training.memory(QUICK)
    [figure] = results.figures
    assert (figure.value, figure.target, figure.holds) == (pytest.approx(25.0), 20.0, False)
    assert [row[:4] for row in results.sheets[0].rows] == [
        ["patch 24", "96", "400", "100"],
        ["patch 24", "960", "500", "200"],
    ]


def test_a_config_the_suite_does_not_run_is_refused() -> None:
    with pytest.raises(InputError, match="runs no config 'gunpoint'"):
        training.training(Options(only=["gunpoint"]))
