"""A followed correction holds what it says when the noise changes, and knows nothing before it is known."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.evaluate.intervals.adaptive import STRIDES, Adaptive, followed, newly_known
from lstm_ray.evaluate.intervals.calibrating import conformal_of
from lstm_ray.evaluate.intervals.sample import Sample
from tests.evaluate.intervals import known
from tests.evaluate.intervals.known import LEVELS

LOW, HIGH = 1, 5


def coverage(sample: Sample, shift: np.ndarray, floor_C: np.ndarray) -> np.ndarray:
    """Of the 80 % interval, by window."""
    forecast = sample.forecast(shift, floor_C)[:, :, 0]
    actual = sample.actual_MHC[..., 0]
    return ((forecast[..., LOW] <= actual) & (actual <= forecast[..., HIGH])).mean(axis=1)


def test_after_a_shift_of_variance_intervals_that_are_followed_hold_what_they_say_and_split_ones_do_not() -> None:
    calibration = conformal_of(known.first_order(5_000, 4, 0.7, seed=1))
    louder = np.where(np.arange(9_000) < 1_000, 1.0, 2.0)
    sample = known.first_order(9_000, 4, 0.7, seed=2, loud=louder)
    _, shift_UHCQ = followed(sample.score(calibration.floor_C), sample.step_M, calibration.shift_HCQ, LEVELS)
    split = coverage(sample, calibration.shift_HCQ, calibration.floor_C)
    adaptive = coverage(sample, shift_UHCQ, calibration.floor_C)
    assert split[:900].mean() == pytest.approx(0.8, abs=0.03)
    assert split[2_500:].mean() < 0.6
    assert adaptive[2_500:].mean() == pytest.approx(0.8, abs=0.02)
    assert adaptive.mean() == pytest.approx(0.8, abs=0.03)


def test_where_nothing_changes_following_costs_little() -> None:
    calibration = conformal_of(known.first_order(8_000, 4, 0.7, seed=1))
    sample = known.first_order(5_000, 4, 0.7, seed=2)
    _, shift_UHCQ = followed(sample.score(calibration.floor_C), sample.step_M, calibration.shift_HCQ, LEVELS)
    assert coverage(sample, shift_UHCQ, calibration.floor_C).mean() == pytest.approx(0.8, abs=0.02)
    width, before = (
        np.ptp(sample.forecast(shift, calibration.floor_C)[..., [LOW, HIGH]], axis=-1).mean()
        for shift in (shift_UHCQ, calibration.shift_HCQ)
    )
    assert width == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("every", [1, 3, 7])
def test_at_an_origin_only_what_came_up_to_it_is_known(every: int) -> None:
    random = np.random.default_rng(every)
    step_M = np.sort(np.repeat(np.arange(0, 40 * every, every), 2))
    step_M = step_M[(step_M < 20) | (step_M > 30)]
    score = random.normal(size=(len(step_M), 5, 1, len(LEVELS)))
    none = np.zeros((5, 1, len(LEVELS)))
    step_U, before = followed(score, step_M, none, LEVELS)
    now = step_U[len(step_U) // 2]
    unknown = step_M[:, None] + np.arange(1, 6) > now
    changed = np.where(unknown[..., None, None], 100.0, score)
    _, after = followed(changed, step_M, none, LEVELS)
    np.testing.assert_array_equal(after[step_U <= now], before[step_U <= now])
    assert (after[-1] != before[-1]).any()


def test_every_error_is_learned_from_once_as_soon_as_it_is_known() -> None:
    step_U, horizon = np.delete(np.arange(0, 60, 2), [7, 8, 9, 10, 20]), 5
    learned: dict[tuple[int, int], np.integer] = {}
    for now, pending in zip(step_U, newly_known(step_U, horizon), strict=True):
        for origin_H in pending:
            for h, origin in enumerate(origin_H):
                if origin >= 0:
                    assert (origin, h) not in learned
                    learned[origin, h] = now
    for (origin, h), when in learned.items():
        assert when == step_U[step_U >= step_U[origin] + h + 1][0]
    assert len(learned) == sum((step_U + h + 1 <= step_U[-1]).sum() for h in range(horizon))


def test_a_quantile_moves_by_what_its_level_asks_and_by_less_the_further_ahead() -> None:
    state = Adaptive.start(np.zeros((3, 1, len(LEVELS))), LEVELS)
    state.update(np.full((2, 3, 1, len(LEVELS)), 50.0), state.shift_KHCQ)
    assert state.shift_KHCQ[-1, :, 0, 5] == pytest.approx(STRIDES[-1] * 0.9 / np.array([1, 2, 3]), rel=1e-5)
    said = state.shift_KHCQ
    state.update(np.full((2, 3, 1, len(LEVELS)), -50.0), said)
    assert state.shift_KHCQ[-1, :, 0, 5] == pytest.approx(STRIDES[-1] * 0.8 / np.array([1, 2, 3]), rel=1e-5)


def test_the_median_and_an_update_without_news_move_nothing() -> None:
    state = Adaptive.start(np.zeros((2, 1, len(LEVELS))), LEVELS)
    before = state.shift_KHCQ.copy()
    state.update(np.full((3, 2, 1, len(LEVELS)), np.nan), before)
    np.testing.assert_array_equal(state.shift_KHCQ, before)
    state.update(np.ones((3, 2, 1, len(LEVELS))), before)
    assert not state.shift_KHCQ[..., 3].any()
    assert state.shift_KHCQ[1:, ..., 5].all()
    assert not state.shift_KHCQ[0].any()
