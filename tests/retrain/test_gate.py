"""A challenger is promoted where it is better for sure, and nowhere much worse."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from lstm_ray.evaluate.paired import over_times
from lstm_ray.retrain.gate import GROUPS, MANY, NEWEST, REFERENCE, Errors, Stretch, judge
from lstm_ray.sections.operate import RetrainConfig

HORIZON, NUM = 6, 240
CONFIG, TEST = RetrainConfig(), partial(over_times, horizon=HORIZON)
RANDOM = np.random.default_rng(0)


def stretch(
    name: str, factor: np.ndarray | float = 1.0, series: int = 2, wrong: int = 0, noise: float = 0.05
) -> Stretch:
    """Two cells a case; the challenger's errors are the champion's times a factor [M, C], and noise."""
    shape = (NUM * series, 2)
    champion = 1 + 0.1 * np.abs(RANDOM.normal(size=shape))
    challenger = champion * factor + noise * RANDOM.normal(size=shape)
    count = np.full(shape, 3.0)
    return Stretch(
        name,
        Errors(3 * champion, count),
        Errors(3 * challenger, count, wrong),
        np.tile(np.arange(NUM), series),
        np.repeat(np.arange(series), NUM),
        [f"s{index}" for index in range(series)],
        {"leads 1 to 3": np.array([True, False]), "leads 4 to 6": np.array([False, True])},
    )


def test_a_challenger_that_is_better_and_nowhere_worse_is_promoted_with_its_numbers() -> None:
    verdict = judge(stretch(NEWEST, 0.8), stretch(REFERENCE, 1.0), CONFIG, TEST)
    assert verdict.promoted
    whole = verdict.slices[0]
    assert (whole.stretch, whole.num) == (NEWEST, 2 * NUM)
    assert whole.growth == pytest.approx(-0.2, abs=0.02)
    assert whole.interval is not None
    assert whole.growth is not None
    assert whole.interval[0] < whole.growth < whole.interval[1]
    assert f"error {whole.challenger:.4g}" in verdict.reasons[0]
    assert json.loads(json.dumps(verdict.evidence(), allow_nan=False))["promoted"] is True


def test_a_gain_that_may_be_luck_is_refused() -> None:
    verdict = judge(stretch(NEWEST, 0.999, noise=0.5), stretch(REFERENCE), CONFIG, TEST)
    assert not verdict.promoted
    assert "not better for sure" in verdict.reasons[0]


def test_a_challenger_that_forgot_the_reference_is_refused() -> None:
    verdict = judge(stretch(NEWEST, 0.5), stretch(REFERENCE, 1.5), CONFIG, TEST)
    assert not verdict.promoted
    assert "reference stretch, all: the error grows by +50" in verdict.reasons[0]


def test_one_series_that_becomes_much_worse_is_enough_to_refuse() -> None:
    factor = np.where(np.repeat(np.arange(5), NUM) == 3, 1.4, 0.7)[:, None]
    verdict = judge(stretch(NEWEST, factor, 5), stretch(REFERENCE, 1.0, 5), CONFIG, TEST)
    assert not verdict.promoted
    assert [reason.split(":")[0] for reason in verdict.reasons] == ["newest stretch, series 's3'"]


def test_one_part_of_the_horizon_that_becomes_much_worse_is_enough_to_refuse() -> None:
    verdict = judge(stretch(NEWEST, np.array([[0.5, 1.0]])), stretch(REFERENCE, np.array([[0.8, 1.3]])), CONFIG, TEST)
    assert [reason.split(":")[0] for reason in verdict.reasons] == ["reference stretch, leads 4 to 6"]


def test_a_slice_that_only_scatters_is_no_reason_to_refuse() -> None:
    noisy = stretch(REFERENCE, 1.0, 1, noise=0.0)
    wild = noisy.champion.sum_MC * (1 + 1.5 * np.sign(np.sin(np.arange(NUM) / 15))[:, None]) + 0.3
    scattered = Stretch(**{**vars(noisy), "challenger": Errors(wild, noisy.challenger.count_MC)})
    verdict = judge(stretch(NEWEST, 0.5), scattered, CONFIG, TEST)
    whole = next(one for one in verdict.slices if one.stretch == REFERENCE)
    assert whole.growth is not None
    assert whole.growth > CONFIG.max_worse
    assert whole.interval is not None
    assert whole.interval[0] < CONFIG.max_worse
    assert verdict.promoted


def test_without_an_interval_the_growth_itself_decides() -> None:
    short = {"step_M": np.zeros(2 * NUM, np.int64)}
    few = Stretch(**{**vars(stretch(REFERENCE, 1.5)), **short})
    verdict = judge(stretch(NEWEST, 0.5), few, CONFIG, TEST)
    assert "too few times for an interval" in verdict.reasons[0]
    few = Stretch(**{**vars(stretch(NEWEST, 0.5)), **short})
    assert "not better for sure" in judge(few, stretch(REFERENCE), CONFIG, TEST).reasons[0]


def test_answers_that_are_not_finite_and_a_smoke_input_that_fails_refuse() -> None:
    good = stretch(NEWEST, 0.5)
    assert (
        "3 of its answers on the reference stretch are not finite"
        in (judge(good, stretch(REFERENCE, wrong=3), CONFIG, TEST).reasons[0])
    )
    verdict = judge(good, stretch(REFERENCE), CONFIG, TEST, "1.5 training deviations off")
    assert not verdict.promoted
    assert "1.5 training deviations off" in verdict.reasons[0]


def test_many_series_are_told_in_groups() -> None:
    verdict = judge(stretch(NEWEST, 0.5, MANY + 5), stretch(REFERENCE, 1.0, MANY + 5), CONFIG, TEST)
    names = [one.name for one in verdict.slices if one.stretch == NEWEST]
    assert sum("series" in name for name in names) == GROUPS
    assert sum(one.num for one in verdict.slices if one.stretch == NEWEST and "tenth" in one.name) == NUM * (MANY + 5)


def test_a_champion_without_any_error_is_not_divided_by() -> None:
    none = stretch(REFERENCE)
    perfect = Stretch(**{**vars(none), "champion": Errors(0 * none.champion.sum_MC, none.champion.count_MC)})
    verdict = judge(stretch(NEWEST, 0.5), perfect, CONFIG, TEST)
    assert "from nothing" in verdict.reasons[0]
    json.dumps(verdict.evidence(), allow_nan=False)
