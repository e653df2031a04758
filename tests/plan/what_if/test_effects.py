"""Futures summed up, and compared with the base on the same draws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstm_ray.plan.what_if.effects import Summary, Threshold, crossings, effects, summary_of, thresholds_of
from tests import made

SEGMENTS = made.segments_of([240, 240])
ORIGINS = np.array([50, 60, 70, 300])
BASE = np.random.default_rng(0).normal(size=(4, 3, 5, 1))
# Paired with the base path by path: 1 a step for the first series, 10 for the second.
STORM = BASE + np.array([1.0, 1.0, 1.0, 10.0])[:, None, None, None] * np.arange(5)[:, None]
HIGH, LOW = Threshold(0, 1.0, True, "load above 1"), Threshold(0, -1.0, False, "load below -1")


def summaries(**futures: Any) -> dict[str, Summary]:
    return {name: summary_of(future, [HIGH, LOW]) for name, future in futures.items()}


def test_effects_are_differences_from_the_base() -> None:
    found = effects(summaries(base=BASE, storm=STORM), SEGMENTS, ORIGINS)
    assert list(found) == ["storm"]
    effect = found["storm"]["load"]
    assert effect.mean == pytest.approx(2 * (1 + 1 + 1 + 10) / 4, rel=1e-6)
    assert effect.share == pytest.approx(6.5 / abs(BASE.mean()), rel=1e-4)
    assert effect.first_step == pytest.approx(0, abs=1e-6)
    assert effect.last_step == pytest.approx(4 * 13 / 4, rel=1e-6)
    assert effect.by_step == pytest.approx([step * 13 / 4 for step in range(5)], abs=1e-5)
    assert effect.low == pytest.approx(2, rel=1e-6)
    assert 2 < effect.high < 20
    assert effect.interval is None
    assert effect.by_step_reach is None
    assert effect.is_clear
    assert effect.by_series == {"s1": pytest.approx(20, rel=1e-6), "s0": pytest.approx(2, rel=1e-6)}
    assert effect.most_affected == "s1"


def test_series_that_a_scenario_leaves_alone_do_not_dilute_its_effect() -> None:
    alone = BASE.copy()
    alone[3] += 2
    [effect] = effects(summaries(base=BASE, storm=alone), SEGMENTS, ORIGINS)["storm"].values()
    assert (effect.mean, effect.low, effect.high) == pytest.approx((2, 2, 2), rel=1e-6)
    assert list(effect.by_series) == ["s1"]
    [still] = effects(summaries(base=BASE, storm=BASE), SEGMENTS, ORIGINS)["storm"].values()
    assert (still.mean, len(still.by_series)) == (0, 2)


def test_each_origin_is_summed_up_as_if_alone_and_parts_make_the_whole() -> None:
    whole = summary_of(STORM, [HIGH, LOW])
    parts = Summary.joined([summary_of(STORM[:1], [HIGH, LOW]), summary_of(STORM[1:], [HIGH, LOW])])
    for name in ("mean_MSC", "quantile_MQSC", "crossed_MT"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
        assert getattr(whole, name).dtype == np.float32
    assert whole.paths == 3
    assert summary_of(STORM, []).crossed_MT.shape == (4, 0)


def test_a_path_crosses_a_threshold_where_any_of_its_steps_does() -> None:
    future = np.zeros((2, 4, 3, 1))
    future[0, 0, 2] = 1.5
    future[0, 1, 0] = -1.5
    future[1, :, 1] = 1.0
    assert summary_of(future, [HIGH, LOW]).crossed_MT.tolist() == [[0.25, 0.25], [0, 0]]
    crossed = crossings(summaries(base=future, up=future + 0.5), [HIGH, LOW], np.array([5, 9]))["up"]
    assert crossed["load above 1"].base == 0.125
    assert crossed["load above 1"].scenario == (0.25 + 1) / 2
    assert crossed["load above 1"].difference == 0.5
    assert crossed["load above 1"].interval is None
    assert crossed["load below -1"].scenario == 0


def test_the_interval_of_a_mean_effect_holds_the_truth_about_as_often_as_it_says() -> None:
    """Origins a step apart share most of what moves them."""
    random, segments = np.random.default_rng(1), made.segments_of([1000])
    held, origins = 0, np.arange(20, 820)
    for _ in range(100):
        moved = 2 + np.convolve(random.normal(size=len(origins) + 4), np.full(5, 1 / 5), "valid")
        base = np.zeros((len(origins), 1, 5, 1))
        effect = effects(summaries(base=base, up=base + moved[:, None, None, None]), segments, origins)["up"]["load"]
        assert effect.interval is not None
        held += effect.interval[0] <= 2 <= effect.interval[1]
        assert effect.share is None, "the base is 0"
    assert 88 <= held <= 99
    assert effect.by_step_reach == pytest.approx([effect.interval[1] - effect.mean] * 5)


def test_thresholds_are_those_declared_or_what_is_rare_in_training() -> None:
    given = [{"above": 25}, {"target": "load", "below": 3.5}]
    found = thresholds_of(made.make_config(plan__thresholds=given), SEGMENTS, made.PARTS)
    assert found == [Threshold(0, 25, True, "load above 25"), Threshold(0, 3.5, False, "load below 3.5")]
    target_RC = SEGMENTS.target_RC.copy()
    target_RC[140:240] = 1e6  # not the training part's
    target_RC[:10] = 1e6  # not measured
    observed_RC = np.ones_like(SEGMENTS.observed_RC)
    observed_RC[:10] = 0
    spiked = replace(SEGMENTS, target_RC=target_RC, observed_RC=observed_RC)
    [one] = thresholds_of(made.make_config(), spiked, made.PARTS)
    training = np.concatenate([target_RC[10:140], target_RC[240:380]])
    assert one.level == pytest.approx(np.quantile(training, 0.95), rel=1e-3)
    assert one.above
    assert one.words == f"load above {one.level:g}"
