"""Every imputation against one that walks value by value; what it may not look at changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lstm_ray.data.quality.impute import RULES, Filling, fill, forward_fill
from tests.made import make_config

NAN = np.nan
VALUES = arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([NAN, NAN, 1, 2, 3, 7.5]))
HOW = st.sampled_from(sorted(RULES))
FILLINGS = st.builds(Filling, how=HOW, causal=st.booleans(), season=st.integers(1, 6), value=st.just(-4.0))
CAUSAL = st.builds(
    Filling,
    how=st.sampled_from(sorted(set(RULES) - {"linear"})),
    causal=st.just(True),
    season=st.integers(1, 6),
    value=st.just(-4.0),
)
CUTS = st.lists(st.integers(0, 40), max_size=6)


def bounds_of(cuts: list[int], length: int) -> np.ndarray:
    """Bounds of segments that are cut there; some may be empty."""
    return np.array(sorted([0, length, *(min(cut, length) for cut in cuts)]))


def last(before: list[float], missing: float = NAN) -> float:
    told = [v for v in before if not np.isnan(v)]
    return told[-1] if told else missing


def first(after: list[float]) -> float:
    return last(after[::-1])


def by_hand(segment: list[float], filling: Filling) -> list[float]:
    """A segment filled by looking at each missing value alone."""

    def value(t: int) -> float:
        before, after = segment[:t], segment[t + 1 :]
        told = [v for v in (before if filling.causal else segment) if not np.isnan(v)]
        if filling.how in ("zero", "constant"):
            return filling.value if filling.how == "constant" else 0.0
        if filling.how in ("mean", "median"):
            return float({"mean": np.mean, "median": np.median}[filling.how](told)) if told else NAN
        if filling.how == "seasonal":
            seasons = [last(segment[t % filling.season : t : filling.season])]
            seasons += [] if filling.causal else [first(segment[t + filling.season :: filling.season])]
            found = [v for v in seasons if not np.isnan(v)]
            return float(np.mean(found)) if found else last(before)
        if filling.how == "linear" and not (np.isnan(last(before)) or np.isnan(first(after))):
            at = [i for i, v in enumerate(segment) if not np.isnan(v)]
            return float(np.interp(t, at, [segment[i] for i in at]))
        return last(before)

    return [value(t) if np.isnan(v) else v for t, v in enumerate(segment)]


@given(VALUES, CUTS, FILLINGS)
def test_every_rule_fills_each_segment_as_one_would_by_hand(
    values_R: np.ndarray, cuts: list[int], filling: Filling
) -> None:
    bounds = bounds_of(cuts, len(values_R))
    expected = [v for first, end in pairwise(bounds) for v in by_hand(values_R[first:end].tolist(), filling)]
    np.testing.assert_allclose(fill(values_R, bounds, filling), expected, rtol=1e-12)


@given(VALUES, CUTS, FILLINGS)
def test_no_measured_value_is_ever_changed(values_R: np.ndarray, cuts: list[int], filling: Filling) -> None:
    before = values_R.copy()
    filled = fill(values_R, bounds_of(cuts, len(values_R)), filling)
    told = ~np.isnan(before)
    np.testing.assert_array_equal(filled[told], before[told])
    np.testing.assert_array_equal(values_R, before)


@given(VALUES, CUTS, CAUSAL, st.integers(0, 39), st.sampled_from([NAN, -1e9, 1e300]))
def test_the_future_changes_nothing_that_a_causal_rule_fills(
    values_R: np.ndarray, cuts: list[int], filling: Filling, step: int, canary: float
) -> None:
    step, bounds = min(step, len(values_R)), bounds_of(cuts, len(values_R))
    later = np.where(np.arange(len(values_R)) < step, values_R, canary)
    np.testing.assert_array_equal(fill(later, bounds, filling)[:step], fill(values_R, bounds, filling)[:step])


@given(VALUES, CUTS, FILLINGS, st.data())
def test_a_block_is_filled_as_in_the_whole_table_to_the_last_bit(
    values_R: np.ndarray, cuts: list[int], filling: Filling, data: st.DataObject
) -> None:
    bounds = bounds_of(cuts, len(values_R))
    noisy = values_R * np.linspace(1e-3, 1e9, len(values_R))
    one = data.draw(st.integers(0, len(bounds) - 2))
    end = data.draw(st.integers(one + 1, len(bounds) - 1))
    block = slice(bounds[one], bounds[end])
    alone = fill(noisy[block], bounds[one : end + 1] - bounds[one], filling)
    np.testing.assert_array_equal(alone, fill(noisy, bounds, filling)[block])


@given(VALUES, CUTS, st.sampled_from(["mean", "median"]), st.data())
def test_means_that_are_not_causal_are_those_of_each_series_training_part(
    values_R: np.ndarray, cuts: list[int], how: Any, data: st.DataObject
) -> None:
    series = bounds_of(cuts, len(values_R))
    segments = np.union1d(series, bounds_of(data.draw(CUTS), len(values_R)))
    train_R = data.draw(arrays(bool, len(values_R)))
    filled = fill(values_R, segments, Filling(how=how, causal=False), train_R=train_R, series=series)
    middle: Callable[[Any], Any] = {"mean": np.mean, "median": np.median}[how]
    for start, end in pairwise(series):
        own, holes = values_R[start:end], np.isnan(values_R[start:end])
        told = own[train_R[start:end] & ~holes]
        expected = middle(told) if len(told) else NAN
        np.testing.assert_allclose(filled[start:end][holes], np.full(holes.sum(), expected))


@pytest.mark.parametrize("how", sorted(RULES))
def test_columns_are_filled_apart_and_keep_their_type(how: Any) -> None:
    values_RF = np.array([[1, NAN], [NAN, 5], [3, NAN], [NAN, 7]], np.float32)
    bounds, filling = np.array([0, 4]), Filling(how=how, causal=how != "linear")
    filled = fill(values_RF, bounds, filling)
    assert filled.dtype == np.float32
    for f in range(2):
        np.testing.assert_array_equal(filled[:, f], fill(values_RF[:, f], bounds, filling))
    whole = np.ones((4, 2))
    assert fill(whole, bounds, filling) is whole or np.array_equal(fill(whole, bounds, filling), whole)


def test_a_season_ago_that_is_missing_too_is_looked_for_two_seasons_ago() -> None:
    values_R = np.array([1, 2, NAN, 4, NAN, NAN, 8, NAN])
    filled = fill(values_R, np.array([0, 8]), Filling(how="seasonal", season=2))
    np.testing.assert_array_equal(filled, [1, 2, 1, 4, 1, 4, 8, 4])
    both = fill(values_R, np.array([0, 8]), Filling(how="seasonal", season=2, causal=False))
    np.testing.assert_array_equal(both, [1, 2, 4.5, 4, 4.5, 4, 8, 4])


@given(arrays(np.float64, st.tuples(st.integers(0, 12), st.integers(1, 3)), elements=st.sampled_from([NAN, 1, 2, 3])))
def test_filling_forward_takes_the_newest_value_before_each_hole(values_TF: np.ndarray) -> None:
    filled_TF = forward_fill(values_TF)
    for column in range(values_TF.shape[1]):
        np.testing.assert_array_equal(filled_TF[:, column], by_hand(values_TF[:, column].tolist(), Filling()))


@pytest.mark.parametrize(
    ("how", "steps"), [("forward", 7), ("zero", 0), ("constant", 0), ("mean", None), ("median", None), ("seasonal", 24)]
)
def test_what_lies_further_back_than_the_reach_fills_nothing(how: Any, steps: int | None) -> None:
    filling = Filling(how=how, season=6)
    assert filling.reach(6) == steps
    if steps is not None:
        values_R = np.random.default_rng(0).normal(size=40)
        values_R[25:31] = NAN
        cut = 25 - steps
        alone = fill(values_R[cut:], np.array([0, 40 - cut]), filling)
        np.testing.assert_array_equal(alone, fill(values_R, np.array([0, 40]), filling)[cut:])


def test_the_rule_is_the_configs() -> None:
    config = make_config(preprocess__impute="constant", preprocess__impute_value=3.5, window__season=9)
    found = Filling.of(config.preprocess, config.window)
    assert found == Filling(how="constant", causal=True, season=9, value=3.5)


@pytest.mark.parametrize("causal", [True, False])
def test_a_season_before_is_never_another_segments(causal: bool) -> None:
    values_R = np.arange(30.0)
    values_R[[5, 11, 12, 18, 19, 25]] = NAN
    filled_R = fill(values_R, np.array([0, 10, 20, 30]), Filling(how="seasonal", season=3, causal=causal))
    expected = [10, 10, 15, 16] if causal else [14, 15, 15, 16]
    np.testing.assert_array_equal(filled_R[[11, 12, 18, 19]], expected)
