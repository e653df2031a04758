"""The nearest neighbour under dynamic time warping, against a plain double loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.data.windows import sequences
from lstm_ray.evaluate.classes import neighbours
from lstm_ray.evaluate.classes.neighbours import dtw, fit_nearest, radius


def _plain(one_XP: NDArray, other_YP: NDArray) -> float:
    """The textbook's table, cell by cell."""
    if len(one_XP) > len(other_YP):
        one_XP, other_YP = other_YP, one_XP
    X, Y = len(one_XP), len(other_YP)
    slope, width = (Y - 1) / max(X - 1, 1), radius(X, Y)
    table = np.full((X + 1, Y + 1), np.inf)
    table[0, 0] = 0
    for x in range(X):
        for y in range(Y):
            if abs(slope * x - y) <= width + 1e-9:
                cost = ((one_XP[x] - other_YP[y]) ** 2).sum()
                table[x + 1, y + 1] = cost + min(table[x, y], table[x, y + 1], table[x + 1, y])
    return float(table[X, Y])


@pytest.mark.parametrize("short", [1, 2, 5, 17])
@pytest.mark.parametrize("long", [1, 2, 7, 31])
@pytest.mark.parametrize("inputs", [1, 3])
def test_distances_are_those_of_a_plain_table(short: int, long: int, inputs: int) -> None:
    rng = np.random.default_rng(short * 100 + long)
    asked, known = (rng.normal(size=(steps, n, inputs)).astype(np.float32) for steps, n in ((short, 3), (long, 4)))
    expected = [[_plain(asked[:, m], known[:, n]) for n in range(4)] for m in range(3)]
    assert np.isfinite(expected).all(), "the band always leaves a path"
    np.testing.assert_allclose(dtw(asked, known), expected, rtol=1e-4, atol=1e-4)


def test_a_shift_within_the_band_costs_nothing_and_one_beyond_it_does() -> None:
    bump = np.zeros((40, 3, 1), dtype=np.float32)
    for column, at in enumerate((15, 18, 25)):
        bump[at, column] = 1
    distance = dtw(bump, bump)
    assert radius(40, 40) == 4
    assert distance[0, 1] == 0
    assert distance[0, 2] > 0.9
    np.testing.assert_array_equal(np.diag(distance), 0)


@pytest.mark.parametrize("cells", [50, 10**9])
def test_the_nearest_training_sequences_class_is_said_whatever_the_blocks(
    sequences_data, monkeypatch, cells: int
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_CELLS", cells)
    segments, parts = sequences_data.segments, sequences_data.parts
    train, test = (sequences(segments, parts, part) for part in ("train", "test"))
    nearest = fit_nearest(segments, train, test, 20)
    assert nearest is not None
    assert nearest.num_left_out == 0

    def read(s: int) -> NDArray:
        return segments.past_RP[segments.bounds[s] : segments.bounds[s + 1]][-20:].astype(np.float64)

    every = np.concatenate([read(s) for s in train])
    mean, deviation = every.mean(axis=0), every.std(axis=0)
    expected = []
    for s in test[:12]:
        distance = [_plain((read(s) - mean) / deviation, (read(n) - mean) / deviation) for n in train]
        expected.append(segments.label[train[int(np.argmin(distance))]])
    found = nearest.class_probabilities(segments, test)
    np.testing.assert_array_equal(found[:12].argmax(axis=1), expected)
    np.testing.assert_array_equal(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == segments.label[test]).mean() > 0.75
    assert nearest.class_probabilities(segments, test[:0]).shape == (0, 2)


def test_too_much_work_leaves_out_the_same_share_of_each_class_and_then_the_neighbour(
    sequences_data, monkeypatch
) -> None:
    segments, parts = sequences_data.segments, sequences_data.parts
    train, test = (sequences(segments, parts, part) for part in ("train", "test"))
    whole = neighbours._seconds(segments, train, test, 20)
    monkeypatch.setattr(neighbours, "WORK", whole / 2)
    half = fit_nearest(segments, train, test, 20)
    assert half is not None
    kept, given = np.bincount(half.label_N), np.bincount(segments.label[train])
    np.testing.assert_array_equal(kept, given // 2)
    assert half.num_left_out == (given - given // 2).sum()
    monkeypatch.setattr(neighbours, "WORK", whole / 50)
    assert fit_nearest(segments, train, test, 20) is None


def test_no_test_value_moves_the_training_statistics_and_a_constant_input_says_nothing(sequences_data) -> None:
    past = sequences_data.segments.past_RP.copy()
    past[:, 1] = 3
    segments, parts = replace(sequences_data.segments, past_RP=past), sequences_data.parts
    train, test = (sequences(segments, parts, part) for part in ("train", "test"))
    nearest = fit_nearest(segments, train, test, 20)
    assert nearest is not None
    past[segments.bounds[test[0]] :] *= 1000
    again = fit_nearest(replace(segments, past_RP=past), train, test, 20)
    assert again is not None
    np.testing.assert_array_equal(again.mean_P, nearest.mean_P)
    assert nearest.deviation_P[1] == 1
