"""Synthetic sequences: real histories, simulated futures, nothing from beyond the training part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.feed import source
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import cut_windows
from lstm_ray.plan.starts import rollout_origins
from lstm_ray.plan.synthetic import (
    JITTER,
    after_histories,
    jittered,
    num_synthetic,
    training_sequences,
    with_synthetic,
)
from tests import made

SEGMENTS = made.segments_of([240, 150], [0, 90], schema=made.schema_of(known=["price"]))
CONFIG = made.make_config(plan__steps=15)
DAYS = made.sequences_of([12, 9, 12, 5, 12, 7])
DAY_PARTS: Boundaries = {"train": (0, 96), "validation": (96, 120), "test": (120, 144)}


def futures(origins: np.ndarray, steps: int = 15) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(origins), steps, 1)).astype(np.float32)


def test_a_synthetic_segment_is_its_history_and_then_its_future() -> None:
    origins = rollout_origins(SEGMENTS, made.PARTS, "train", CONFIG, 9)
    future = futures(origins)
    found = after_histories(SEGMENTS, origins, future, CONFIG.window)
    assert np.diff(found.bounds).tolist() == [12 + 15] * 9
    for m, origin in enumerate(origins):
        rows, history = slice(found.bounds[m], found.bounds[m + 1]), slice(origin - 11, origin + 1)
        np.testing.assert_array_equal(found.target_RC[rows][:12], SEGMENTS.target_RC[history])
        np.testing.assert_array_equal(found.target_RC[rows][12:], future[m])
        np.testing.assert_array_equal(found.observed_RC[rows][:12], SEGMENTS.observed_RC[history])
        assert found.observed_RC[rows][12:].all()
        np.testing.assert_array_equal(found.known_RK[rows], SEGMENTS.known_RK[origin - 11 : origin + 16])
        # A season is 6 steps, and the future 15.
        season = SEGMENTS.past_RP[origin - 5 : origin + 1]
        np.testing.assert_array_equal(found.past_RP[rows][12:], np.concatenate([season, season, season[:3]]))
        np.testing.assert_array_equal(found.past_RP[rows][:12], SEGMENTS.past_RP[history])
        assert found.series[m] == SEGMENTS.series[int(SEGMENTS.series_of(origins[m : m + 1])[0])]
    assert found.target_RC.dtype == found.observed_RC.dtype == np.float32


def test_synthetic_segments_lie_within_the_training_part() -> None:
    origins = rollout_origins(SEGMENTS, made.PARTS, "train", CONFIG, 10_000)
    found = after_histories(SEGMENTS, origins, futures(origins), CONFIG.window)
    first, end = made.PARTS["train"]
    assert (found.first_step >= first).all()
    assert (found.first_step + np.diff(found.bounds) <= end).all()
    assert len(origins) > 100


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.9])
def test_the_synthetic_share_is_the_configured_one(fraction: float) -> None:
    config = made.make_config(plan__synthetic={"fraction": fraction})
    real = source(SEGMENTS, made.PARTS, "train", config)
    count = num_synthetic(real, config)
    assert count >= 1
    assert abs(count / (count + real.num_items) - fraction) < 1 / real.num_items


def test_synthetic_items_follow_the_real_ones_and_may_share_a_batch() -> None:
    origins = rollout_origins(SEGMENTS, made.PARTS, "train", CONFIG, 9)
    made_up = after_histories(SEGMENTS, origins, futures(origins), CONFIG.window)
    real = source(SEGMENTS, made.PARTS, "train", CONFIG)
    both = with_synthetic(real, SEGMENTS, made_up, made.PARTS, CONFIG)
    assert both.num_items == real.num_items + 9
    # 27 steps hold the origins at steps 12, 16 and 20 with 6 steps ahead of each.
    assert both.num_windows == real.num_windows + 9 * 3
    some = np.array([0, 3])
    batch = both.cut(np.concatenate([some, real.num_items + np.arange(9)]))
    alone = real.cut(some)
    for name, values in vars(batch).items():
        np.testing.assert_array_equal(values[:2], getattr(alone, name), err_msg=name)
    np.testing.assert_array_equal(batch.target_BTC[2:, :27], made_up.target_RC.reshape(9, 27, 1))
    assert batch.origin_BN[2:].sum(1).tolist() == [3.0] * 9
    assert not batch.observed_BTC[2:, 27:].any()
    for chosen in (some, np.array([real.num_items])):
        assert len(both.cut(chosen).label_B) == len(chosen)


def test_jittered_sequences_keep_their_class_and_length() -> None:
    ids = np.array([4, 0, 4])
    found = jittered(DAYS, ids, np.array([2.0]), seed=1)
    assert DAYS.label is not None
    assert found.label is not None
    assert found.label.tolist() == DAYS.label[ids].tolist()
    assert np.diff(found.bounds).tolist() == [12, 12, 12]
    assert found.series == [DAYS.series[i] for i in ids]
    assert found.first_step.tolist() == DAYS.first_step[ids].tolist()
    noise = found.past_RP - np.concatenate([DAYS.past_RP[DAYS.bounds[i] : DAYS.bounds[i + 1]] for i in ids])
    assert 0.3 < noise.std() / (JITTER * 2.0) < 2
    assert (noise[:12] != noise[24:]).all(), "two copies differ"
    np.testing.assert_array_equal(found.past_RP, jittered(DAYS, ids, np.array([2.0]), seed=1).past_RP)
    assert (found.past_RP != jittered(DAYS, ids, np.array([2.0]), seed=2).past_RP).any()


def test_sequences_to_copy_are_of_the_training_part() -> None:
    for number in (1, 3, 50):
        chosen = training_sequences(DAYS, DAY_PARTS, number, seed=0)
        assert len(chosen) == number
        assert set(chosen) <= {0, 1, 2, 3}
        assert number > 4 or len(set(chosen)) == number


def test_synthetic_sequences_to_classify_are_padded_as_the_real_ones() -> None:
    config = made.classify_config()
    real = source(DAYS, DAY_PARTS, "train", config)
    made_up = jittered(DAYS, np.array([3, 1]), np.array([1.0]), seed=0)
    both = with_synthetic(real, DAYS, made_up, DAY_PARTS, config)
    assert (both.num_items, both.num_windows) == (6, 6)
    batch = both.cut(np.array([0, 4, 5]))
    assert batch.past_BTP.shape == (3, 12, 1)
    assert DAYS.label is not None
    assert batch.label_B.tolist() == DAYS.label[[0, 3, 1]].tolist()
    np.testing.assert_array_equal(batch.past_BTP[1, :5], made_up.past_RP[:5])
    assert not batch.past_BTP[1, 5:].any()


def test_series_without_past_or_known_columns_are_imagined_too() -> None:
    alone = made.segments_of([240], schema=made.schema_of(past=(), calendar=()))
    origins = np.array([50, 60])
    found = after_histories(alone, origins, futures(origins), CONFIG.window)
    assert (found.past_RP.shape, found.known_RK.shape) == ((2 * 27, 0), (2 * 27, 0))


def test_synthetic_sequences_keep_the_categories_of_their_series() -> None:
    sorted_ = replace(SEGMENTS, category_SK=np.array([[1], [2]]))
    origins = np.array([50, 300])
    assert after_histories(sorted_, origins, futures(origins), CONFIG.window).category_SK.tolist() == [[1], [2]]


def test_a_synthetic_segment_holds_what_its_lags_ask_for() -> None:
    """As far back as the real segment goes; its windows begin where they did, and rows keep their weights."""
    config = made.make_config(plan__steps=15, window__lags=[6, 20], data__known=["price"])
    weight_R = np.arange(390, dtype=np.float32)
    origins = rollout_origins(SEGMENTS, made.PARTS, "train", config, 9)
    found = after_histories(replace(SEGMENTS, weight_R=weight_R), origins, futures(origins), config.window)
    before = np.minimum(origins - SEGMENTS.bounds[SEGMENTS.series_of(origins)] + 1, 32)
    assert before.min() < 32 == before.max()
    np.testing.assert_array_equal(np.diff(found.bounds), before + 15)
    for m, origin in enumerate(origins):
        rows = slice(found.bounds[m], found.bounds[m + 1])
        np.testing.assert_array_equal(found.weight_R[rows], weight_R[origin - before[m] + 1 : origin + 16])
        np.testing.assert_array_equal(
            found.target_RC[rows][: before[m]], SEGMENTS.target_RC[origin - before[m] + 1 : origin + 1]
        )
    real = source(SEGMENTS, made.PARTS, "train", config)
    both = with_synthetic(real, SEGMENTS, found, made.PARTS, config)
    batch = both.cut(np.arange(real.num_items, real.num_items + 9))
    for m, origin in enumerate(origins):
        np.testing.assert_array_equal(batch.target_BTC[m, :12], SEGMENTS.target_RC[origin - 11 : origin + 1])
        [window] = cut_windows(SEGMENTS, origins[m : m + 1], config.window).known_BTK
        np.testing.assert_array_equal(batch.known_BTK[m, :18], window)
