"""What is told of intervals: how often they hold what came, beside what they say and what is chance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments, origins
from lstm_ray.evaluate.gather import Forecaster
from lstm_ray.evaluate.intervals import judging
from lstm_ray.evaluate.intervals.calibrating import calibrated, conformal_of
from lstm_ray.evaluate.intervals.held import held, pairs
from lstm_ray.report.tables import TableData
from lstm_ray.run_dir import to_json
from lstm_ray.sections.evaluate import EvaluateConfig
from tests import made
from tests.evaluate.intervals import known


@dataclass
class Naive:
    """Last value, and quantiles a fixed distance from it."""

    quantiles: list[float]
    spread: float = 1.0

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        point = np.repeat(segments.target_RC[origins_M][:, None], 6, axis=1)[..., None]
        return point + self.spread * (np.asarray(self.quantiles, dtype=np.float32) - 0.5)


SEGMENTS = made.segments_of([900, 900])
PARTS: Boundaries = {"train": (0, 300), "validation": (300, 600), "test": (600, 900)}
CONFIG = made.make_config(model__quantiles=[0.1, 0.25, 0.5, 0.75, 0.9])
TEST_M = origins(SEGMENTS, PARTS, "test", CONFIG.window)
SETTINGS = EvaluateConfig()


def told(policy: Forecaster, segments: Segments = SEGMENTS, settings: EvaluateConfig = SETTINGS) -> Any:
    return judging.told(policy, segments, TEST_M, made.scaler_of(SEGMENTS), settings)


def test_a_calibrated_policy_is_judged_beside_itself_uncalibrated_and_followed() -> None:
    policy = made.random_policy(CONFIG, SEGMENTS)
    policy.calibration = calibrated(policy, SEGMENTS, PARTS)
    found = told(policy)
    assert found.topic == "Intervals"
    TableData.model_validate(found.tables[0])
    assert [row[:2] for row in found.tables[0]["rows"]] == [
        [name, way] for name in ("50 %", "80 %") for way in ("uncalibrated", "calibrated", "adaptive")
    ]
    by_row = {tuple(row[:2]): row[2] for row in found.tables[0]["rows"]}
    assert by_row["80 %", "calibrated"] == pytest.approx(0.8, abs=0.06)
    assert abs(by_row["80 %", "uncalibrated"] - 0.8) > 0.1
    details = found.details["intervals"]
    assert details["answered"] == "calibrated"
    assert details["calibrated"]["intervals"]["80 %"]["coverage"] == by_row["80 %", "calibrated"]
    assert len(details["calibrated"]["intervals"]["80 %"]["by_horizon"]) == 6
    assert set(details["calibrated"]["by_series"]) == {"s0", "s1"}
    to_json(details)
    # The numbers are those of the answers.
    rows = TEST_M[:, None] + np.arange(1, 7)
    forecast, seen = policy.forecast_windows(SEGMENTS, TEST_M), SEGMENTS.observed_RC[rows] > 0
    inside = (forecast[..., 0] <= SEGMENTS.target_RC[rows]) & (SEGMENTS.target_RC[rows] <= forecast[..., -1])
    assert by_row["80 %", "calibrated"] == pytest.approx(inside[seen].mean(), abs=2e-3)
    ids = [figure.id for figure in found.figures]
    assert ids == ["intervals-levels", "intervals-by-horizon", "intervals-over-time", "intervals-by-series"]
    assert all(figure.caption.endswith(f"All {len(TEST_M)} windows of the test part.") for figure in found.figures)


def test_intervals_that_do_not_hold_what_they_should_are_a_warning() -> None:
    narrow = told(Naive([0.1, 0.5, 0.9], spread=0.1)).findings[0]
    assert narrow.severity == "warning"
    assert "meant to hold 80 %" in narrow.text
    assert "too narrow" in narrow.advice
    wide = told(Naive([0.1, 0.5, 0.9], spread=80)).findings[0]
    assert "hold 100 % as the network gives them" in wide.text
    assert "too wide" in wide.advice


def test_a_test_part_too_short_to_tell_is_no_warning() -> None:
    """One window of six steps that hang together: 100 % instead of 80 % is what most of them hold."""
    one = judging.told(Naive([0.1, 0.5, 0.9], 80), SEGMENTS, TEST_M[:1], made.scaler_of(SEGMENTS), SETTINGS)
    assert one is not None
    assert "hold 100 %" in one.findings[0].text
    assert "too short to say how much of that is chance" in one.findings[0].text
    assert one.findings[0].severity == "info"


def test_series_of_few_windows_that_differ_by_chance_get_no_advice() -> None:
    segments = made.segments_of([306] * 60)
    parts: Boundaries = {"train": (0, 200), "validation": (200, 300), "test": (300, 306)}
    policy = Naive([0.1, 0.5, 0.9], spread=2.5)
    test_M = origins(segments, parts, "test", CONFIG.window)
    found = judging.told(policy, segments, test_M, made.scaler_of(segments), SETTINGS)
    assert found is not None
    [finding] = [one for one in found.findings if one.text.startswith("By series")]
    share = found.details["intervals"]["uncalibrated"]["by_series"].values()
    assert np.ptp(list(share)) > 0.2, "by luck"
    assert finding.severity == "info"


def test_a_point_forecast_and_a_part_without_measurements_say_nothing_of_intervals() -> None:
    assert told(Naive([0.5])) is None
    blind = replace(SEGMENTS, observed_RC=np.zeros_like(SEGMENTS.observed_RC))
    assert told(Naive([0.1, 0.5, 0.9]), blind) is None


def test_what_calibration_could_not_do_is_said() -> None:
    policy = made.random_policy(CONFIG, SEGMENTS)
    assert "holds no window" in told(policy).findings[-1].text
    off = told(policy, settings=EvaluateConfig(conformal="none"))
    assert not [one for one in off.findings if "validation" in one.text]
    policy.calibration = calibrated(policy, SEGMENTS, {**PARTS, "validation": (300, 308)})
    assert policy.calibration is not None
    assert policy.calibration.left == (0.1, 0.9)
    assert "6 windows of validation are too few to calibrate quantile 0.1, 0.9" in told(policy).findings[-1].text


def test_an_interval_is_judged_by_what_it_holds_its_width_and_its_score() -> None:
    forecast = np.array([[0.0, 1, 4], [0, 1, 2], [0, 1, 2]], np.float32)[:, None, None]
    actual = np.array([1.0, 5, np.nan])[:, None, None]
    [pair] = pairs((0.1, 0.5, 0.9))
    found = held(forecast, actual, (0.1, 0.5, 0.9), [pair], np.array([2.0]))
    assert found.inside["80 %"].tolist() == [[1], [0], [0]]
    assert found.width["80 %"] == (4 + 2) / 2 / 2
    assert found.score["80 %"] == pytest.approx((4 + 2 + 2 / 0.2 * 3) / 2 / 2)
    # One of two lies at the median: as far as its level asks.
    assert found.below_Q.tolist() == [0, 0.5, 0.5]
    assert found.tied == 0.5


def test_of_levels_that_do_not_mirror_each_other_each_end_is_scored_by_its_own() -> None:
    """Least for the true quantiles: 2 / alpha at both ends would reward others."""
    levels, drawn = (0.05, 0.5, 0.8), np.random.default_rng(0).standard_normal(20_000)[:, None, None]
    [pair] = pairs(levels)

    def score(low: float, high: float) -> float:
        forecast = np.broadcast_to(np.array([low, 0, high], np.float32), (*drawn.shape, 3))
        return held(forecast, drawn, levels, [pair], np.ones(1)).score[pair.name]

    true = score(-1.645, 0.842)
    assert true < min(score(-1.15, 1.15), score(-1.645, 1.15), score(-1.15, 0.842))


def test_counts_that_equal_the_end_of_an_interval_are_told_of() -> None:
    counts = replace(SEGMENTS, target_RC=np.rint(SEGMENTS.target_RC / 4))
    found = told(Naive([0.1, 0.5, 0.9], spread=2.5), counts)
    assert "of the actual values equal a quantile" in found.findings[1].text
    assert found.details["intervals"]["uncalibrated"]["below"]["0.5"] == 0.5
    assert "equal" not in " ".join(one.text for one in told(Naive([0.1, 0.5, 0.9])).findings)


def test_intervals_lie_between_levels_that_mirror_each_other() -> None:
    assert [(pair.low, pair.high, pair.name) for pair in pairs((0.05, 0.1, 0.5, 0.9, 0.95))] == [
        (1, 3, "80 %"),
        (0, 4, "90 %"),
    ]
    assert [pair.name for pair in pairs((0.5, 0.9))] == ["40 %"]


def test_chance_is_as_wide_as_it_turns_out_to_be() -> None:
    """The coverages of other test parts from the same process lie within what one of them says of chance."""
    calibration = conformal_of(known.first_order(60_000, 6, 0.5, seed=1))
    found = []
    for seed in range(40):
        judged = judging.judge(known.first_order(800, 6, 0.5, seed=seed + 2), calibration, ["x"])
        found.append(judged.coverage("calibrated", judged.pairs[-2]))
    share, reach = (np.asarray(values, dtype=float) for values in zip(*found, strict=True))
    assert (np.abs(share - 0.8) <= reach).mean() > 0.85
    assert 1.2 < reach.mean() / share.std() < 3.5
