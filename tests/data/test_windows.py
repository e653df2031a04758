"""Windows, told by enumerating all of them, and batches cut as by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lstm_ray.data.parts import PARTS, Boundaries, Part
from lstm_ray.data.steps import labelled_rows, plan_part, rows_in, step_ranges
from lstm_ray.data.store import DEALT, load_segments
from lstm_ray.data.windows import (
    Segments,
    chunks,
    cut,
    cut_sequences,
    cut_windows,
    epoch_batches,
    longest_sequence,
    origins,
    plan_sequences,
    sequences,
)
from lstm_ray.sections.prepare import WindowConfig
from tests import made
from tests.data.staged import staged


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Segments, Boundaries, WindowConfig]:
    """Segments anywhere on an axis that is cut into three parts with a gap, and a window."""
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    first = [draw(st.integers(0, 30)) for _ in lengths]
    cuts = sorted(draw(st.lists(st.integers(1, 69), min_size=2, max_size=2, unique=True)))
    gap = draw(st.integers(0, 3))
    bounds: Boundaries = {
        "train": (0, cuts[0]),
        "validation": (cuts[0] + gap, cuts[1] + gap),
        "test": (cuts[1] + 2 * gap, 70 + 2 * gap),
    }
    patch, stride = draw(st.integers(1, 4)), draw(st.sampled_from([1, 1, 2, 3, 7]))
    history, horizon = patch * draw(st.integers(1, 4)), draw(st.integers(1, 5))
    window = WindowConfig(history=history, horizon=horizon, patch=patch, stride=stride)
    made_up = made.segments_of(lengths, first, seed=len(lengths))
    if draw(st.booleans()):
        return made_up, bounds, window
    # Whole series dealt to parts, or to none.
    dealt = np.array([draw(st.integers(-1, 2)) for _ in lengths], dtype=np.int8)
    return replace(made_up, part_S=dealt), dict.fromkeys(PARTS, (0, 70)), window


def legal_origins(segments: Segments, bounds: Boundaries, part: Part, window: WindowConfig) -> list[int]:
    """Rows whose history lies in their segment and whose horizon lies in the part; in training the history does too. Of
    dealt segments, those of the part alone."""
    found = []
    first_step, end_step = bounds[part]
    for s, (first, end, step) in enumerate(
        zip(segments.bounds[:-1], segments.bounds[1:], segments.first_step, strict=True)
    ):
        if segments.part_S is not None and segments.part_S[s] != PARTS.index(part):
            continue
        for origin in range(first, end):
            history = range(origin - window.history + 1, origin + 1)
            horizon = range(origin + 1, origin + window.horizon + 1)
            must_be_in_part = [*history, *horizon] if part == "train" else horizon
            in_segment = history[0] >= first and horizon[-1] < end
            if in_segment and all(first_step <= step + row - first < end_step for row in must_be_in_part):
                found.append(origin)
    return found


def strided(segments: Segments, origin: list[int], part: Part, window: WindowConfig) -> list[int]:
    """Every stride-th of the origins of each segment, where they teach; all, where they are scored."""
    if part != "train":
        return origin
    of_segment = segments.series_of(np.array(origin, dtype=np.int64))
    return [row for s in np.unique(of_segment) for row in np.array(origin)[of_segment == s][:: window.stride].tolist()]


@given(layouts(), st.sampled_from(PARTS))
def test_origins_are_all_legal_windows(layout: tuple[Segments, Boundaries, WindowConfig], part: Part) -> None:
    assert origins(*layout[:2], part, layout[2]).tolist() == legal_origins(*layout[:2], part, layout[2])


@given(layouts(), st.sampled_from(PARTS))
def test_windows_are_as_many_as_the_closed_formula_says(
    layout: tuple[Segments, Boundaries, WindowConfig], part: Part
) -> None:
    """Of n steps that a window may lie in, n - (history + horizon) + 1 begin one; only what trains has no history before."""
    segments, bounds, window = layout
    first, end = bounds[part]
    begins, ends = segments.first_step, segments.first_step + np.diff(segments.bounds)
    reaches_back = 0 if part == "train" else window.history
    length = np.minimum(ends, end) - np.maximum(begins, first - reaches_back)
    expected = np.maximum(0, length - window.history - window.horizon + 1)
    if segments.part_S is not None:
        expected[segments.part_S != PARTS.index(part)] = 0
    of_segment = segments.series_of(origins(segments, bounds, part, window))
    assert np.bincount(of_segment, minlength=len(expected)).tolist() == expected.tolist()


@given(layouts())
def test_no_step_is_scored_in_two_parts(layout: tuple[Segments, Boundaries, WindowConfig]) -> None:
    segments, bounds, window = layout
    scored = {
        part: {
            int(row) + ahead
            for row in origins(segments, bounds, part, window)
            for ahead in range(1, window.horizon + 1)
        }
        for part in PARTS
    }
    assert not scored["train"] & scored["validation"]
    assert not scored["validation"] & scored["test"]
    assert not scored["train"] & scored["test"]


@given(layouts(), st.sampled_from(PARTS))
def test_the_rows_of_a_part_are_told_by_their_steps(
    layout: tuple[Segments, Boundaries, WindowConfig], part: Part
) -> None:
    segments, bounds, _ = layout
    rows = np.arange(segments.bounds[-1])
    first, end = bounds[part]
    of_part = [True] * len(rows)
    if segments.part_S is not None:
        of_part = [segments.part_S[s] == PARTS.index(part) for s in segments.series_of(rows)]
    expected = [first <= step < end and own for step, own in zip(segments.steps(rows), of_part, strict=True)]
    assert rows_in(segments, bounds, part).tolist() == expected
    ranges = step_ranges(segments, bounds, part)
    assert [row for low, high in ranges for row in range(low, high)] == np.flatnonzero(expected).tolist()


@given(st.lists(st.integers(-1, 2), min_size=1, max_size=6), st.integers(1, 4))
def test_dealt_sequences_and_labels_lie_in_one_part(parts: list[int], patch: int) -> None:
    whole: Boundaries = dict.fromkeys(PARTS, (0, 200))
    dealt = np.array(parts, dtype=np.int8)
    days = replace(made.sequences_of([7] * len(parts)), part_S=dealt)
    steps = replace(made.labelled_of([9] * len(parts)), part_S=dealt)
    window = WindowConfig(history=2 * patch, patch=patch)
    for index, part in enumerate(PARTS):
        own = np.flatnonzero(dealt == index)
        assert sequences(days, whole, part).tolist() == own.tolist()
        rows = labelled_rows(steps, whole, part)
        assert set(steps.series_of(rows)) <= set(own.tolist())
        plan = plan_part(steps, whole, part, window, 2)
        assert set(steps.series_of(plan.row_M5[:, 0])) <= set(own.tolist())
        told = {row for first, end in plan.row_M5[:, :2] for row in range(first, end)}
        assert set(rows.tolist()) <= told


@given(layouts(), st.sampled_from(PARTS), st.integers(1, 6))
def test_a_plan_covers_every_window_of_a_part_once(
    layout: tuple[Segments, Boundaries, WindowConfig], part: Part, num_origins: int
) -> None:
    segments, bounds, window = layout
    plan = plan_sequences(segments, bounds, part, window, num_origins)
    taught = [
        start + window.history - 1 + n * window.patch
        for start, teaches_N in zip(plan.start_M, plan.teaches(np.arange(len(plan))), strict=True)
        for n in np.flatnonzero(teaches_N)
    ]
    assert sorted(taught) == strided(segments, legal_origins(segments, bounds, part, window), part, window)
    assert plan.num_windows == len(taught)
    assert 1 <= plan.origins <= num_origins + plan.every - 1
    assert plan.steps == window.history + (plan.origins - 1) * window.patch + window.horizon


@given(layouts(), st.integers(1, 6))
def test_no_training_window_reaches_into_validation(
    layout: tuple[Segments, Boundaries, WindowConfig], num_origins: int
) -> None:
    segments, bounds, window = layout
    rows = np.arange(segments.bounds[-1])
    canary = (segments.steps(rows) >= bounds["train"][1])[:, None]
    poisoned = replace(
        segments,
        target_RC=np.where(canary, np.nan, segments.target_RC),
        past_RP=np.where(canary, np.nan, segments.past_RP),
        known_RK=np.where(canary, np.nan, segments.known_RK),
    )
    plan = plan_sequences(segments, bounds, "train", window, num_origins)
    if len(plan):
        batch = cut(poisoned, plan, np.arange(len(plan)))
        assert not any(np.isnan(values).any() for values in (batch.target_BTC, batch.past_BTP, batch.known_BTK))


@given(layouts(), st.sampled_from(PARTS), st.integers(1, 6))
def test_cutting_a_plan_equals_slicing_by_hand(
    layout: tuple[Segments, Boundaries, WindowConfig], part: Part, num_origins: int
) -> None:
    segments, bounds, window = layout
    plan = plan_sequences(segments, bounds, part, window, num_origins)
    if not len(plan):
        return
    chosen = np.arange(len(plan))[::-1]
    batch = cut(segments, plan, chosen)
    for b, item in enumerate(chosen):
        start, count = plan.start_M[item], plan.num_origins_M[item]
        assert np.flatnonzero(batch.origin_BN[b]).tolist() == list(range(0, count * plan.every, plan.every))
        length = window.history + (count - 1) * plan.every * window.patch + window.horizon
        rows = slice(start, start + length)
        np.testing.assert_array_equal(batch.target_BTC[b, :length], segments.target_RC[rows])
        np.testing.assert_array_equal(batch.observed_BTC[b, :length], segments.observed_RC[rows])
        np.testing.assert_array_equal(batch.past_BTP[b, :length], segments.past_RP[rows])
        np.testing.assert_array_equal(batch.known_BTK[b, :length], segments.known_RK[rows])
        after = plan.end_M[item] - start
        assert not batch.observed_BTC[b, after:].any()


def test_a_window_at_a_time_is_a_plan_of_single_origins() -> None:
    segments, window = made.segments_of([60, 50], [0, 5]), WindowConfig(history=12, horizon=6, patch=4)
    bounds: Boundaries = {"train": (0, 40), "validation": (40, 48), "test": (48, 60)}
    rows = origins(segments, bounds, "validation", window)
    plan = plan_sequences(segments, bounds, "validation", window, 1)
    order = np.argsort(plan.start_M)
    from_plan, alone = cut(segments, plan, order), cut_windows(segments, rows, window)
    for name, values in vars(alone).items():
        np.testing.assert_array_equal(values, getattr(from_plan, name), err_msg=name)


def test_with_a_stride_of_a_whole_window_none_overlap() -> None:
    segments, bounds = made.segments_of([240, 100]), made.PARTS
    window = WindowConfig(history=12, horizon=6, patch=4, stride=18)
    plan = plan_sequences(segments, bounds, "train", window, 5)
    read = [
        row
        for start, teaches_N in zip(plan.start_M, plan.teaches(np.arange(len(plan))), strict=True)
        for n in np.flatnonzero(teaches_N)
        for row in range(start + n * window.patch, start + n * window.patch + 18)
    ]
    assert len(read) == len(set(read)) == 18 * (140 // 18 + 100 // 18)
    # Sequences hold no patches that none of their windows needs.
    assert plan.steps == 18
    scored = plan_sequences(segments, bounds, "validation", window, 5)
    assert scored.num_windows == len(origins(segments, bounds, "validation", window))


def test_a_window_at_the_end_of_the_data_has_an_unobserved_horizon() -> None:
    segments, window = made.segments_of([20, 20]), WindowConfig(history=8, horizon=4, patch=4)
    batch = cut_windows(segments, np.array([19, 17]), window)
    assert not batch.observed_BTC[0, 8:].any()
    np.testing.assert_array_equal(batch.target_BTC[0, 8:], np.repeat(segments.target_RC[19:20], 4, axis=0))
    np.testing.assert_array_equal(batch.target_BTC[1, 8:10], segments.target_RC[18:20])
    np.testing.assert_array_equal(
        batch.observed_BTC[1, 8:, 0] > 0, [*(segments.observed_RC[18:20, 0] > 0), False, False]
    )


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 3), st.integers(0, 5))
def test_an_epoch_holds_every_sequence_once(number: int, batch: int, seed: int, epoch: int) -> None:
    found = epoch_batches(number, batch, seed, epoch)
    assert sorted(np.concatenate(found)) == list(range(number))
    assert [len(chosen) for chosen in found[:-1]] == [batch] * (len(found) - 1)
    assert 1 <= len(found[-1]) <= batch
    again = epoch_batches(number, batch, seed, epoch)
    assert all((a == b).all() for a, b in zip(found, again, strict=True))


def test_every_epoch_and_seed_shuffles_anew() -> None:
    orders = {tuple(np.concatenate(epoch_batches(20, 6, seed, epoch))) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4


@given(st.integers(0, 30), st.integers(1, 7))
def test_chunks_keep_order_and_lose_nothing(number: int, size: int) -> None:
    found = list(chunks(np.arange(number), size))
    assert [item for chunk in found for item in chunk] == list(range(number))
    assert all(len(chunk) <= size for chunk in found)


def test_rows_know_their_segment_step_and_time() -> None:
    segments = made.segments_of([3, 2], [10, 4])
    rows = np.arange(5)
    assert segments.series_of(rows).tolist() == [0, 0, 0, 1, 1]
    assert segments.steps(rows).tolist() == [10, 11, 12, 4, 5]
    np.testing.assert_array_equal(segments.times(rows), segments.schema.times(segments.steps(rows)))


def test_whole_sequences_belong_to_the_part_they_begin_in() -> None:
    segments = made.sequences_of([5, 5, 5, 5])
    bounds: Boundaries = {"train": (0, 30), "validation": (30, 72), "test": (72, 77)}
    found = {part: sequences(segments, bounds, part).tolist() for part in PARTS}
    assert found == {"train": [0, 1], "validation": [2], "test": [3]}


@pytest.mark.parametrize("steps", [4, 6, 9])
def test_sequences_are_cut_to_their_newest_steps_and_padded_after(steps: int) -> None:
    segments = made.sequences_of([9, 3, 6])
    batch = cut_sequences(segments, np.array([2, 0, 1]), steps, patch=4)
    padded = {4: 4, 6: 8, 9: 12}[steps]
    assert batch.past_BTP.shape == (3, padded, 1)
    for b, item in enumerate([2, 0, 1]):
        first, end = segments.bounds[item], segments.bounds[item + 1]
        length = min(steps, end - first)
        np.testing.assert_array_equal(batch.past_BTP[b, :length], segments.past_RP[end - length : end])
        np.testing.assert_array_equal(batch.known_BTK[b, :length], segments.known_RK[end - length : end])
        assert not batch.past_BTP[b, length:].any()
        assert not batch.known_BTK[b, length:].any()
        assert batch.origin_BN[b].sum() == -(-length // 4)
        assert batch.origin_BN[b, 0] == 1
    assert segments.label is not None
    assert batch.label_B.tolist() == segments.label[[2, 0, 1]].tolist()


def test_sequences_are_padded_to_the_longest_or_the_history() -> None:
    segments = made.sequences_of([9, 3, 6])
    assert longest_sequence(segments, 100) == 9
    assert longest_sequence(segments, 5) == 5


def test_batches_carry_the_categories_of_their_segments() -> None:
    whole = made.segments_of([30, 40, 20])
    whole = replace(whole, category_SK=np.array([[1, 0], [2, 5], [3, 1]]))
    window = WindowConfig(history=4, horizon=2, patch=2)
    rows = np.array([10, 40, 85])
    np.testing.assert_array_equal(cut_windows(whole, rows, window).category_BS, whole.category_SK)
    plan = plan_sequences(whole, {"train": (0, 40), "validation": (0, 1), "test": (0, 1)}, "train", window, 3)
    chosen = np.arange(len(plan))
    np.testing.assert_array_equal(
        cut(whole, plan, chosen).category_BS, whole.category_SK[whole.series_of(plan.start_M)]
    )


SPLITS = (
    {"train": 0.5, "validation": 0.25},
    {"train": 30, "validation": 15, "test": 12, "gap_steps": 3},
    {"validation_from": "2024-03-02T08", "test_from": "2024-03-02T22", "until": "2024-03-03T12", "gap_steps": 2},
    {"train": 0.6, "validation": 0.15, "folds": 3, "fold": 0, "gap_steps": 1},
    {"train": 0.6, "validation": 0.15, "folds": 3, "fold": 1},
    {"by": "order", "train": 0.4, "validation": 0.3},
    {"by": "group", "train": 0.4, "validation": 0.3},
)


@settings(max_examples=20, phases=[Phase.generate])
@given(st.data(), st.sampled_from(SPLITS), st.integers(1, 3), st.integers(1, 4))
def test_windows_of_a_table_are_all_unbroken_stretches_of_its_parts(
    data: st.DataObject, split: dict[str, Any], patch: int, horizon: int
) -> None:
    """Told from the table alone: every value says whose it is and of which step."""
    names = [f"s{i}" for i in range(8)]
    there = {}
    for i, name in enumerate(names):
        first, length = data.draw(st.integers(0, 20)), data.draw(st.integers(8, 60))
        # Some series are long and whole, so that no part is without a window.
        holes = set(data.draw(st.lists(st.integers(1, 50), max_size=6))) if i % 2 else set()
        there[name] = [step for step in (range(first, first + length) if i % 2 else range(70)) if step not in holes]
    rows = [(name, made.START + step, 1000.0 * i + step) for i, name in enumerate(names) for step in there[name]]
    columns = {"site": [row[0] for row in rows], "when": np.array([row[1] for row in rows], "datetime64[us]")}
    code = [row[2] for row in rows]
    config = made.make_config(
        data={"source": "unused", "series_id": ["site"], "time": "when", "target": ["load"]},
        window={"history": 2 * patch, "horizon": horizon, "patch": patch},
        preprocess={"engine": "polars", "max_gap_steps": 0, "transform": "none"},
        split=split,
    )
    with TemporaryDirectory() as folder:
        run = staged(config, pl.DataFrame({**columns, "load": code}), Path(folder) / "run")
        segments, bounds = load_segments(run)
        dealt = read_dealt(Path(folder))
    window = config.window
    for part in PARTS:
        first, end = bounds[part]
        expected = []
        for i, name in enumerate(names):
            held, own = set(there[name]), dealt.get(name, part) == part
            for origin in range(90):
                history = set(range(origin - window.history + 1, origin + 1))
                future = set(range(origin + 1, origin + horizon + 1))
                inside = future | history if part == "train" else future
                if own and history | future <= held and all(first <= step < end for step in inside):
                    expected.append(1000.0 * i + origin)
        found_M = origins(segments, bounds, part, window)
        assert segments.target_RC[found_M, 0].tolist() == expected
        batch = cut_windows(segments, found_M, window)
        steps = np.arange(1 - window.history, horizon + 1)
        np.testing.assert_array_equal(batch.target_BTC[:, :, 0], np.array(expected)[:, None] + steps)
    if config.split.by == "time":
        assert all(bounds[late][0] - bounds[early][1] >= config.split.gap_steps for early, late in pairwise(PARTS))


def read_dealt(folder: Path) -> dict[str, str]:
    """The part of each series, where they were dealt."""
    file = folder / "run" / "run" / "preprocess" / DEALT
    return dict(pl.read_parquet(file).select("series", "part").rows()) if file.exists() else {}


@pytest.mark.parametrize("weighted", [False, True])
def test_windows_that_follow_each_other_are_cut_as_they_are_one_by_one(weighted: bool) -> None:
    segments = made.segments_of((60, 50))
    segments = replace(segments, weight_R=np.arange(110, dtype=np.float32) if weighted else None)
    window = WindowConfig(history=12, horizon=6, patch=3)
    for first, end in ((11, 54), (11, 60), (71, 104), (45, 78)):
        origin_M = np.arange(first, end)
        together = cut_windows(segments, origin_M, window)
        alone = [cut_windows(segments, origin_M[[at]], window) for at in range(len(origin_M))]
        for name, values in vars(together).items():
            found = np.concatenate([vars(one)[name] for one in alone])
            np.testing.assert_array_equal(values, found, err_msg=name)
            assert (values.dtype, values.flags.c_contiguous) == (found.dtype, True), name
