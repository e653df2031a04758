"""Segment F1 against the double loop of its authors, and that it merges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ray.evaluate.labels.segments import OVERLAPS, SegmentSums, segment_sums

Run = tuple[int, int, int]
"""Class, first step, step after the last."""


def _runs(classes: list[int]) -> list[Run]:
    found: list[Run] = []
    for step, code in enumerate(classes):
        if found and found[-1][0] == code:
            found[-1] = (code, found[-1][1], step + 1)
        else:
            found.append((code, step, step + 1))
    return found


def _plain(told: list[int], true: list[int], overlap: float) -> tuple[int, int, int]:
    """Matched, told and true stretches of one series as Lea et al. count them: by told stretch, its best true one."""
    told_runs, true_runs = _runs(told), _runs(true)
    used = [False] * len(true_runs)
    matched = 0
    for code, first, end in told_runs:
        shares = []
        for other, low, high in true_runs:
            union = max(end, high) - min(first, low)
            shares.append((min(end, high) - max(first, low)) / union * (code == other))
        best = int(np.argmax(shares))
        if shares[best] >= overlap and not used[best]:
            matched, used[best] = matched + 1, True
    return matched, len(told_runs), len(true_runs)


def _sums(told: list[int], true: list[int], first_row: int = 0) -> SegmentSums:
    rows = first_row + np.arange(len(told))
    return segment_sums(np.array(told), np.array(true), rows, np.full(len(told), first_row))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(1, 5)), min_size=1, max_size=15))
def test_stretches_are_matched_as_by_the_authors_loop(drawn: list[tuple[int, int, int]]) -> None:
    told = [told for told, _, length in drawn for _ in range(length)]
    true = [true for _, true, length in drawn for _ in range(length)]
    true = true[2:] + true[:2]
    found = _sums(told, true)
    for index, overlap in enumerate(OVERLAPS):
        assert (found.matched[index], found.told, found.true) == _plain(told, true, overlap)


def test_series_merge_to_what_one_pass_gives() -> None:
    rng = np.random.default_rng(4)
    told, true = rng.integers(0, 2, 90), rng.integers(0, 2, 90)
    series = np.repeat([0, 1, 2], 30)
    pieces = [
        segment_sums(told[series == s], true[series == s], np.flatnonzero(series == s), series[series == s])
        for s in range(3)
    ]
    assert pieces[0] + pieces[1] + pieces[2] == segment_sums(told, true, np.arange(90), series)


def test_the_end_of_a_series_and_a_step_without_a_label_end_a_stretch() -> None:
    same = np.zeros(6, np.int64)
    assert segment_sums(same, same, np.arange(6), np.array([0, 0, 0, 1, 1, 1])).true == 2
    assert segment_sums(same, same, np.array([0, 1, 2, 4, 5, 6]), same).true == 2
    assert segment_sums(same, same, np.arange(6), same).true == 1


def test_flicker_lowers_segment_f1_though_most_steps_are_right() -> None:
    true = [0] * 20 + [1] * 20
    told = list(true)
    told[5] = told[10] = told[15] = 1
    assert np.mean(np.equal(told, true)) > 0.9
    assert _sums(true, true).f1() == {"10": 1.0, "25": 1.0, "50": 1.0}
    assert _sums(told, true).f1()["50"] == pytest.approx(2 * 1 / (8 + 2))


def test_nothing_labelled_has_no_f1() -> None:
    assert _sums([], []).f1() == {"10": None, "25": None, "50": None}
