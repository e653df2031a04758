"""Lags of targets: what a window reads of earlier seasons, told by brute force; nothing beyond an origin, a start or an end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.data.feed import source
from lstm_ray.data.lags import lagged_steps, num_known, num_lagged, reach
from lstm_ray.data.windows import Segments, cut, cut_windows, origins, plan_sequences
from tests import made

CONFIG = made.make_config(window__lags=[6, 20], data__target=["load", "heat"])
WINDOW = CONFIG.window
SCHEMA = made.schema_of(target=["load", "heat"], known=["price"])
SEGMENTS = made.segments_of([240, 100], [0, 30], SCHEMA)
OTHERS = SCHEMA.num_known


def by_hand(segments: Segments, row: int, segment: int) -> NDArray:
    """Columns of one step: of each lag its targets, and whether they are there."""
    found: list[float] = []
    for lag in WINDOW.lags:
        there = row - lag >= segments.bounds[segment]
        found += [*(segments.target_RC[row - lag] if there else [0.0, 0.0]), float(there)]
    return np.asarray(found, np.float32)


def test_a_window_reads_its_history_and_the_longest_lag_before_it() -> None:
    assert (reach(WINDOW), reach(made.make_config().window)) == (12 + 20, 12)
    assert num_lagged(SCHEMA, WINDOW) == 2 * 3
    assert num_known(SCHEMA, WINDOW) == OTHERS + 6


def test_lags_are_the_targets_so_many_steps_before_in_the_same_segment() -> None:
    rows = origins(SEGMENTS, made.PARTS, "validation", WINDOW)
    batch = cut_windows(SEGMENTS, rows, WINDOW)
    assert batch.known_BTK.shape[2] == num_known(SCHEMA, WINDOW)
    for row, known_TK in zip(rows, batch.known_BTK, strict=True):
        segment = int(SEGMENTS.series_of(np.array([row]))[0])
        expected = [by_hand(SEGMENTS, row + t, segment) for t in range(-11, 7)]
        np.testing.assert_array_equal(known_TK[:, OTHERS:], expected)


def test_a_training_sequence_reads_the_lags_of_each_of_its_origins() -> None:
    plan = plan_sequences(SEGMENTS, made.PARTS, "train", WINDOW, 5)
    batch = cut(SEGMENTS, plan, np.arange(len(plan)))
    absent = 0
    for b, n in np.ndindex(len(plan), plan.origins):
        if n < plan.num_origins_M[b]:
            origin = int(plan.start_M[b]) + WINDOW.history - 1 + n * WINDOW.patch
            (window,) = cut_windows(SEGMENTS, np.array([origin]), WINDOW).known_BTK
            own = slice(n * WINDOW.patch, n * WINDOW.patch + WINDOW.history + WINDOW.horizon)
            np.testing.assert_array_equal(batch.known_BTK[b, own], window)
            absent += int((window[:, -1] == 0).sum())
    assert absent > 0


def test_no_lag_reads_beyond_its_origin() -> None:
    rows = origins(SEGMENTS, made.PARTS, "test", WINDOW)
    before = cut_windows(SEGMENTS, rows, WINDOW)
    for m, row in enumerate(rows):
        target = SEGMENTS.target_RC.copy()
        target[row + 1 :] = 99.0
        after = cut_windows(replace(SEGMENTS, target_RC=target), rows[m : m + 1], WINDOW)
        np.testing.assert_array_equal(after.known_BTK[0], before.known_BTK[m])


def test_a_horizon_that_is_yet_to_come_reads_its_lags_all_the_same() -> None:
    """The last origin has no rows after it."""
    whole = cut_windows(SEGMENTS, np.array([200]), WINDOW)
    ended = made.segments_of([240, 100], [0, 30], SCHEMA)
    rows = slice(0, 201)
    ended = replace(
        ended,
        **{name: getattr(ended, name)[rows] for name in ("target_RC", "observed_RC", "past_RP", "known_RK")},
        bounds=np.array([0, 201]),
        series=["s0"],
        first_step=np.array([0]),
        category_SK=ended.category_SK[:1],
    )
    found = cut_windows(ended, np.array([200]), WINDOW)
    np.testing.assert_array_equal(found.known_BTK[..., OTHERS:], whole.known_BTK[..., OTHERS:])


def test_lags_of_sequences_side_by_side_equal_those_of_segments() -> None:
    rows = np.array([15, 150, 260])
    read_M = rows[:, None] + np.arange(1 - reach(WINDOW), 1)
    first_M = SEGMENTS.bounds[SEGMENTS.series_of(rows)][:, None]
    target = np.pad(SEGMENTS.target_RC[np.maximum(read_M, first_M)], ((0, 0), (0, 6), (0, 0)), constant_values=np.nan)
    found = lagged_steps(target, np.pad(read_M >= first_M, ((0, 0), (0, 6))), WINDOW.lags, 18)
    np.testing.assert_array_equal(found, cut_windows(SEGMENTS, rows, WINDOW).known_BTK[..., OTHERS:])
    assert 0 < found[..., -1].mean() < 1


@pytest.mark.parametrize("lags", [[], [6]])
def test_batches_for_training_hold_as_many_known_inputs_as_the_config_says(lags: list[int]) -> None:
    config = made.make_config(window__lags=lags)
    segments = made.segments_of()
    batch = source(segments, made.PARTS, "train", config).cut(np.arange(3))
    assert batch.known_BTK.shape[2] == num_known(segments.schema, config.window)


def test_a_lag_from_before_what_was_sent_is_absent() -> None:
    target_BXC = np.arange(10, 16, dtype=np.float32).reshape(1, 6, 1)
    found_BTJ = lagged_steps(target_BXC, np.ones((1, 6)), [4], 4)
    np.testing.assert_array_equal(found_BTJ[0, :, 0], [0, 0, 10, 11])
    np.testing.assert_array_equal(found_BTJ[0, :, 1], [0, 0, 1, 1])
