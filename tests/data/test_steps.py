"""Every labelled step is told once, from what lies before it, and never by what lies outside its part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.data.parts import Part
from lstm_ray.data.steps import (
    class_counts,
    cut_steps,
    labelled_rows,
    phase_shift,
    plan_part,
    plan_steps,
    step_ranges,
    told_steps,
)
from lstm_ray.data.windows import rows_of
from lstm_ray.sections.prepare import WindowConfig
from tests import made

SEGMENTS = made.labelled_of((240, 60, 7, 1), (0, 100, 10, 150))
RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 70)), min_size=1, max_size=4)


def window_of(patch: int, patches: int = 3) -> WindowConfig:
    return WindowConfig(history=patch * patches, patch=patch)


@given(RANGES, st.sampled_from([1, 2, 5, 8]), st.integers(1, 7), st.booleans())
def test_every_row_of_a_range_is_told_once_in_order(
    parts: list[tuple[int, int]], patch: int, num_patches: int, training: bool
) -> None:
    """Each of some segments is read from its start on, and told after a few steps."""
    first_S, range_S2, row = [], [], 0
    for before, told in parts:
        first_S.append(row)
        range_S2.append((row + before, row + before + told))
        row += before + told
    shift = phase_shift(patch) if training else 0
    plan = plan_steps(np.array(range_S2), np.array(first_S), window_of(patch), num_patches, shift)
    told_first, told_end, start, readable, end = plan.row_M5.T
    told = [row for first, last in zip(told_first, told_end, strict=True) for row in range(first, last)]
    assert told == rows_of(np.array(range_S2)).tolist()
    assert (told_end - told_first <= num_patches * patch).all()
    assert (told_end <= start + plan.steps).all()
    assert (start > readable - patch).all(), "less than a patch is read that is not there"
    assert ((told_first - start) // patch <= 3).all(), "no more than the history is read first"
    whole_history = told_first - readable >= 3 * patch + patch
    assert (told_first[whole_history] - start[whole_history] >= 3 * patch).all()
    assert plan.steps % patch == 0
    if not training:
        assert ((end - start) % patch == 0).all()


def test_the_newest_step_of_a_part_ends_a_patch() -> None:
    plan = plan_steps(np.array([[5, 42]]), np.array([0]), window_of(4), 3)
    assert plan.row_M5[-1, 1] == 42
    assert ((42 - plan.row_M5[:, 2]) % 4 == 0).all()


@pytest.mark.parametrize("patch", [1, 2, 3, 8, 24])
def test_training_sequences_of_a_segment_meet_every_phase_of_a_patch(patch: int) -> None:
    plan = plan_steps(np.array([[0, 5000]]), np.array([0]), window_of(patch), 4, phase_shift(patch))
    assert {int(start) % patch for start in plan.row_M5[:, 2]} == set(range(patch))


@pytest.mark.parametrize("patch", [1, 4])
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_the_labels_of_a_part_are_all_taught_once_and_no_others(part: Part, patch: int) -> None:
    plan = plan_part(SEGMENTS, made.PARTS, part, window_of(patch), 3)
    batch = cut_steps(SEGMENTS, plan, np.arange(len(plan)))
    taught = batch.label_BT[~np.isnan(batch.label_BT)]
    rows = labelled_rows(SEGMENTS, made.PARTS, part)
    assert SEGMENTS.label_R is not None
    np.testing.assert_array_equal(taught, SEGMENTS.label_R[rows])
    first, end = made.PARTS[part]
    steps = SEGMENTS.steps(rows)
    assert ((steps >= first) & (steps < end)).all()
    assert told_steps(plan, np.arange(len(plan))).sum() >= len(rows)


def test_nothing_after_its_part_is_read_and_training_reads_nothing_before() -> None:
    late = {"train": (20, 140), "validation": (140, 180), "test": (180, 240)}
    for part, (first, end) in late.items():
        plan = plan_part(SEGMENTS, late, part, window_of(4), 3)  # type: ignore[arg-type]
        spoilt = SEGMENTS.past_RP.copy()
        steps = SEGMENTS.steps(np.arange(len(spoilt)))
        spoilt[steps >= end] = np.nan
        if part == "train":
            spoilt[steps < first] = np.nan
        batch = cut_steps(type(SEGMENTS)(**{**vars(SEGMENTS), "past_RP": spoilt}), plan, np.arange(len(plan)))
        assert np.isfinite(batch.past_BTP[batch.observed_BTC > 0]).all()


def test_what_may_not_be_read_is_zero_and_not_observed() -> None:
    """A segment of 7 steps in patches of 4: one step lies before it, and later ones fill up the sequence."""
    short = made.labelled_of((7, 40))
    plan = plan_part(short, {"train": (0, 40), "validation": (0, 0), "test": (0, 0)}, "train", window_of(4), 3)
    batch = cut_steps(short, plan, np.arange(len(plan)))
    np.testing.assert_array_equal(batch.past_BTP[0, 1:8], short.past_RP[:7])
    np.testing.assert_array_equal(batch.observed_BTC[0, 1:8], short.observed_RC[:7])
    for values in (batch.past_BTP, batch.observed_BTC, batch.known_BTK):
        assert not values[0, 0].any()
        assert not values[0, 8:].any()
    assert batch.origin_BN[0].tolist() == [1, 1] + [0] * (plan.steps // 4 - 2)
    assert np.isnan(batch.label_BT[0, [0, *range(8, plan.steps)]]).all()


def test_a_sequence_without_a_label_is_left_out() -> None:
    assert SEGMENTS.label_R is not None
    label_R = np.full_like(SEGMENTS.label_R, np.nan)
    label_R[50] = 1
    sparse = type(SEGMENTS)(**{**vars(SEGMENTS), "label_R": label_R})
    plan = plan_part(sparse, made.PARTS, "train", window_of(4), 3)
    assert len(plan) == 1
    assert plan.row_M5[0, 0] <= 50 < plan.row_M5[0, 1]
    assert class_counts(sparse, made.PARTS, "train").tolist() == [0, 1]


def test_ranges_stay_inside_their_segments() -> None:
    for part in made.PARTS:
        range_S2 = step_ranges(SEGMENTS, made.PARTS, part)
        assert (range_S2[:, 0] >= SEGMENTS.bounds[:-1]).all()
        assert (range_S2[:, 1] <= SEGMENTS.bounds[1:]).all()
        assert (range_S2[:, 0] <= range_S2[:, 1]).all()
