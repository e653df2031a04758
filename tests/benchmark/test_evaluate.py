"""What the evaluate suite makes of its measurements, and that both its loops forecast the same."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.benchmark import evaluate, judging
from lstm_ray.benchmark.options import Options
from lstm_ray.data.windows import origins
from tests.benchmark.answering import answers

FOUND = {
    judging.BARE: [100.0, 200.0],
    judging.SCORED: [95.0, 180.0],
    judging.WRITTEN: [90.0, 130.0],
    judging.BESIDE: [50.0, 100.0],
}
MEMORY = {"before_bytes": 300_000_000, "peak_bytes": 400_000_000, "written_bytes": 1_000}


def test_speeds_are_compared_turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, FOUND)
    scored, written, beside = evaluate.speed("history 96, patch 1", Options()).figures
    assert scored.value == pytest.approx((0.95 + 0.9) / 2)
    assert written.value == pytest.approx((0.9 + 0.65) / 2)
    assert (scored.holds, written.holds) == (True, False)
    assert (beside.value, beside.target) == (0.5, None)
    assert asked[0]["num_windows"] == 100_000


def test_memory_is_what_scoring_adds_at_the_larger_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, MEMORY, MEMORY | {"peak_bytes": 900_000_000})
    [figure] = evaluate.memory(Options()).figures
    assert [one["num_windows"] for one in asked] == [250_000, 1_000_000]
    assert figure.value == 600
    assert figure.holds is False


def test_a_quick_suite_scores_fewer_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, FOUND, FOUND, MEMORY, MEMORY)
    found = evaluate.evaluate(Options(quick=True))
    assert max(one["num_windows"] for one in asked) == 100_000
    assert len(found.figures) == 7


def test_the_bare_loop_forecasts_what_the_policy_does() -> None:
    window = {"history": 48, "horizon": 24, "patch": 24}
    policy, segments, bounds, given = judging.made_up_run(window, 700)
    test_M = origins(segments, bounds, "test", given.window)
    assert len(test_M) == 700
    bare_MHCQ = np.concatenate([one.numpy() for one in judging.forward(policy, segments, test_M)])
    np.testing.assert_allclose(bare_MHCQ, policy.forecast_windows(segments, test_M), atol=1e-5)


def test_a_measurement_scores_every_window_of_each_loop() -> None:
    found = judging.per_second({"history": 48, "horizon": 24, "patch": 24}, 600, 1)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(FOUND, 1)
    assert judging.peak({"history": 48, "horizon": 24, "patch": 24}, 600)["written_bytes"] > 600 * 24 * 4
